"""The Chat Completions adapter on a real socket, with the far ends that real life has."""

import asyncio
import gzip
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest

from tertulia.domain.errors import (
    ContextTooLong,
    ProviderAuthenticationError,
    ProviderBadRequest,
    ProviderConnectionLost,
    ProviderError,
    ProviderMalformedReply,
    ProviderOverloaded,
    ProviderRateLimited,
    ProviderTimeout,
    ProviderUnreachable,
)
from tertulia.domain.models import ModelSettings
from tertulia.domain.provider_types import BY_PREFIX
from tertulia.ports.provider import Finished, ModelRequest, ProviderEvent, Retrying, TextPiece
from tertulia.providers.endpoint import EndpointConfig
from tertulia.providers.openai.chat_adapter import AzureProvider, OpenAIChatProvider
from tests.support import asking
from tests.support.raw_http import DONE, SSE_HEAD, Abort, Hang, RawServer, Step, chunked, delta, response

REQUEST = ModelRequest(model="some-model", system="Be terse.", messages=())
WHOLE = (delta(content="Hel"), delta(content="lo"), delta("stop"), DONE)
HELLO = [TextPiece("Hel"), TextPiece("lo")]


@pytest.fixture
async def provider(server: RawServer) -> AsyncGenerator[OpenAIChatProvider, None]:
    provider = make(server, retries=0)
    yield provider
    await provider.close()


def make(server: RawServer, **fields: Any) -> OpenAIChatProvider:
    return OpenAIChatProvider(EndpointConfig(name="box", base_url=server.url, **fields))


async def ask(provider: OpenAIChatProvider) -> list[ProviderEvent]:
    return await asking.ask(provider, REQUEST)


async def failure(provider: OpenAIChatProvider, kind: type[ProviderError]) -> ProviderError:
    with pytest.raises(kind) as caught:
        await ask(provider)
    return caught.value


async def test_what_is_sent_is_what_encode_gives(server: RawServer, provider: OpenAIChatProvider) -> None:
    server.script(chunked(*WHOLE))
    await ask(provider)
    seen = server.requests[0]
    assert (seen.method, seen.path) == ("POST", "/v1/chat/completions")
    assert seen.body == provider.encode(REQUEST)
    assert seen.headers["content-type"] == "application/json"
    assert seen.headers["accept"] == "text/event-stream"


async def test_the_key_is_sent_and_nothing_that_is_for_openai_alone(
    server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-secret")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-secret")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "x-secret: openai's")
    server.script(chunked(*WHOLE))
    headers = await sent_headers(server, api_key="sk-box", options=CHARGED)
    assert headers["authorization"] == "Bearer sk-box"
    assert not {"openai-organization", "openai-project", "x-secret"} & set(headers)


CHARGED = {"organization": "org-secret", "project": "project-secret"}


async def sent_headers(server: RawServer, **fields: Any) -> Mapping[str, str]:
    provider = make(server, **fields)
    await ask(provider)
    await provider.close()
    return server.requests[-1].headers


async def test_openai_itself_is_told_who_is_charged(server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tertulia.providers.openai.connection._HOST", urlsplit(server.url).hostname)
    server.script(chunked(*WHOLE))
    headers = await sent_headers(server, options=CHARGED)
    assert (headers["openai-organization"], headers["openai-project"]) == ("org-secret", "project-secret")


async def test_configured_headers_take_the_place_of_the_usual_ones(server: RawServer) -> None:
    server.script(chunked(*WHOLE))
    given = {"Authorization": "Basic box", "User-Agent": "box"}
    headers = await sent_headers(server, api_key="sk-box", headers=given)
    assert (headers["authorization"], headers["user-agent"]) == ("Basic box", "box")


@pytest.mark.parametrize("said", [b"x" * 5_000_000, b"[" * 100_000, b"\xff\xfe", b""])
async def test_an_error_is_told_whatever_its_body_is(
    server: RawServer, provider: OpenAIChatProvider, said: bytes
) -> None:
    server.script(response(500, said))
    error = await failure(provider, ProviderError)
    assert len(str(error)) < 5_000


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param(chunked(*WHOLE), id="a chunk each"),
        pytest.param(chunked(b"".join(WHOLE)), id="all at once"),
        pytest.param(chunked(*[bytes([byte]) for byte in b"".join(WHOLE)]), id="byte by byte"),
        pytest.param(chunked(b": hi\r\n\r\n", *(part.replace(b"\n", b"\r\n") for part in WHOLE)), id="CRLF"),
        pytest.param(chunked(*WHOLE[:3]), id="no [DONE]"),
        pytest.param(chunked(*WHOLE[:2], DONE), id="no finish reason"),
        pytest.param([SSE_HEAD.replace(b"text/event-stream", b"text/plain"), *chunked(*WHOLE)[1:]], id="wrong type"),
        pytest.param([*chunked(*WHOLE)[:-1], Abort()], id="reset after [DONE]"),
        pytest.param([*chunked(*WHOLE[:3])[:-1], Abort()], id="reset after the finish reason"),
    ],
)
async def test_a_complete_reply_is_taken_however_it_comes(
    server: RawServer, provider: OpenAIChatProvider, steps: Sequence[Step]
) -> None:
    server.script(steps)
    *pieces, finished = await ask(provider)
    assert pieces == HELLO
    assert isinstance(finished, Finished)
    assert finished.reason == "stop"


