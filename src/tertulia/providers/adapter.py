"""What the adapters of all dialects share: the Provider port, tries before the first token, the list of models."""

import asyncio
import itertools
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import ClassVar, Final

from tertulia.domain.errors import ProviderEmptyReply, ProviderError, ProviderMalformedReply
from tertulia.domain.messages import Message, Part
from tertulia.domain.models import EmbeddingCard, ModelCard, ModelSettings
from tertulia.ports.provider import (
    Finished,
    FinishReason,
    ModelRequest,
    ProviderEvent,
    ReasoningPiece,
    TextPiece,
    ToolCallPiece,
)
from tertulia.ports.rounds import turn
from tertulia.providers import setting_rules
from tertulia.providers.encoding.tool_names import own_names
from tertulia.providers.endpoint import EndpointConfig
from tertulia.providers.failures import Subject
from tertulia.providers.halves import Halves
from tertulia.providers.model_list import Listed, ModelList
from tertulia.providers.retries import Retries
from tertulia.providers.setting_rules import Rules

_MOST_BODIES: Final = 4  # of one request; an adapter that words it anew without end is wrong

_ENDS_OF_NOTHING: Final = frozenset[FinishReason]({"stop", "tool_calls"})
"""Reasons for which a reply without anything in it cannot have ended; at its limit of tokens it may well."""


@asynccontextmanager
async def _not_too_deep(provider: str) -> AsyncGenerator[None]:
    """A reply that nests more deeply than can be read is no reply: no parser's limit is to end a run by itself."""
    try:
        yield
    except RecursionError as error:
        raise ProviderMalformedReply(f"{provider} sent something nested too deeply.") from error


def _under_own_name(event: ProviderEvent, names: Mapping[str, str]) -> ProviderEvent:
    """The event, naming a tool as its owner does."""
    if isinstance(event, ToolCallPiece) and (own := names.get(event.name or "")):
        return replace(event, name=own)
    return event


