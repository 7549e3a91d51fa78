"""The Messages adapter on a real socket, with the far ends that real life has."""

import asyncio
import gzip
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from typing import Any

import msgspec
import pytest

from tertulia.domain.errors import (
    ContextTooLong,
    ProviderAuthenticationError,
    ProviderConnectionLost,
    ProviderError,
    ProviderMalformedReply,
    ProviderOverloaded,
    ProviderQuotaUsedUp,
    ProviderRateLimited,
    ProviderTimeout,
    ProviderUnreachable,
)
from tertulia.domain.models import ModelSettings
from tertulia.domain.provider_types import BY_PREFIX
from tertulia.domain.runs import Usage
from tertulia.ports.provider import (
    Finished,
    HiddenReasoningPiece,
    ModelRequest,
    ProviderEvent,
    ReasoningPiece,
    Retrying,
    TextPiece,
)
from tertulia.providers.anthropic.adapter import AnthropicProvider
from tertulia.providers.endpoint import EndpointConfig
from tests.support import asking
from tests.support.anthropic_endpoint import (
    AnthropicEndpoint,
    Failure,
    Refuse,
    redacted,
    reply,
    said,
    sign,
    text,
    thought,
    usage,
)
from tests.support.anthropic_raw import START, WHOLE, begun, filled
from tests.support.raw_http import SSE_HEAD, Abort, Hang, RawServer, Step, chunked, response

REQUEST = ModelRequest(model="claude-sonnet-4-5", system="Be terse.", messages=())
HELLO = [TextPiece("Hél"), TextPiece("lo")]
ONCE = (START, begun(0, "text", text=""), filled(0, "text", text="Once"))


@pytest.fixture
async def provider(server: RawServer) -> AsyncGenerator[AnthropicProvider, None]:
    provider = make(server.url, retries=0)
    yield provider
    await provider.close()


@pytest.fixture(scope="module")
def shared_endpoint() -> Iterator[AnthropicEndpoint]:
    with AnthropicEndpoint() as endpoint:
        yield endpoint


@pytest.fixture
def endpoint(shared_endpoint: AnthropicEndpoint) -> AnthropicEndpoint:
    shared_endpoint.reset()
    return shared_endpoint


def make(url: str, provider_type: str = "anthropic", **fields: Any) -> AnthropicProvider:
    fields = {"api_key": "sk-ant", **fields}
    base_url = url.removesuffix("/v1")
    return AnthropicProvider(
        EndpointConfig(name=provider_type, type=BY_PREFIX[provider_type], base_url=base_url, **fields)
    )


async def ask(provider: AnthropicProvider, request: ModelRequest = REQUEST) -> list[ProviderEvent]:
    return await asking.ask(provider, request)


async def ask_once(url: str, request: ModelRequest = REQUEST, **fields: Any) -> list[ProviderEvent]:
    return await asking.ask_once(make(url, **fields), request)


async def failure(provider: AnthropicProvider, kind: type[ProviderError]) -> ProviderError:
    return await asking.failure(provider, kind, REQUEST)


async def test_what_is_sent_is_what_encode_gives(server: RawServer, provider: AnthropicProvider) -> None:
    server.script(chunked(*WHOLE))
    await ask(provider)
    seen = server.requests[0]
    assert (seen.method, seen.path) == ("POST", "/v1/messages")
    assert seen.body == provider.encode(REQUEST)
    assert seen.headers["content-type"] == "application/json"
    assert seen.headers["accept"] == "text/event-stream"
    assert seen.headers["anthropic-version"] == "2023-06-01"


async def test_the_key_is_sent_in_both_of_its_headers_and_nothing_of_the_environments(
    server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-other")
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "token-other")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("ANTHROPIC_CUSTOM_HEADERS", "x-secret: anthropic's")
    server.script(chunked(*WHOLE))
    for key, sent in (("sk-mine", "sk-mine"), (None, "none")):
        await ask_once(server.url, api_key=key)
        headers = server.requests[-1].headers
        assert (headers["authorization"], headers["x-api-key"]) == (f"Bearer {sent}", sent)
        assert "x-secret" not in headers


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param(chunked(*WHOLE), id="an event each"),
        pytest.param(chunked(b"".join(WHOLE)), id="all at once"),
        pytest.param(chunked(*[bytes([byte]) for byte in b"".join(WHOLE)]), id="byte by byte"),
        pytest.param(chunked(b": hi\r\n\r\n", *(part.replace(b"\n", b"\r\n") for part in WHOLE)), id="CRLF"),
        pytest.param(chunked(*WHOLE[:-1]), id="no message_stop"),
        pytest.param(chunked(*WHOLE, b"data: [DONE]\n\n"), id="OpenAI's end"),
        pytest.param([SSE_HEAD.replace(b"text/event-stream", b"text/plain"), *chunked(*WHOLE)[1:]], id="wrong type"),
        pytest.param([*chunked(*WHOLE)[:-1], Abort()], id="reset after message_stop"),
        pytest.param([*chunked(*WHOLE[:-1])[:-1], Abort()], id="reset after the stop reason"),
        pytest.param(
            response(200, gzip.compress(b"".join(WHOLE)), "content-encoding: gzip", content_type="text/event-stream"),
            id="compressed",
        ),
    ],
)
async def test_a_complete_reply_is_taken_however_it_comes(
    server: RawServer, provider: AnthropicProvider, steps: Sequence[Step]
) -> None:
    server.script(steps)
    *pieces, finished = await ask(provider)
    assert pieces == HELLO
    assert isinstance(finished, Finished)
    assert finished.reason == "stop"