async def test_a_compressed_stream_is_understood(server: RawServer, provider: OpenAIChatProvider) -> None:
    packed = gzip.compress(b"".join(WHOLE))
    server.script(response(200, packed, "content-encoding: gzip", content_type="text/event-stream"))
    assert (await ask(provider))[:-1] == HELLO


async def test_a_server_that_does_not_stream_is_understood(server: RawServer, provider: OpenAIChatProvider) -> None:
    server.script(response(200, b'{"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]}'))
    assert (await ask(provider))[0] == TextPiece("Hello")


async def test_the_connection_is_used_again(server: RawServer, provider: OpenAIChatProvider) -> None:
    server.script(chunked(*WHOLE))
    for _ in range(3):
        await ask(provider)
    assert [seen.connection for seen in server.requests] == [1, 1, 1]


async def test_an_end_that_does_not_come_after_done_holds_nobody_up(
    server: RawServer, provider: OpenAIChatProvider
) -> None:
    server.script([*chunked(*WHOLE)[:-1], Hang()], chunked(*WHOLE))
    assert (await ask(provider))[:-1] == HELLO
    await server.requests[0].left.wait()
    assert (await ask(provider))[:-1] == HELLO


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        pytest.param(response(200, b"<html>Welcome</html>", content_type="text/html"), "Welcome", id="a web page"),
        pytest.param(response(200, b"", content_type="text/html"), "", id="an empty page"),
        pytest.param(response(200, b"<?xml?>", content_type="application/json"), "<?xml?>", id="no JSON"),
        pytest.param(response(200, b"[1, 2]"), "[1, 2]", id="other JSON"),
        pytest.param(response(200, b'{"hello": "world"}'), "", id="some other API"),
        pytest.param(chunked(b"\x00\xff<html>not what you think</html>\n\n"), "not what", id="garbage"),
        pytest.param(chunked(b"garbage without an end"), "garbage", id="garbage in one line"),
        pytest.param(chunked(b'data: {"choices": [{"del\n\n'), '"del', id="broken JSON"),
        pytest.param(chunked(), "", id="nothing"),
    ],
)
async def test_what_is_not_the_protocol_is_malformed_and_quoted(
    server: RawServer, provider: OpenAIChatProvider, steps: Sequence[Step], words: str
) -> None:
    server.script(steps)
    error = await failure(provider, ProviderMalformedReply)
    assert words in error.detail


@pytest.mark.parametrize(
    ("steps", "kind"),
    [
        (response(200, b'{"error": {"message": "prompt is too long: 5 tokens > 4 maximum"}}'), ContextTooLong),
        (response(200, b'{"error": {"message": "slow down", "code": 429}}'), ProviderRateLimited),
        (chunked(b'{"error": {"message": "slow down", "code": 429}}\n'), ProviderRateLimited),
        (chunked(delta(content="a"), b'event: error\ndata: {"error": "exploded"}\n\n'), ProviderError),
    ],
)
async def test_a_failure_in_the_guise_of_a_success_is_found(
    server: RawServer, provider: OpenAIChatProvider, steps: Sequence[Step], kind: type[ProviderError]
) -> None:
    server.script(steps)
    await failure(provider, kind)


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([Abort()], id="before a reply"),
        pytest.param([SSE_HEAD, Abort()], id="after the headers"),
        pytest.param([*chunked(delta(content="Once"))[:-1], Abort()], id="in the middle"),
        pytest.param([SSE_HEAD, b"40\r\n" + delta(content="Once")[:20], Abort()], id="in the middle of a chunk"),
        pytest.param(chunked(delta(content="Once")), id="an end that is none"),
    ],
)
async def test_a_connection_that_breaks_is_told(
    server: RawServer, provider: OpenAIChatProvider, steps: Sequence[Step]
) -> None:
    server.script(steps)
    await failure(provider, ProviderConnectionLost)


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([Hang()], id="before a reply"),
        pytest.param([SSE_HEAD, Hang()], id="after the headers"),
        pytest.param([*chunked(delta(content="Once"))[:-1], Hang()], id="in the middle"),
    ],
)
async def test_silence_is_ended_and_the_connection_closed(server: RawServer, steps: Sequence[Step]) -> None:
    server.script(steps)
    provider = make(server, retries=0, idle_timeout=0.2)
    await failure(provider, ProviderTimeout)
    await server.requests[0].left.wait()
    await provider.close()


