"""The list of Gemini's models, as the service tells it and as other ends do."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from tertulia.domain.provider_types import BY_PREFIX
from tertulia.providers.endpoint import EndpointConfig
from tertulia.providers.gemini.adapter import GeminiProvider
from tests.support.gemini_endpoint import GeminiEndpoint
from tests.support.raw_http import Abort, Hang, RawServer, Step, response


def make(url: str, **fields: Any) -> GeminiProvider:
    fields = {"api_key": "AIza", **fields}
    config = EndpointConfig(name="google_ai", type=BY_PREFIX["google_ai"], base_url=url.removesuffix("/v1"), **fields)
    return GeminiProvider(config)


async def test_the_models_are_those_that_converse_with_what_is_told_of_them() -> None:
    with GeminiEndpoint() as endpoint:
        endpoint.models = ("gemini-2.5-pro", "gemini-2.5-flash-preview-tts", "gemini-2.5-flash-image", "gemma-3-27b-it")
        provider = make(endpoint.url)
        cards = await provider.models()
        assert [card.handle for card in cards] == ["google_ai/gemini-2.5-pro", "google_ai/gemma-3-27b-it"]
        assert (cards[0].context_window, cards[0].max_output_tokens) == (1_048_576, 65_536)
        assert (cards[0].display_name, cards[0].provider_type) == ("Gemini 2.5 Pro", "google_ai")
        assert await provider.embeddings() == []
        await provider.close()


def page(*names: str, more: str | None = None) -> list[Step]:
    rows = [{"name": f"models/{name}"} for name in names]
    return response(200, msgspec.json.encode({"models": rows, "nextPageToken": more}))


async def test_all_pages_of_the_list_are_read(server: RawServer) -> None:
    provider = make(server.url, retries=0)
    server.script(page("gemini-a", more="next/=?"), page("gemini-b"))
    assert [card.name for card in await provider.models()] == ["gemini-a", "gemini-b"]
    assert [seen.path for seen in server.requests] == [
        "/v1beta/models?pageSize=1000",
        "/v1beta/models?pageSize=1000&pageToken=next%2F%3D%3F",
    ]
    await provider.close()


@pytest.mark.parametrize(
    "steps", [response(500, b"{}"), response(200, b"[]"), response(404, b"{}"), [Abort()], [Hang()]]
)
async def test_a_list_that_cannot_be_had_hides_nothing_else(server: RawServer, steps: Sequence[Step]) -> None:
    server.script(steps)
    provider = make(server.url, models=("gemini-x",), list_timeout=0.2)
    assert [card.name for card in await provider.models()] == ["gemini-x"]
    await provider.close()
