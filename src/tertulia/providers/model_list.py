"""The models of one endpoint: asked for, cached, and described from what the endpoint and public knowledge say."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from sys import intern
from typing import Any, Final, cast

import msgspec
import structlog
from msgspec import Struct

from tertulia.domain.errors import ProviderError
from tertulia.domain.models import EmbeddingCard, ModelCard
from tertulia.providers.endpoint import EndpointConfig, is_openai
from tertulia.providers.model_facts import DEFAULT_CONTEXT_WINDOW, can_chat, embedding_dimensions, known_windows

_OTHER_TYPES: Final = frozenset(
    {"embedding", "embeddings", "image", "video", "audio", "transcribe", "moderation", "rerank"}
)
_FRESH_SECONDS: Final = 300.0
_RETRY_SECONDS: Final = 15.0  # an endpoint that is down is not asked again for every listing

log = structlog.get_logger(__name__)


class Listed(Struct):
    """One row of GET /models. Windows are tokens, under the names that vLLM, OpenRouter, llama.cpp and others use.

    ``model`` is what is behind the id where the id is a name of the user's own, as Azure's deployments have.
    """

    id: str
    max_model_len: int | None = None
    context_length: int | None = None
    context_window: int | None = None
    max_context_length: int | None = None
    max_completion_tokens: int | None = None
    max_output_tokens: int | None = None
    top_provider: dict[str, Any] | None = None
    providers: Any = None
    capabilities: Any = None
    supports_chat: bool | None = None
    meta: dict[str, Any] | None = None
    type: str | None = None
    display_name: str | None = None
    model: Any = None

    @property
    def window(self) -> int | None:
        n_ctx = (self.meta or {}).get("n_ctx") or (self.meta or {}).get("n_ctx_train")
        told = (self.max_model_len, self.context_length, self.context_window, self.max_context_length, n_ctx)
        # A router of many providers takes any of them that is up; the smallest window holds everywhere.
        rows = cast("list[Any]", self.providers) if isinstance(self.providers, list) else []
        windows = [_field(row, "context_length") for row in rows]
        return next(
            (int(window) for window in told if isinstance(window, int) and window > 0),
            min((window for window in windows if isinstance(window, int) and window > 0), default=None),
        )

    @property
    def longest_reply(self) -> int | None:
        told = (self.max_completion_tokens, self.max_output_tokens, _field(self.top_provider, "max_completion_tokens"))
        return next((reply for reply in told if isinstance(reply, int) and reply > 0), None)

    @property
    def chats(self) -> bool:
        """Whether nothing that is told of it says that it does other work."""
        if self.supports_chat is False or _field(self.capabilities, "completion_chat") is False:
            return False
        return (self.type or "").lower() not in _OTHER_TYPES


def _field(row: Any, name: str) -> Any:
    return cast("dict[str, Any]", row).get(name) if isinstance(row, dict) else None


class _Page(Struct):
    data: list[Listed] | None  # null where there are none yet


_decode_page: Final = msgspec.json.Decoder(_Page, strict=False).decode
_decode_rows: Final = msgspec.json.Decoder(list[Listed], strict=False).decode


def decode_models(body: bytes) -> list[Listed]:
    """The rows of GET /models; some servers leave out the object around them.

    :raises msgspec.DecodeError: if it is something else.
    """
    return _decode_rows(body) if body.lstrip().startswith(b"[") else _decode_page(body).data or []


class ModelList:
    """``fetch`` asks the endpoint; it raises ``ProviderError`` when the endpoint cannot tell."""

    def __init__(
        self, config: EndpointConfig, fetch: Callable[[], Awaitable[list[Listed]]], *, gives_logprobs: bool = False
    ) -> None:
        self._config = config
        self._gives_logprobs = gives_logprobs
        self._fetch = fetch
        self._rows: dict[str, Listed] = {}
        self._fresh_until = 0.0
        self._down = False
        self._asking = asyncio.Lock()

    def card(self, model: str) -> ModelCard:
        row = self._rows.get(model)
        known = known_windows(row.model if row is not None and isinstance(row.model, str) else model)
        window, reply = known or (DEFAULT_CONTEXT_WINDOW, None)
        told = row.window if row is not None else None
        return ModelCard(
            handle=f"{self._config.name}/{model}",
            name=intern(model),  # the model of every message and step
            provider_name=self._config.name,
            provider_type=self._config.type.provider_type,
            provider_category=self._config.category,
            endpoint_type=self._config.type.endpoint_type,
            endpoint=self._config.shown_address or None,
            context_window=told or window,
            window_guessed=not told and known is None,
            max_output_tokens=(row.longest_reply if row is not None else None) or reply,
            display_name=(row.display_name if row is not None else None) or model,
            gives_logprobs=self._gives_logprobs,
        )

    async def models(self) -> list[ModelCard]:
        await self._refresh()
        names = self._config.models
        if names is None:
            at_openai = self._config.type.name == "openai" and is_openai(self._config.base_url)
            names = tuple(name for name, row in self._rows.items() if can_chat(name, at_openai=at_openai) and row.chats)
        return [self.card(name) for name in names]

    async def sync(self) -> None:
        """Ask now, however lately that was done.

        :raises ProviderError: if the endpoint cannot tell.
        """
        async with self._asking:
            await self._ask()

    async def embeddings(self) -> list[EmbeddingCard]:
        await self._refresh()
        return [card for name in self._rows if (card := self.embedding(name)) is not None]

    def embedding(self, name: str) -> EmbeddingCard | None:
        """What is known of an embedding model by its name; None for a name that is not one's."""
        size = embedding_dimensions(name)
        if size is None:
            return None
        return EmbeddingCard(
            handle=f"{self._config.name}/{name}",
            name=name,
            provider_name=self._config.name,
            provider_type=self._config.type.provider_type,
            endpoint_type=self._config.type.endpoint_type,
            endpoint=self._config.shown_address or None,
            dimensions=size,
        )

    async def _refresh(self) -> None:
        if time.monotonic() < self._fresh_until:
            return
        async with self._asking:
            if time.monotonic() < self._fresh_until:
                return  # somebody else asked meanwhile
            try:
                await self._ask()
            except ProviderError as error:
                self._fresh_until = time.monotonic() + _RETRY_SECONDS
                self._report_down(error)

    async def _ask(self) -> None:
        rows = await self._fetch()
        self._rows = {row.id: row for row in rows}
        self._fresh_until = time.monotonic() + _FRESH_SECONDS
        self._down = False

    def _report_down(self, error: ProviderError) -> None:
        """Once, until it has been up again."""
        if not self._down:
            log.warning("models cannot be listed", provider=self._config.name, reason=str(error), detail=error.detail)
        self._down = True