async def test_silence_after_the_finish_reason_takes_nothing_from_the_reply(server: RawServer) -> None:
    server.script([*chunked(*WHOLE[:3])[:-1], Hang()])
    provider = make(server, retries=0, idle_timeout=0.2)
    assert (await ask(provider))[:-1] == HELLO
    await provider.close()


async def test_nobody_at_the_address_is_told_with_the_address() -> None:
    async with RawServer() as server:
        provider = make(server, retries=0)
    error = await failure(provider, ProviderUnreachable)
    assert server.url in error.message
    await provider.close()


@pytest.mark.parametrize("refusal", [response(500, b"{}", "retry-after-ms: 1"), [Abort()]], ids=["an error", "a reset"])
async def test_a_request_is_tried_again_before_the_first_token(server: RawServer, refusal: Sequence[Step]) -> None:
    server.script(refusal, chunked(*WHOLE))
    provider = make(server, retries=1)
    retry, *events = await ask(provider)
    assert isinstance(retry, Retrying)
    assert events[:-1] == HELLO
    first, second = server.requests
    assert first.body == second.body
    await provider.close()


async def test_a_request_is_never_tried_again_after_the_first_token(server: RawServer) -> None:
    server.script([*chunked(delta(content="Once"))[:-1], Abort()], chunked(*WHOLE))
    provider = make(server, retries=2)
    await failure(provider, ProviderConnectionLost)
    assert len(server.requests) == 1
    await provider.close()


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (response(429, b'{"error": {"message": "slow down"}}', "retry-after: 60"), ProviderRateLimited),
        (response(429, b'{"error": {"code": "insufficient_quota", "message": "no"}}'), ProviderRateLimited),
        (response(503, b'{"error": {"message": "later"}}', "retry-after: 3600"), ProviderOverloaded),
        (response(401, b'{"error": {"message": "Incorrect API key"}}'), ProviderAuthenticationError),
    ],
)
async def test_what_waiting_does_not_mend_soon_is_told_at_once(
    server: RawServer, refusal: Sequence[Step], kind: type[ProviderError]
) -> None:
    server.script(refusal)
    provider = make(server, retries=2)
    await failure(provider, kind)
    assert len(server.requests) == 1
    await provider.close()


async def test_the_time_to_wait_is_passed_on(server: RawServer, provider: OpenAIChatProvider) -> None:
    server.script(response(429, b'{"error": {"message": "slow down"}}', "retry-after: 60"))
    assert (await failure(provider, ProviderRateLimited)).retry_after == 60


async def test_a_server_that_does_not_know_stream_options_is_asked_without(
    server: RawServer, provider: OpenAIChatProvider
) -> None:
    refusal = response(400, b'{"error": {"message": "extra fields not permitted: stream_options"}}')
    server.script(refusal, chunked(*WHOLE))
    assert (await ask(provider))[:-1] == HELLO
    assert (await ask(provider))[:-1] == HELLO
    assert ["stream_options" in seen.json for seen in server.requests] == [True, False, False]


async def test_an_imitator_is_asked_without_what_it_does_not_know(server: RawServer) -> None:
    server.script(
        response(422, b'{"detail": [{"loc": ["body", "prompt_cache_key"], "msg": "Extra inputs are not permitted"}]}'),
        response(400, b'{"error": {"message": "unknown field max_completion_tokens"}}'),
        chunked(*WHOLE),
    )
    config = EndpointConfig(name="openai", type=BY_PREFIX["openai"], base_url=server.url, retries=0)
    provider = OpenAIChatProvider(config)
    settings = ModelSettings(provider_type="openai", max_output_tokens=9)
    request = replace(REQUEST, settings=settings, cache_key="conv-1")
    for _ in range(2):
        async with aclosing(provider.stream(request)) as stream:
            assert [event async for event in stream][:-1] == HELLO
    await provider.close()
    known = [set(seen.json) & {"prompt_cache_key", "max_completion_tokens", "max_tokens"} for seen in server.requests]
    assert known == [
        {"prompt_cache_key", "max_completion_tokens"},
        {"max_completion_tokens"},
        {"max_tokens"},
        {"max_tokens"},
    ]