def bytewise(data: bytes) -> Iterable[bytes]:
    return (bytes([byte]) for byte in data)


async def test_thinking_text_and_usage_come_through_awkward_chunks(endpoint: AnthropicEndpoint) -> None:
    counts = usage(3, 40, read=1000, written=200)
    endpoint.script(reply(thought(0, "Ünd ", "so…"), redacted(1, "opaque=="), said(2, "Ja", "wohl 👍"), usage=counts))
    endpoint.cut = bytewise
    *pieces, finished = await ask_once(endpoint.url)
    assert pieces == [
        ReasoningPiece("Ünd "),
        ReasoningPiece("so…"),
        ReasoningPiece("", sign("Ünd so…")),
        HiddenReasoningPiece("opaque=="),
        TextPiece("Ja"),
        TextPiece("wohl 👍"),
    ]
    assert isinstance(finished, Finished)
    assert finished.usage == Usage(
        prompt_tokens=1203, completion_tokens=40, total_tokens=1243, cached_input_tokens=1000, cache_write_tokens=200
    )
    assert finished.request_id == "req_1"
    assert not endpoint.violations


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        (response(200, b"<html>Welcome</html>", content_type="text/html"), "base URL"),
        (response(200, b'{"choices": []}'), "base URL"),
        (response(200, b"Not found", content_type="text/plain"), "base URL"),
        (chunked(b"event: nothing\n\n"), "empty reply"),
    ],
)
async def test_what_is_not_the_protocol_is_malformed_and_quoted(
    server: RawServer, provider: AnthropicProvider, steps: Sequence[Step], said: str
) -> None:
    server.script(steps)
    assert said in (await failure(provider, ProviderMalformedReply)).message


async def test_a_failure_in_the_guise_of_a_success_is_found(server: RawServer, provider: AnthropicProvider) -> None:
    server.script(response(200, b'{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}'))
    await failure(provider, ProviderOverloaded)


@pytest.mark.parametrize(
    ("acts", "kind"),
    [
        ([*text("Once")[:-1], Failure("overloaded_error", "Overloaded")], ProviderOverloaded),
        ([Failure("rate_limit_error", "slow down")], ProviderRateLimited),
        ([Failure("invalid_request_error", "prompt is too long: 9 tokens > 8 maximum")], ContextTooLong),
    ],
)
async def test_an_error_inside_the_stream_is_what_it_says_and_the_next_request_works(
    endpoint: AnthropicEndpoint, acts: list[Any], kind: type[ProviderError]
) -> None:
    endpoint.script(acts, text("better"))
    provider = make(endpoint.url, retries=0)
    await failure(provider, kind)
    assert (await ask(provider))[0] == TextPiece("better")
    assert len(endpoint.requests) == 2
    await provider.close()


@pytest.mark.parametrize("steps", [[Abort()], [SSE_HEAD, Abort()], [*chunked(*ONCE)[:-1], Abort()], chunked(*ONCE)])
async def test_a_connection_that_breaks_is_told(
    server: RawServer, provider: AnthropicProvider, steps: Sequence[Step]
) -> None:
    server.script(steps)
    await failure(provider, ProviderConnectionLost)


@pytest.mark.parametrize("steps", [[Hang()], [SSE_HEAD, Hang()], [*chunked(*ONCE)[:-1], Hang()]])
async def test_silence_is_ended_and_the_connection_closed(server: RawServer, steps: Sequence[Step]) -> None:
    server.script(steps)
    provider = make(server.url, retries=0, idle_timeout=0.2)
    await failure(provider, ProviderTimeout)
    await server.requests[0].left.wait()
    await provider.close()


async def test_an_end_that_does_not_come_after_message_stop_holds_nobody_up(server: RawServer) -> None:
    server.script([*chunked(*WHOLE)[:-1], Hang()])
    assert (await ask_once(server.url))[:-1] == HELLO


async def test_nobody_at_the_address_is_told_with_the_address() -> None:
    async with RawServer() as server:
        provider = make(server.url, retries=0)
    assert server.url.removesuffix("/v1") in (await failure(provider, ProviderUnreachable)).message
    await provider.close()


@pytest.mark.parametrize("status", [500, 529])
async def test_a_request_is_tried_again_before_the_first_token(server: RawServer, status: int) -> None:
    server.script(response(status, b"{}", "retry-after-ms: 1"), chunked(*WHOLE))
    retry, *events = await ask_once(server.url, retries=1)
    assert isinstance(retry, Retrying)
    assert events[:-1] == HELLO
    first, second = server.requests
    assert first.body == second.body


