"""``web_search``: what each search service is asked, and what the model reads of its answer."""

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tertulia.domain.tools import ToolOutcome
from tertulia.ports.tool import ToolContext
from tertulia.settings import WebSettings
from tertulia.tools.search import SearchService
from tertulia.tools.search_exa import Exa
from tertulia.tools.search_searxng import Searxng
from tertulia.tools.web_search import search_service, web_search
from tests.support.raw_http import Abort, RawServer, Step, response
from tests.support.world import World

pytestmark = pytest.mark.anyio

FOUND = {
    "results": [
        {
            "id": "1",
            "title": "Bees",
            "url": "https://bees.example.org/a",
            "publishedDate": "2026-01-02",
            "author": None,
            "highlights": ["They fly."],
            "content": "All about bees.",
        },
        {"title": "Wasps", "url": "https://example.com/b", "content": "All about wasps."},
    ]
}


class Search:
    """The tool, as a model calls it."""

    def __init__(self, world: World) -> None:
        self._context = ToolContext(world.store, "agent-1", "conv-1", "run-1")

    async def __call__(self, service: SearchService | None, **arguments: Any) -> ToolOutcome:
        return await web_search(service).call({"query": "bees"} | arguments, self._context)


@pytest.fixture
def search(world: World) -> Search:
    return Search(world)


def ok(body: Any = FOUND) -> list[Step]:
    return response(200, json.dumps(body).encode())


async def test_without_a_service_the_model_is_told_what_to_set(search: Search) -> None:
    outcome = await search(search_service(WebSettings()))
    assert outcome.status == "error"
    assert "EXA_API_KEY" in outcome.content
    assert "SEARXNG_BASE_URL" in outcome.content


def test_a_key_goes_before_an_address() -> None:
    both = WebSettings(exa_api_key="key", searxng_base_url="http://127.0.0.1:1")
    assert search_service(both) == Exa(api_key="key")
    assert search_service(WebSettings(searxng_base_url="http://127.0.0.1:1")) == Searxng(base_url="http://127.0.0.1:1")
    assert "key" not in repr(search_service(both)).replace("api_key", "")


async def test_exa_is_asked_for_everything_the_model_wants(search: Search) -> None:
    async with RawServer(ok()) as server:
        outcome = await search(
            Exa(api_key="secret", base_url=server.url),
            num_results=3,
            category="news",
            include_text=True,
            include_domains=["example.org"],
            exclude_domains=["example.com"],
            start_published_date="2026-01-01",
            end_published_date="2026-02-01",
            user_location="it",
        )
    assert outcome.status == "success"
    request = server.requests[0]
    assert request.method == "POST"
    assert request.path == "/v1/search"
    assert request.headers["x-api-key"] == "secret"
    assert request.json == {
        "query": "bees",
        "numResults": 3,
        "category": "news",
        "includeDomains": ["example.org"],
        "excludeDomains": ["example.com"],
        "startPublishedDate": "2026-01-01",
        "endPublishedDate": "2026-02-01",
        "userLocation": "IT",
        "contents": {"highlights": True, "summary": True, "text": True},
    }


async def test_what_exa_finds_is_shown_without_what_is_empty(search: Search) -> None:
    async with RawServer(ok()) as server:
        outcome = await search(Exa(api_key="secret", base_url=server.url))
    assert server.requests[0].json["numResults"] == 10
    assert isinstance(outcome.content, str)
    assert json.loads(outcome.content) == {
        "query": "bees",
        "results": [
            {
                "title": "Bees",
                "url": "https://bees.example.org/a",
                "published_date": "2026-01-02",
                "highlights": ["They fly."],
            },
            {"title": "Wasps", "url": "https://example.com/b"},
        ],
    }


async def test_searxng_is_asked_for_json(search: Search) -> None:
    async with RawServer(ok()) as server:
        outcome = await search(Searxng(base_url=server.url), category="news", num_results=1)
    asked = urlsplit(server.requests[0].path)
    assert asked.path == "/v1/search"
    assert parse_qs(asked.query) == {"q": ["bees"], "format": ["json"], "categories": ["news"]}
    assert isinstance(outcome.content, str)
    assert json.loads(outcome.content)["results"] == [
        {
            "title": "Bees",
            "url": "https://bees.example.org/a",
            "published_date": "2026-01-02",
            "summary": "All about bees.",
        }
    ]


@pytest.mark.parametrize(
    ("arguments", "query", "urls"),
    [
        ({"include_domains": ["example.org"]}, "bees site:example.org", ["https://bees.example.org/a"]),
        ({"exclude_domains": ["example.org"]}, "bees -site:example.org", ["https://example.com/b"]),
    ],
)
async def test_searxng_s_results_are_kept_to_the_domains(
    search: Search, arguments: dict[str, Any], query: str, urls: list[str]
) -> None:
    async with RawServer(ok()) as server:
        outcome = await search(Searxng(base_url=server.url), **arguments)
    assert parse_qs(urlsplit(server.requests[0].path).query)["q"] == [query]
    assert isinstance(outcome.content, str)
    assert [result["url"] for result in json.loads(outcome.content)["results"]] == urls


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"include_text": True}, "include_text"),
        ({"start_published_date": "2026-01-01"}, "start_published_date"),
        ({"user_location": "it"}, "user_location"),
        ({"category": "tweet"}, "category 'tweet'"),
    ],
)
async def test_what_searxng_cannot_filter_by_is_refused(search: Search, arguments: dict[str, Any], said: str) -> None:
    async with RawServer(ok()) as server:
        outcome = await search(Searxng(base_url=server.url), **arguments)
    assert outcome.status == "error"
    assert said in outcome.content
    assert server.connections == 0


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (response(401, b"bad key"), "status 401: bad key"),
        (response(200, b"<html>"), "no search result"),
        (ok({"results": {}}), "no search result"),
        (ok([]), "no search result"),
        ([Abort()], "does not answer"),
    ],
)
async def test_a_failing_service_is_an_error_for_the_model(search: Search, reply: list[Step], said: str) -> None:
    async with RawServer(reply) as server:
        for service in (Exa(api_key="secret", base_url=server.url), Searxng(base_url=server.url)):
            outcome = await search(service)
            assert outcome.status == "error"
            assert said in outcome.content


async def test_a_searxng_without_json_is_told_how_to_allow_it(search: Search) -> None:
    async with RawServer(response(403, b"forbidden")) as server:
        outcome = await search(Searxng(base_url=server.url))
    assert "search.formats" in outcome.content


@pytest.mark.parametrize(
    "arguments", [{"num_results": 0}, {"num_results": 101}, {"category": "bees"}, {"colour": "red"}]
)
async def test_wrong_arguments_are_named(search: Search, arguments: dict[str, Any]) -> None:
    outcome = await search(None, **arguments)
    assert outcome.status == "error"
    assert "Wrong arguments for web_search" in outcome.content