@pytest.mark.parametrize(
    ("path", "options", "asked", "listed"),
    [
        (
            "",
            {},
            "/openai/deployments/my%20model/chat/completions?api-version=2024-10-21",
            "/openai/deployments?api-version=2023-03-15-preview",
        ),
        (
            "",
            {"api_version": "2025-01-01-preview"},
            "/openai/deployments/my%20model/chat/completions?api-version=2025-01-01-preview",
            "/openai/deployments?api-version=2023-03-15-preview",
        ),
        (
            "/openai",
            {},
            "/openai/deployments/my%20model/chat/completions?api-version=2024-10-21",
            "/openai/deployments?api-version=2023-03-15-preview",
        ),
        ("/openai/v1", {}, "/openai/v1/chat/completions", "/openai/v1/models"),
    ],
)
async def test_azure_is_asked_by_deployment_with_its_own_header_for_keys(
    server: RawServer, path: str, options: dict[str, str], asked: str, listed: str
) -> None:
    server.script(chunked(*WHOLE), response(200, b'{"data": [{"id": "my model", "model": "gpt-4o"}]}'))
    base_url = server.url.removesuffix("/v1") + path
    config = EndpointConfig(
        name="azure", type=BY_PREFIX["azure"], base_url=base_url, api_key="k", options=options, retries=0
    )
    provider = AzureProvider(config)
    async with aclosing(provider.stream(replace(REQUEST, model="my model"))) as stream:
        assert [event async for event in stream][:-1] == HELLO
    [card] = await provider.models()
    await provider.close()
    assert (card.handle, card.context_window) == ("azure/my model", 128_000)
    assert [seen.path for seen in server.requests] == [asked, listed]
    assert all(seen.headers["api-key"] == "k" and "authorization" not in seen.headers for seen in server.requests)


async def test_two_replies_at_once_do_not_mix(server: RawServer, provider: OpenAIChatProvider) -> None:
    server.script(*(chunked(*(delta(content=name) for _ in range(20)), delta("stop"), DONE) for name in "ab"))
    replies = await asyncio.gather(ask(provider), ask(provider))
    texts = ["".join(event.text for event in reply if isinstance(event, TextPiece)) for reply in replies]
    assert sorted(texts) == ["a" * 20, "b" * 20]


@pytest.mark.parametrize("key", ["sk-…abc", "sk-abc\n", "sk-\x00"])
async def test_a_key_that_cannot_be_one_is_refused_before_it_is_sent(server: RawServer, key: str) -> None:
    error = await failure(make(server, api_key=key), ProviderAuthenticationError)
    assert "TERTULIA_ENDPOINTS" in error.message
    assert "sk-" not in error.message + error.detail
    assert not server.requests


async def test_a_closed_provider_opens_again_when_it_is_asked(server: RawServer, provider: OpenAIChatProvider) -> None:
    server.script(chunked(*WHOLE))
    await ask(provider)
    await provider.close()
    assert (await ask(provider))[:-1] == HELLO


def test_building_a_catalogue_imports_no_sdk() -> None:
    code = (
        "import sys; from tertulia.providers.catalogue import build_catalogue; "
        "from tertulia.provider_settings import Endpoint, ProviderSettings; "
        "from tertulia.domain.provider_types import BY_PREFIX; "
        "e = Endpoint(name='openai', type=BY_PREFIX['openai'], base_url='http://127.0.0.1:1/v1'); "
        "build_catalogue(ProviderSettings(endpoints=(e,)), None).resolve('openai/gpt-4o'); "
        "sys.exit(any(name in sys.modules for name in ('openai', 'httpx2', 'httpx', 'tiktoken')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_told_and_neither_followed_nor_tried_again(server: RawServer, status: int) -> None:
    async with RawServer() as elsewhere:
        server.script(response(status, b"", f"location: {elsewhere.url}/chat/completions"))
        provider = make(server, api_key="sk-box")
        found = await failure(provider, ProviderBadRequest)
        await provider.close()
        assert f"redirects from {server.url} to another address" in found.message
        assert not elsewhere.requests
    assert len(server.requests) == 1