def _says(event: ProviderEvent, subject: Subject) -> bool:
    """Whether the event is something of a reply, nothing having come before it.

    :raises ProviderEmptyReply: if it is the end of one.
    """
    if isinstance(event, Finished):
        if event.reason in _ENDS_OF_NOTHING:
            raise ProviderEmptyReply(subject.name, subject.model)
        return False
    return not isinstance(event, TextPiece | ReasoningPiece) or bool(event.text or event.signature)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One try of a request. ``body`` is what ``encode`` gave, or what it was worded anew to.

    ``deadline`` is the ``time.monotonic()`` by which the reply must have begun. ``halves`` mends the JSON of the reply
    before it is parsed.
    """

    request: ModelRequest
    body: bytes
    subject: Subject
    deadline: float
    halves: Halves = field(default_factory=Halves)


class Adapter(ABC):
    """One endpoint on the Provider port. A dialect says what it encodes, how it is asked and what it lists."""

    takes_image_urls: bool = True
    gives_logprobs: ClassVar[bool] = False

    def __init__(self, config: EndpointConfig) -> None:
        self._config = config
        self._under_way = 0
        self._retired = False
        self._model_list = ModelList(config, self.list_models, gives_logprobs=self.gives_logprobs)

    @property
    def name(self) -> str:
        return self._config.name

    @property
    def provider_type(self) -> str:
        return self._config.type.provider_type

    @property
    def config(self) -> EndpointConfig:
        return self._config

    @property
    def writers(self) -> frozenset[str]:
        """The prefixes of the handles that this provider's replies are stored under."""
        if self._config.category == "byok":
            return frozenset({self._config.name})  # the account of another organization, which others' items are not of
        return frozenset({self._config.name, *self._config.type.prefixes})

    # What a dialect says.

    @abstractmethod
    def rules(self, model: str) -> Rules:
        """What becomes of each setting of this model."""

    @abstractmethod
    def encode(self, request: ModelRequest) -> bytes:
        """The body of a streaming request: the same bytes for the same request.

        :raises InvalidArgument: if a setting cannot be expressed.
        """

    @abstractmethod
    def parts_sent(self, model: str, message: Message) -> Sequence[Part]:
        """The parts of a message that ``encode`` sends to the model."""

    @abstractmethod
    def attempt(self, call: Call) -> AsyncGenerator[list[ProviderEvent], None]:
        """Ask once. Yields events as they come, many at a time where they come so, ``Finished`` last.

        :raises ProviderError: if the reply cannot be had or breaks off; the caller decides whether to try again.
        """

    @abstractmethod
    async def fetch_models(self) -> list[Listed]:
        """The models on offer, asked for once.

        :raises ProviderError: if the endpoint cannot tell.
        """

    def reword(self, call: Call, error: ProviderError) -> bytes | None:
        """Another body to ask with at once where this failure says what was wrong with the first; None elsewhere."""
        del call, error
        return None

    def check_settings(self, model: str, settings: ModelSettings) -> None:
        """A dialect that refuses more than its rules do overrides this, and calls it."""
        setting_rules.check(settings, self.rules(model), self.name)

    async def warm_up(self) -> None:  # noqa: B027  there may be nothing to load
        """Load what the first request would otherwise wait half a second for."""

    async def close(self) -> None:  # noqa: B027  there may be nothing to close
        """Let go of every connection; the next request makes new ones."""

    async def retire(self) -> None:
        """Close, as soon as no reply is under way: the catalogue has let go of it, runs may still use it."""
        self._retired = True
        await self._close_if_retired()

    async def _close_if_retired(self) -> None:
        if self._retired and not self._under_way:
            await self.close()

    async def list_models(self) -> list[Listed]:
        """As ``fetch_models``; what a failure quotes holds no secret."""
        try:
            return await self.fetch_models()
        except ProviderError as error:
            self._hide_secrets(error)
            raise

    def _hide_secrets(self, error: ProviderError) -> None:
        """Some servers quote the key that they refuse, and what they say is logged, stored and shown."""
        error.detail = self._config.without_secrets(error.detail)
        error.message = self._config.without_secrets(error.message)
        error.args = (error.message, *error.args[1:])

    async def sync_models(self) -> None:
        """Ask for the models now, however lately that was done.

        :raises ProviderError: if they cannot be told.
        """
        await self._model_list.sync()

    # The port.

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ProviderEvent, None]:
        self._under_way += 1
        try:
            subject = self._config.subject(request.model)
            body = self.encode(request)  # first of all: what cannot be said needs no connection
            names, bodies = own_names(request.tools), 1
            await self.warm_up()  # before the clock of the tries begins
            retries = Retries(self._config.retries, self._config.idle_timeout)
            started = False
            while True:
                halves = Halves()
                call = Call(request=request, body=body, subject=subject, deadline=retries.deadline, halves=halves)
                try:
                    async with _not_too_deep(self.name), aclosing(self.attempt(call)) as batches:
                        async for events in batches:
                            await turn()  # a reply that is there all at once is still read in slices
                            for event in itertools.chain.from_iterable(map(halves.joined, events)):
                                if not started:
                                    started = _says(event, subject)
                                yield _under_own_name(event, names) if names else event
                    return
                except ProviderError as error:
                    self._hide_secrets(error)
                    if started:
                        raise
                    other = self.reword(call, error) if bodies < _MOST_BODIES else None
                    if other is not None:
                        body, bodies = other, bodies + 1
                        continue
                    retry = retries.after(error)
                    if retry is None:
                        raise
                yield retry
                await asyncio.sleep(retry.delay)
        finally:
            self._under_way -= 1
            await self._close_if_retired()

    def card(self, model: str) -> ModelCard:
        return self._model_list.card(model)

    def embedding(self, model: str) -> EmbeddingCard | None:
        return self._model_list.embedding(model)

    async def models(self) -> list[ModelCard]:
        return await self._model_list.models()

    async def embeddings(self) -> list[EmbeddingCard]:
        return await self._model_list.embeddings()
