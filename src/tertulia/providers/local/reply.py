"""The runtime's chunks read as a reply: typed events, or the typed error of one that failed."""

from typing import Any

import msgspec

from tertulia.domain.errors import ContextTooLong, ProviderBadRequest, ProviderError, ProviderMalformedReply
from tertulia.domain.ids import new_tool_call_id
from tertulia.domain.runs import Usage
from tertulia.ports.provider import Finished, FinishReason, ProviderEvent, ReasoningPiece, TextPiece
from tertulia.providers.local.constraint import Constraint
from tertulia.providers.local.envelope import EnvelopeReader, NotHeld


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta = msgspec.field(default_factory=_Delta)
    finish_reason: str | None = None


class _CachedTokens(msgspec.Struct):
    cached_tokens: int = 0


class _Usage(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: _CachedTokens = msgspec.field(default_factory=_CachedTokens)


class _Error(msgspec.Struct):
    message: str
    type: str = ""
    n_prompt_tokens: int | None = None
    n_ctx: int | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    timings: dict[str, Any] | None = None
    error: _Error | None = None


_decoder = msgspec.json.Decoder(_Chunk)


class ReplyReader:
    """One reply, of the form that it was held to."""

    def __init__(self, model: str, held_to: Constraint | None) -> None:
        self._model = model
        self._held_to = held_to
        self._envelope = EnvelopeReader(new_tool_call_id(), held_to.opens) if held_to and held_to.enveloped else None
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._finish_reason: str | None = None
        self._usage: _Usage | None = None
        self._timings: dict[str, Any] | None = None

    def read(self, data: bytes) -> list[ProviderEvent]:
        """The events of one chunk.

        :raises ProviderError: (a subclass of it) if the chunk reports a failure or is none.
        """
        try:
            chunk = _decoder.decode(data)
        except msgspec.DecodeError as error:
            raise ProviderMalformedReply(
                "The local model's runtime sent something that is not a reply.", detail=str(error)
            ) from error
        if chunk.error is not None:
            raise self._failure(chunk.error)
        self._usage = chunk.usage or self._usage
        self._timings = chunk.timings or self._timings
        events: list[ProviderEvent] = []
        for choice in chunk.choices:
            self._finish_reason = choice.finish_reason or self._finish_reason
            try:
                events += self._pieces(choice.delta)
            except NotHeld as error:
                raise self._not_held() from error
        return events

    def finish(self) -> Finished:
        """The last event.

        :raises ProviderMalformedReply: if the reply ended before its end.
        """
        if self._finish_reason is None:
            raise ProviderMalformedReply(f"The model 'local/{self._model}' stopped in the middle of its reply.")
        reason: FinishReason = "length" if self._finish_reason == "length" else "stop"
        if self._envelope is not None:
            if reason == "stop" and not self._envelope.complete:
                raise self._not_held()
            if reason == "stop" and self._envelope.called:
                reason = "tool_calls"
        return Finished(reason=reason, usage=self._used(), reply=self._whole())

    def _pieces(self, delta: _Delta) -> list[ProviderEvent]:
        events: list[ProviderEvent] = []
        if delta.reasoning_content:
            self._reasoning.append(delta.reasoning_content)
            events.append(ReasoningPiece(delta.reasoning_content))
        if delta.content:
            self._text.append(delta.content)
            if self._held_to and not self._text[0].startswith("{"):
                raise NotHeld
            events += [TextPiece(delta.content)] if self._envelope is None else self._envelope.feed(delta.content)
        return events

    def _used(self) -> Usage | None:
        used = self._usage
        return used and Usage(
            prompt_tokens=used.prompt_tokens,
            completion_tokens=used.completion_tokens,
            total_tokens=used.total_tokens,
            cached_input_tokens=used.prompt_tokens_details.cached_tokens,
        )

    def _whole(self) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": "".join(self._text)}
        if self._reasoning:
            message["reasoning_content"] = "".join(self._reasoning)
        return {
            "object": "chat.completion",
            "model": self._model,
            "choices": [{"index": 0, "message": message, "finish_reason": self._finish_reason}],
            "usage": msgspec.to_builtins(self._usage),
            "timings": self._timings,
        }

    def _not_held(self) -> ProviderBadRequest:
        return ProviderBadRequest(
            f"The model 'local/{self._model}' cannot be held to the schema of its tools or its response format: it has "
            "a type, a reference, a keyword or a pattern that no grammar can be made of. Simplify it.",
            detail="".join(self._text),
        )

    def _failure(self, error: _Error) -> ProviderError:
        if error.type == "exceed_context_size_error":
            return ContextTooLong(
                f"The request has {error.n_prompt_tokens} tokens and the context window of 'local/{self._model}' "
                f"{error.n_ctx}. Compact the conversation, shorten the memory, or raise TERTULIA_LOCAL_CONTEXT.",
                detail=error.message,
                tokens=error.n_prompt_tokens,
                context_window=error.n_ctx,
            )
        if "context size" in error.message.lower():
            return ContextTooLong(
                f"The reply of 'local/{self._model}' outgrew its context window. Set max_output_tokens, or raise "
                "TERTULIA_LOCAL_CONTEXT.",
                detail=error.message,
            )
        if error.type == "invalid_request_error":
            return ProviderBadRequest(
                f"The model 'local/{self._model}' cannot be held to this request: {error.message}", detail=error.message
            )
        return ProviderError(f"The model 'local/{self._model}' failed: {error.message}", detail=error.message)
