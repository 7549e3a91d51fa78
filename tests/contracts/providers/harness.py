"""How the contract suite makes an adapter's far end behave, whatever protocol it speaks."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from tertulia.domain.errors import (
    ContextTooLong,
    ProviderAuthenticationError,
    ProviderBadRequest,
    ProviderConnectionLost,
    ProviderError,
    ProviderModelNotFound,
    ProviderOverloaded,
    ProviderRateLimited,
)
from tertulia.domain.provider_types import BY_PREFIX
from tertulia.ports.provider import Finished, FinishReason, Provider, ReasoningPiece, TextPiece, ToolCallPiece
from tertulia.providers.anthropic.adapter import AnthropicProvider
from tertulia.providers.endpoint import EndpointConfig
from tertulia.providers.openai.chat_adapter import OpenAIChatProvider
from tests.contracts.providers.bedrock_harness import bedrock_converse
from tests.contracts.providers.gemini_harness import google_ai, google_vertex
from tests.contracts.providers.responses_harness import chatgpt_oauth, openai_responses
from tests.support import scripted
from tests.support.anthropic_endpoint import AnthropicEndpoint, Begin, Fill
from tests.support.anthropic_endpoint import Finish as MessagesFinish
from tests.support.anthropic_endpoint import usage as counts
from tests.support.openai_endpoint import Act, Drop, Finish, Gate, OpenAIEndpoint, Pause, Refuse, Send
from tests.support.openai_endpoint import usage as wire_usage

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from tertulia.domain.runs import Usage

Piece: TypeAlias = TextPiece | ReasoningPiece | ToolCallPiece
FailureName: TypeAlias = Literal[
    "authentication", "rate limit", "overloaded", "context too long", "unknown model", "bad request"
]
FAILURES: dict[FailureName, type[ProviderError]] = {
    "authentication": ProviderAuthenticationError,
    "rate limit": ProviderRateLimited,
    "overloaded": ProviderOverloaded,
    "context too long": ContextTooLong,
    "unknown model": ProviderModelNotFound,
    "bad request": ProviderBadRequest,
}
WAIT = 10.0  # seconds until something that should have happened is called missing


class Harness(Protocol):
    """What the far end does with the next request."""

    provider: Provider

    def replies(self, *pieces: Piece, usage: Usage, reason: FinishReason = "stop") -> None: ...

    def fails(self, failure: FailureName) -> None:
        """Refuses; a retry-after of 7 seconds where the protocol has one."""
        ...

    def breaks_off(self, *pieces: Piece) -> None:
        """Cuts the connection after the pieces."""
        ...

    def stalls(self, *pieces: Piece) -> None:
        """Sends the pieces and then nothing more."""
        ...

    async def noticed_leaving(self) -> None:
        """Return once the far end saw that nobody reads the stalled reply any more."""
        ...

    def check(self) -> None:
        """Fail if a request was not what the protocol takes."""
        ...


class ScriptedHarness:
    """The scripted provider, which tests of the engine rely on behaving like the real ones."""

    def __init__(self) -> None:
        self.provider: Provider
        self.provider = self._scripted = scripted.ScriptedProvider()

    def replies(self, *pieces: Piece, usage: Usage, reason: FinishReason = "stop") -> None:
        self._scripted.scripts.append([*pieces, Finished(reason=reason, usage=usage)])

    def fails(self, failure: FailureName) -> None:
        retry_after = 7.0 if failure == "rate limit" else None
        kind = FAILURES[failure]
        error = kind(failure) if kind is ContextTooLong else kind(failure, retry_after=retry_after)
        self._scripted.scripts.append([error])

    def breaks_off(self, *pieces: Piece) -> None:
        self._scripted.scripts.append([*pieces, ProviderConnectionLost("cut")])

    def stalls(self, *pieces: Piece) -> None:
        self._scripted.scripts.append([*pieces, scripted.Gate()])

    async def noticed_leaving(self) -> None:
        assert self._scripted.open == 0

    def check(self) -> None:
        pass


class OpenAIChatHarness:
    """The Chat Completions adapter against the strict endpoint."""

    _refusals: dict[FailureName, Refuse] = {  # noqa: RUF012  a constant
        "authentication": Refuse(401, "Incorrect API key provided"),
        "rate limit": Refuse(429, "Rate limit reached", headers=(("retry-after", "7"),)),
        "overloaded": Refuse(503, "The server is overloaded"),
        "context too long": Refuse(
            400, "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens."
        ),
        "unknown model": Refuse(404, "The model `x` does not exist", code="model_not_found"),
        "bad request": Refuse(400, "Unsupported value: 'temperature'"),
    }

    def __init__(self, endpoint: OpenAIEndpoint) -> None:
        self._endpoint = endpoint
        self.provider: Provider = OpenAIChatProvider(
            EndpointConfig(name="openai", type=BY_PREFIX["openai"], base_url=endpoint.url, api_key="sk-test", retries=0)
        )

    def replies(self, *pieces: Piece, usage: Usage, reason: FinishReason = "stop") -> None:
        told = wire_usage(
            usage.prompt_tokens, usage.completion_tokens, usage.cached_input_tokens or 0, usage.reasoning_tokens or 0
        )
        self._endpoint.script([*map(_send, pieces), Finish(reason, told)])

    def fails(self, failure: FailureName) -> None:
        self._endpoint.script([self._refusals[failure]])

    def breaks_off(self, *pieces: Piece) -> None:
        self._endpoint.script([*map(_send, pieces), Drop()])

    def stalls(self, *pieces: Piece) -> None:
        self._endpoint.script([*map(_send, pieces), Pause(Gate())])

    async def noticed_leaving(self) -> None:
        left = self._endpoint.requests[-1].left
        assert await asyncio.to_thread(left.wait, WAIT), "the connection was never closed"

    def check(self) -> None:
        assert not self._endpoint.violations


def _send(piece: Piece) -> Act:
    match piece:
        case TextPiece(text):
            return Send({"content": text})
        case ReasoningPiece(text):
            return Send({"reasoning_content": text})
        case ToolCallPiece(index, arguments, id_, name):
            call: dict[str, Any] = {"index": index, "function": {"arguments": arguments}}
            if id_ is not None:
                call |= {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}
            return Send({"tool_calls": [call]})


class AnthropicHarness:
    """The Messages adapter against its strict endpoint."""

    _refusals: dict[FailureName, Refuse] = {  # noqa: RUF012  a constant
        "authentication": Refuse(401, "invalid x-api-key", "authentication_error"),
        "rate limit": Refuse(429, "This request would exceed …", "rate_limit_error", headers=(("retry-after", "7"),)),
        "overloaded": Refuse(529, "Overloaded", "overloaded_error"),
        "context too long": Refuse(400, "prompt is too long: 209353 tokens > 200000 maximum"),
        "unknown model": Refuse(404, "model: gpt-4o-mini", "not_found_error"),
        "bad request": Refuse(400, "temperature: range: 0..1"),
    }
    _reasons: dict[FinishReason, str] = {"stop": "end_turn", "tool_calls": "tool_use", "length": "max_tokens"}  # noqa: RUF012  a constant

    def __init__(self, endpoint: AnthropicEndpoint) -> None:
        self._endpoint = endpoint
        config = EndpointConfig(
            name="anthropic", type=BY_PREFIX["anthropic"], base_url=endpoint.url, api_key="sk-test", retries=0
        )
        self.provider: Provider = AnthropicProvider(config)

    def replies(self, *pieces: Piece, usage: Usage, reason: FinishReason = "stop") -> None:
        told = counts(
            usage.prompt_tokens - (usage.cached_input_tokens or 0),
            usage.completion_tokens,
            read=usage.cached_input_tokens,
            written=usage.cache_write_tokens,
        )
        told["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
        self._endpoint.script([*_blocks(pieces), MessagesFinish(self._reasons[reason], told)])

    def fails(self, failure: FailureName) -> None:
        self._endpoint.script([self._refusals[failure]])

    def breaks_off(self, *pieces: Piece) -> None:
        self._endpoint.script([*_blocks(pieces), Drop()])

    def stalls(self, *pieces: Piece) -> None:
        self._endpoint.script([*_blocks(pieces), Pause(Gate())])

    async def noticed_leaving(self) -> None:
        left = self._endpoint.requests[-1].left
        assert await asyncio.to_thread(left.wait, WAIT), "the connection was never closed"

    def check(self) -> None:
        assert not self._endpoint.violations


def _blocks(pieces: Sequence[Piece]) -> list[Begin | Fill]:
    """The pieces in blocks, which are left open: calls may be interleaved, and Anthropic's rules allow that."""
    acts: list[Begin | Fill] = []
    index = -1
    kind = ""
    places: dict[int, int] = {}
    for piece in pieces:
        if isinstance(piece, ToolCallPiece):
            if piece.index not in places:
                index, kind = index + 1, "tool_use"
                places[piece.index] = index
                acts.append(Begin(index, {"type": kind, "id": piece.id, "name": piece.name, "input": {}}))
            acts.append(Fill(places[piece.index], {"type": "input_json_delta", "partial_json": piece.arguments}))
            continue
        wanted = "text" if isinstance(piece, TextPiece) else "thinking"
        if wanted != kind:
            index, kind = index + 1, wanted
            acts.append(Begin(index, {"type": wanted, wanted: ""}))
        acts.append(Fill(index, {"type": f"{wanted}_delta", wanted: piece.text}))
    return acts


@contextmanager
def scripted_provider() -> Generator[Harness]:
    yield ScriptedHarness()


@contextmanager
def openai_chat() -> Generator[Harness]:
    with OpenAIEndpoint() as endpoint:
        yield OpenAIChatHarness(endpoint)


@contextmanager
def anthropic_messages() -> Generator[Harness]:
    with AnthropicEndpoint() as endpoint:
        yield AnthropicHarness(endpoint)


HARNESSES = (
    scripted_provider,
    openai_chat,
    anthropic_messages,
    google_ai,
    google_vertex,
    bedrock_converse,
    openai_responses,
    chatgpt_oauth,
)
