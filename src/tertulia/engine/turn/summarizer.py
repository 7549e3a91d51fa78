"""The summarizer: asks a model for a summary of messages, and falls back when it fails.

First everything in one request, as far as it fits; then in pieces, each summarised together with the summary of those
before it; then excerpts, which need no model. Something always comes of it, so a history can always be made shorter.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from dataclasses import replace as with_changes

import structlog

from tertulia.context.pairing import paired
from tertulia.context.summaries import ACKNOWLEDGEMENT, WRITE_NOW, clipped, extract, pieces, transcript
from tertulia.domain.clock import utc_now
from tertulia.domain.errors import ContextTooLong, InvalidArgument, ProviderError, ProviderMalformedReply
from tertulia.domain.ids import new_message_id
from tertulia.domain.messages import Message, Role, SummaryMethod, TextPart
from tertulia.domain.models import ModelCard, ModelSettings
from tertulia.engine.turn.model_call import ModelCall
from tertulia.ports.provider import ModelRequest, Provider
from tertulia.ports.telemetry import Telemetry

_log = structlog.get_logger(__name__)

_ATTEMPTS = 3
_MOST_PIECES = 16
_LEAST_PIECE = 1_000  # characters
_INPUT_SHARE = 0.7
"""The part of the summarizer's window that is filled; the rest is for its instructions and the summary."""

_CHARACTERS_PER_TOKEN = 3
"""Fewer than most texts have: pieces had better be small than refused."""

_REFUSALS = (ProviderError, InvalidArgument)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A summary and how it was come by. ``failure`` is why it is not the one that was asked for."""

    text: str
    method: SummaryMethod
    model: str | None = None
    tokens: int = 0
    failure: str | None = None


@dataclass(slots=True, kw_only=True)
class Summarizer:
    """Summarises once. ``own`` is the agent's own request, where the agent is to write the summary as itself.

    ``window`` is the model's, in tokens. The summary has at most ``clip`` characters and ``clip_bytes`` bytes.
    ``strict``: a request that cannot be made is the asker's to mend, and no reason to fall back.
    """

    provider: Provider
    card: ModelCard
    settings: ModelSettings | None
    window: int
    prompt: str
    acknowledged: bool
    clip: int
    clip_bytes: int
    run_id: str
    telemetry: Telemetry
    own: ModelRequest | None = None
    strict: bool = False
    _tokens: int = field(default=0, init=False)

    async def summarise(self, messages: Sequence[Message]) -> Summary:
        """A summary of the messages, by the best way that works.

        :raises InvalidArgument: if ``strict`` and a setting cannot be expressed to the provider.
        """
        if not self.card.can_summarize:
            _log.info("summary_extracted", model=self.card.handle, reason="the model cannot summarise")
            reason = f"{self.card.handle} is too small to summarise."
            return await asyncio.to_thread(self.extract, messages, self.clip_bytes, reason)
        failure: str | None = None
        if self.own is not None:
            try:
                return self._summary(await self._ask(self._own_request(self.own, messages)), "model", None)
            except _REFUSALS as error:
                failure = self._note_failure(error)
        limit = max(_LEAST_PIECE, int(self.window * _INPUT_SHARE) * _CHARACTERS_PER_TOKEN - len(self.prompt))
        entries = await asyncio.to_thread(_fitting, messages, limit * _MOST_PIECES)
        for attempt in range(_ATTEMPTS):
            texts = pieces(entries, limit)
            try:
                text = await self._through(texts)
            except _REFUSALS as error:
                failure = self._note_failure(error)
                if attempt and not isinstance(error, ContextTooLong):
                    break
                limit = max(_LEAST_PIECE, min(limit, sum(map(len, texts))) // 2)
                entries = await asyncio.to_thread(_fitting, messages, limit * _MOST_PIECES)
            else:
                return self._summary(text, "model" if len(texts) == 1 else "pieces", failure)
        return await asyncio.to_thread(self.extract, messages, self.clip_bytes, failure)

    def extract(self, messages: Sequence[Message], limit: int, failure: str | None) -> Summary:
        """A summary of at most ``limit`` bytes that no model is asked for."""
        limit = min(limit, self.clip_bytes)
        text = clipped(extract(messages, min(self.clip, limit)), self.clip, limit)
        return Summary(text=text, method="extractive", tokens=self._tokens, failure=failure)

    def _own_request(self, own: ModelRequest, messages: Sequence[Message]) -> ModelRequest:
        """The request the agent made, with the instruction at its end: a provider's cache knows its beginning."""
        asked = [*paired(messages), *self._turns(("user", self.prompt), ("user", WRITE_NOW))]
        return with_changes(own, messages=asked, tool_choice="none" if own.tools else "auto", settings=self.settings)

    async def _through(self, texts: Sequence[str]) -> str:
        summary = ""
        for index, text in enumerate(texts):
            told = f"{text}\n\n{WRITE_NOW}"
            if summary:
                told = f"Summary of the conversation so far: {summary}\n\nIt goes on:\n\n{told}"
            elif index + 1 < len(texts):
                told = f"The beginning of the conversation:\n\n{told}"
            summary = clipped(await self._ask(self._request(told)), self.clip, self.clip_bytes)
        return summary

    def _request(self, told: str) -> ModelRequest:
        opening: list[tuple[Role, str]] = [("user", self.prompt)] if self.acknowledged else []
        return ModelRequest(
            model=self.card.name,
            system="" if self.acknowledged else self.prompt,
            messages=self._turns(*opening, ("user", told)),
            settings=self.settings,
            context_window=self.window,
        )

    def _turns(self, *turns: tuple[Role, str]) -> list[Message]:
        """The turns as messages of nobody; between the prompt and what follows stands the acknowledgement, if any."""
        first, *rest = turns
        if not rest:
            return [_message(*first)]
        if not self.acknowledged:
            return [_message(*first)]
        return [_message(*first), _message("assistant", ACKNOWLEDGEMENT), *(_message(*turn) for turn in rest)]

    async def _ask(self, request: ModelRequest) -> str:
        """The text of the reply.

        :raises ProviderError: if it cannot be had or is empty.
        """
        with ModelCall(self.telemetry, self.provider, request, run_id=self.run_id, purpose="summary") as call:
            said = (await call.text()).strip()
        usage = call.finished and call.finished.usage
        self._tokens += usage.total_tokens if usage else 0
        if not said:
            raise ProviderMalformedReply(f"{self.card.handle} was asked for a summary and returned nothing.")
        return said

    def _summary(self, text: str, method: SummaryMethod, failure: str | None) -> Summary:
        return Summary(
            text=clipped(text, self.clip, self.clip_bytes),
            method=method,
            model=self.card.handle,
            tokens=self._tokens,
            failure=failure,
        )

    def _note_failure(self, error: ProviderError | InvalidArgument) -> str:
        if self.strict and isinstance(error, InvalidArgument):
            raise error
        _log.warning("summarizer_failed", model=self.card.handle, error=error.message)
        return error.message


def _fitting(messages: Sequence[Message], limit: int) -> list[str]:
    """The messages in words; parts of them are clipped if there are more than a bounded number of pieces can hold."""
    entries = transcript(messages)
    if sum(map(len, entries)) <= limit:
        return entries
    longest = max(40, limit // (2 * len(entries)))
    entries = transcript(messages, longest)
    return entries if sum(map(len, entries)) <= limit else [extract(messages, limit)]


def _message(role: Role, text: str) -> Message:
    return Message(
        id=new_message_id(),
        agent_id="",
        conversation_id="",
        role=role,
        content=(TextPart(text),),
        created_at=utc_now(),
    )