async def test_a_request_is_never_tried_again_after_the_first_token(server: RawServer) -> None:
    server.script([*chunked(*ONCE)[:-1], Abort()], chunked(*WHOLE))
    provider = make(server.url, retries=2)
    await failure(provider, ProviderConnectionLost)
    assert len(server.requests) == 1
    await provider.close()


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (
            response(429, b'{"error": {"type": "rate_limit_error", "message": "wait"}}', "retry-after: 60"),
            ProviderRateLimited,
        ),
        (
            response(429, b'{"error": {"type": "rate_limit_error", "message": "You have reached your usage limit."}}'),
            ProviderQuotaUsedUp,
        ),
    ],
)
async def test_what_waiting_does_not_mend_soon_is_told_at_once(
    server: RawServer, refusal: Sequence[Step], kind: type[ProviderError]
) -> None:
    server.script(refusal)
    provider = make(server.url, retries=2)
    await failure(provider, kind)
    assert len(server.requests) == 1
    await provider.close()


NO_ROOM = Refuse(400, "input length and `max_tokens` exceed context limit: 178959 + 64000 > 200000, decrease …")


async def test_a_reply_that_has_no_room_is_asked_for_shorter(endpoint: AnthropicEndpoint) -> None:
    endpoint.script([NO_ROOM], text("short"))
    assert (await ask_once(endpoint.url))[0] == TextPiece("short")
    assert [request.body["max_tokens"] for request in endpoint.requests] == [64_000, 21_041]


@pytest.mark.parametrize(
    ("refusal", "settings"),
    [
        (NO_ROOM, ModelSettings(provider_type="anthropic", max_output_tokens=64_000)),
        (Refuse(400, "input length and `max_tokens` exceed context limit: 199500 + 64000 > 200000"), None),
    ],
)
async def test_a_length_the_user_chose_or_too_little_room_is_left_to_the_history(
    endpoint: AnthropicEndpoint, refusal: Refuse, settings: ModelSettings | None
) -> None:
    endpoint.script([refusal])
    request = ModelRequest(model="claude-sonnet-4-5", system="", messages=(), settings=settings)
    with pytest.raises(ContextTooLong):
        await ask_once(endpoint.url, request)
    assert len(endpoint.requests) == 1


async def test_the_models_are_those_of_the_list_with_what_it_tells_of_them(endpoint: AnthropicEndpoint) -> None:
    provider = make(endpoint.url)
    cards = await provider.models()
    assert [card.handle for card in cards] == ["anthropic/claude-sonnet-4-5", "anthropic/claude-opus-5-5"]
    assert (cards[0].context_window, cards[0].max_output_tokens) == (150_000, 50_000)
    assert (cards[0].display_name, cards[0].provider_type) == ("Claude Sonnet 4 5", "anthropic")
    assert await provider.embeddings() == []
    assert msgspec.json.decode(provider.encode(REQUEST))["max_tokens"] == 50_000
    await provider.close()


@pytest.mark.parametrize("steps", [response(500, b"{}"), response(200, b"[]"), response(404, b"{}"), [Abort()]])
async def test_a_list_that_cannot_be_had_hides_nothing_else(server: RawServer, steps: Sequence[Step]) -> None:
    server.script(steps)
    provider = make(server.url, models=("claude-x",))
    assert [card.name for card in await provider.models()] == ["claude-x"]
    await provider.close()


async def test_kimi_is_spoken_to_in_the_same_dialect(server: RawServer) -> None:
    server.script(chunked(*WHOLE))
    assert (await ask_once(server.url, provider_type="moonshot_coding"))[:-1] == HELLO
    assert server.requests[0].headers["x-api-key"] == "sk-ant"


@pytest.mark.parametrize("key", ["sk-“quoted”", "sk-\n"])
async def test_a_key_that_cannot_be_one_is_refused_before_it_is_sent(server: RawServer, key: str) -> None:
    provider = make(server.url, api_key=key)
    error = await failure(provider, ProviderAuthenticationError)
    assert "ANTHROPIC_API_KEY" in error.message
    assert not server.requests


async def test_two_replies_at_once_do_not_mix(server: RawServer, provider: AnthropicProvider) -> None:
    server.script(chunked(*WHOLE))
    first, second = await asyncio.gather(ask(provider), ask(provider))
    assert first == second


async def test_the_connection_is_used_again(server: RawServer, provider: AnthropicProvider) -> None:
    server.script(chunked(*WHOLE))
    for _ in range(3):
        await ask(provider)
    assert server.connections == 1


def test_building_a_catalogue_imports_no_sdk() -> None:
    code = (
        "import sys; from tertulia.providers.catalogue import build_catalogue; "
        "from tertulia.provider_settings import Endpoint, ProviderSettings; "
        "from tertulia.domain.provider_types import BY_PREFIX; "
        "e = Endpoint(name='anthropic', type=BY_PREFIX['anthropic'], base_url='http://127.0.0.1:1'); "
        "build_catalogue(ProviderSettings(endpoints=(e,)), None).resolve('anthropic/claude-sonnet-4-5'); "
        "sys.exit(any(name in sys.modules for name in ('anthropic', 'openai', 'httpx2', 'httpx')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
