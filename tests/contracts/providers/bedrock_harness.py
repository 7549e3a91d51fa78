"""The Converse adapter against its strict endpoint, for the contract suite."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tertulia.domain.provider_types import BY_PREFIX
from tertulia.ports.provider import FinishReason, Provider, TextPiece, ToolCallPiece
from tertulia.providers.bedrock.adapter import BedrockProvider
from tertulia.providers.endpoint import EndpointConfig
from tests.support.bedrock_endpoint import ACCESS_KEY, SECRET_KEY, Act, BedrockEndpoint, Finish, begin, fill, refuse
from tests.support.bedrock_endpoint import usage as counts
from tests.support.scripted_endpoint import TIMEOUT, Drop, Gate, Pause, Refuse

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from tertulia.domain.runs import Usage
    from tests.contracts.providers.harness import FailureName, Piece

_REFUSALS: dict[FailureName, Refuse] = {
    "authentication": refuse(
        403, "UnrecognizedClientException", "The security token included in the request is invalid."
    ),
    "rate limit": refuse(
        429, "ThrottlingException", "Too many requests, please wait before trying again.", ("retry-after", "7")
    ),
    "overloaded": refuse(503, "ServiceUnavailableException", "Bedrock is unable to process your request."),
    "context too long": refuse(
        400,
        "ValidationException",
        "The model returned the following errors: prompt is too long: 903884 tokens > 200000 maximum",
    ),
    "unknown model": refuse(400, "ValidationException", "The provided model identifier is invalid."),
    "bad request": refuse(400, "ValidationException", "Malformed input request: #/temperature: 2 is not allowed"),
}
_REASONS: dict[FinishReason, str] = {"stop": "end_turn", "tool_calls": "tool_use", "length": "max_tokens"}


class BedrockHarness:
    def __init__(self, endpoint: BedrockEndpoint) -> None:
        self._endpoint = endpoint
        config = EndpointConfig(
            name="bedrock",
            type=BY_PREFIX["bedrock"],
            base_url=endpoint.url,
            api_key=SECRET_KEY,
            options={"access_key": ACCESS_KEY, "region": "us-west-2"},
            retries=0,
        )
        self.provider: Provider = BedrockProvider(config)

    def replies(self, *pieces: Piece, usage: Usage, reason: FinishReason = "stop") -> None:
        told = counts(
            usage.prompt_tokens - (usage.cached_input_tokens or 0),
            usage.completion_tokens,
            read=usage.cached_input_tokens,
            written=usage.cache_write_tokens,
        )
        self._endpoint.script([*_events(pieces), Finish(_REASONS[reason], told)])

    def fails(self, failure: FailureName) -> None:
        self._endpoint.script([_REFUSALS[failure]])

    def breaks_off(self, *pieces: Piece) -> None:
        self._endpoint.script([*_events(pieces), Drop()])

    def stalls(self, *pieces: Piece) -> None:
        self._endpoint.script([*_events(pieces), Pause(Gate())])

    async def noticed_leaving(self) -> None:
        left = self._endpoint.requests[-1].left
        assert await asyncio.to_thread(left.wait, TIMEOUT), "the connection was never closed"

    def check(self) -> None:
        assert not self._endpoint.violations


def _events(pieces: Sequence[Piece]) -> list[Act]:
    """The pieces in blocks, which are left open, as calls may be interleaved."""
    acts: list[Act] = []
    index, kind = -1, ""
    places: dict[int, int] = {}
    for piece in pieces:
        if isinstance(piece, ToolCallPiece):
            if piece.index not in places:
                index, kind = index + 1, "toolUse"
                places[piece.index] = index
                acts.append(begin(index, piece.id or "", piece.name or ""))
            acts.append(fill(places[piece.index], {"toolUse": {"input": piece.arguments}}))
            continue
        wanted = "text" if isinstance(piece, TextPiece) else "reasoningContent"
        if wanted != kind:
            index, kind = index + 1, wanted
        acts.append(fill(index, {"text": piece.text} if wanted == "text" else {wanted: {"text": piece.text}}))
    return acts


@contextmanager
def bedrock_converse() -> Generator[BedrockHarness]:
    with BedrockEndpoint() as endpoint:
        yield BedrockHarness(endpoint)
