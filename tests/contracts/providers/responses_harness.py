"""The Responses adapters against their strict endpoints, for the contract suite: OpenAI and the ChatGPT backend."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tertulia.domain.provider_types import BY_PREFIX
from tertulia.ports.provider import FinishReason, Provider, ReasoningPiece, TextPiece
from tertulia.providers.chatgpt.adapter import ChatGPTProvider
from tertulia.providers.endpoint import EndpointConfig
from tertulia.providers.openai.responses_adapter import ResponsesProvider
from tests.support.responses_endpoint import (
    Act,
    Begin,
    ChatGPTEndpoint,
    Drop,
    Fill,
    Finish,
    Pause,
    Refuse,
    ResponsesEndpoint,
)
from tests.support.responses_endpoint import usage as counts
from tests.support.scripted_endpoint import TIMEOUT, Gate

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from tertulia.domain.runs import Usage
    from tests.contracts.providers.harness import FailureName, Piece

_REFUSALS: dict[FailureName, Refuse] = {
    "authentication": Refuse(401, "Incorrect API key provided", code="invalid_api_key"),
    "rate limit": Refuse(429, "Rate limit reached", code="rate_limit_exceeded", headers=(("retry-after", "7"),)),
    "overloaded": Refuse(503, "Our servers are currently overloaded.", code="server_is_overloaded"),
    "context too long": Refuse(
        400, "Your input exceeds the context window of this model.", code="context_length_exceeded"
    ),
    "unknown model": Refuse(400, "The requested model 'x' does not exist.", code="model_not_found"),
    "bad request": Refuse(400, "Unsupported parameter: 'temperature' is not supported with this model."),
}
_CHATGPT_REFUSALS: dict[FailureName, Refuse] = {
    **_REFUSALS,
    "authentication": Refuse(401, "Could not parse your authentication token. Please try signing in again."),
    "rate limit": Refuse(429, "The usage limit has been reached", "usage_limit_reached", "usage_limit_reached"),
    "unknown model": Refuse(400, "The 'x' model is not supported when using Codex with a ChatGPT account."),
}
_REASONS: dict[FinishReason, str] = {"length": "max_output_tokens", "content_filter": "content_filter"}


class ResponsesHarness:
    def __init__(self, endpoint: ResponsesEndpoint, provider: Provider, refusals: dict[FailureName, Refuse]) -> None:
        self._endpoint = endpoint
        self._refusals = refusals
        self.provider: Provider = provider

    def replies(self, *pieces: Piece, usage: Usage, reason: FinishReason = "stop") -> None:
        told = counts(
            usage.prompt_tokens, usage.completion_tokens, usage.cached_input_tokens or 0, usage.reasoning_tokens or 0
        )
        self._endpoint.script([*_items(pieces), Finish(_REASONS.get(reason), told)])

    def fails(self, failure: FailureName) -> None:
        self._endpoint.script([self._refusals[failure]])

    def breaks_off(self, *pieces: Piece) -> None:
        self._endpoint.script([*_items(pieces), Drop()])

    def stalls(self, *pieces: Piece) -> None:
        self._endpoint.script([*_items(pieces), Pause(Gate())])

    async def noticed_leaving(self) -> None:
        left = self._endpoint.requests[-1].left
        assert await asyncio.to_thread(left.wait, TIMEOUT), "the connection was never closed"

    def check(self) -> None:
        assert not self._endpoint.violations


def _items(pieces: Sequence[Piece]) -> list[Act]:
    """The pieces in items, which are not ended: whole reasoning would be an event of its own."""
    acts: list[Act] = []
    index = -1
    kind = ""
    places: dict[int, int] = {}
    for piece in pieces:
        if isinstance(piece, TextPiece | ReasoningPiece):
            wanted = "message" if isinstance(piece, TextPiece) else "reasoning"
            if wanted != kind:
                index, kind = index + 1, wanted
                acts.append(Begin(index, {"type": wanted, "id": f"item_{index}"}))
            event = "output_text.delta" if wanted == "message" else "reasoning_summary_text.delta"
            acts.append(Fill(index, event, {"delta": piece.text}))
            continue
        if piece.index not in places:
            index, kind = index + 1, "function_call"
            places[piece.index] = index
            item = {"type": kind, "id": f"fc_{index}", "call_id": piece.id, "name": piece.name, "arguments": ""}
            acts.append(Begin(index, item))
        acts.append(Fill(places[piece.index], "function_call_arguments.delta", {"delta": piece.arguments}))
    return acts


@contextmanager
def openai_responses() -> Generator[ResponsesHarness]:
    with ResponsesEndpoint() as endpoint:
        config = EndpointConfig(
            name="openai", type=BY_PREFIX["openai"], base_url=endpoint.url, api_key="sk-test", retries=0
        )
        yield ResponsesHarness(endpoint, ResponsesProvider(config), _REFUSALS)


@contextmanager
def chatgpt_oauth() -> Generator[ResponsesHarness]:
    with ChatGPTEndpoint() as endpoint:
        config = EndpointConfig(
            name="chatgpt_oauth",
            type=BY_PREFIX["chatgpt_oauth"],
            base_url=endpoint.url,
            api_key='{"access_token": "at", "refresh_token": "rt", "account_id": "acc-1"}',
            options={"auth_base_url": endpoint.url},
            retries=0,
        )
        yield ResponsesHarness(endpoint, ChatGPTProvider(config), _CHATGPT_REFUSALS)
