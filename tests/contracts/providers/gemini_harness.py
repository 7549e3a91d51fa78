"""The Gemini adapter against its strict endpoint, for the contract suite: the Gemini API and Vertex AI."""

from __future__ import annotations

import asyncio
import json
from contextlib import contextmanager
from itertools import groupby
from typing import TYPE_CHECKING, Any

from tertulia.domain.provider_types import BY_PREFIX
from tertulia.ports.provider import FinishReason, Provider, ReasoningPiece, TextPiece, ToolCallPiece
from tertulia.providers.endpoint import EndpointConfig
from tertulia.providers.gemini.adapter import GeminiProvider
from tests.support.gemini_endpoint import Act, Chunk, Finish, GeminiEndpoint, GoogleError, called, retry_info
from tests.support.gemini_endpoint import usage as counts
from tests.support.scripted_endpoint import TIMEOUT, Drop, Gate, Pause

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from tertulia.domain.runs import Usage
    from tests.contracts.providers.harness import FailureName, Piece

_REFUSALS: dict[FailureName, GoogleError] = {
    "authentication": GoogleError(400, "API key not valid. Please pass a valid API key.", "INVALID_ARGUMENT"),
    "rate limit": GoogleError(429, "Resource has been exhausted.", "RESOURCE_EXHAUSTED", details=(retry_info(7),)),
    "overloaded": GoogleError(503, "The model is overloaded. Please try again later.", "UNAVAILABLE"),
    "context too long": GoogleError(
        400, "The input token count (1200293) exceeds the maximum number of tokens allowed (1048576)."
    ),
    "unknown model": GoogleError(404, "models/x is not found for API version v1beta", "NOT_FOUND"),
    "bad request": GoogleError(400, "Unable to submit request.", "INVALID_ARGUMENT"),
}
_REASONS: dict[FinishReason, str] = {"stop": "STOP", "tool_calls": "STOP", "length": "MAX_TOKENS"}


class GeminiHarness:
    def __init__(self, endpoint: GeminiEndpoint, name: str) -> None:
        self._endpoint = endpoint
        options = {"project": "p-1", "location": "europe-west4", "access_token": "ya29.test"}
        config = EndpointConfig(
            name=name,
            type=BY_PREFIX[name],
            base_url=endpoint.url,
            api_key=None if endpoint.vertex else "AIza-test",
            options=options if endpoint.vertex else {},
            retries=0,
        )
        self.provider: Provider = GeminiProvider(config)

    def replies(self, *pieces: Piece, usage: Usage, reason: FinishReason = "stop") -> None:
        thoughts = usage.reasoning_tokens or 0
        told = counts(
            usage.prompt_tokens,
            usage.completion_tokens - thoughts,
            thoughts=thoughts,
            cached=usage.cached_input_tokens or 0,
        )
        self._endpoint.script([*_chunks(pieces), Finish(_REASONS[reason], told)])

    def fails(self, failure: FailureName) -> None:
        self._endpoint.script([_REFUSALS[failure]])

    def breaks_off(self, *pieces: Piece) -> None:
        self._endpoint.script([*_chunks(pieces), Drop()])

    def stalls(self, *pieces: Piece) -> None:
        self._endpoint.script([*_chunks(pieces), Pause(Gate())])

    async def noticed_leaving(self) -> None:
        left = self._endpoint.requests[-1].left
        assert await asyncio.to_thread(left.wait, TIMEOUT), "the connection was never closed"

    def check(self) -> None:
        assert not self._endpoint.violations


def _chunks(pieces: Sequence[Piece]) -> list[Act]:
    """A chunk for each piece of text or thought. Calls come whole, and all of them in one chunk."""
    acts: list[Act] = []
    for calls, group in groupby(pieces, lambda piece: isinstance(piece, ToolCallPiece)):
        if calls:
            acts.append(Chunk(_calls([piece for piece in group if isinstance(piece, ToolCallPiece)])))
            continue
        for piece in group:
            if isinstance(piece, TextPiece):
                acts.append(Chunk(({"text": piece.text},)))
            elif isinstance(piece, ReasoningPiece):
                acts.append(Chunk(({"text": piece.text, "thought": True},)))
    return acts


def _calls(pieces: Sequence[ToolCallPiece]) -> tuple[dict[str, Any], ...]:
    arguments: dict[int, str] = {}
    for piece in pieces:
        arguments[piece.index] = arguments.get(piece.index, "") + piece.arguments
    return tuple(
        called(piece.name, json.loads(arguments[piece.index]), id_=piece.id)
        for piece in pieces
        if piece.name is not None
    )


@contextmanager
def google_ai() -> Generator[GeminiHarness]:
    with GeminiEndpoint() as endpoint:
        yield GeminiHarness(endpoint, "google_ai")


@contextmanager
def google_vertex() -> Generator[GeminiHarness]:
    with GeminiEndpoint(vertex=True) as endpoint:
        yield GeminiHarness(endpoint, "google_vertex")
