"""The Gemini adapter on a real socket, with the far ends that real life has."""

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
    ProviderModelNotFound,
    ProviderOverloaded,
    ProviderQuotaUsedUp,
    ProviderRateLimited,
    ProviderTimeout,
    ProviderUnreachable,
)
from tertulia.domain.provider_types import BY_PREFIX
from tertulia.ports.provider import (
    Finished,
    ModelRequest,
    ProviderEvent,
    ReasoningPiece,
    Retrying,
    TextPiece,
    ToolCallPiece,
)
from tertulia.providers.endpoint import EndpointConfig
from tertulia.providers.gemini.adapter import GeminiProvider
from tertulia.providers.gemini.stream import UnusableReply
from tests.support import asking, histories
from tests.support.gemini_endpoint import (
    Chunk,
    Failure,
    Finish,
    GeminiEndpoint,
    GoogleError,
    called,
    quota_failure,
    reply,
    retry_info,
    said,
    sign,
    thought,
)
from tests.support.gemini_raw import WHOLE, event
from tests.support.gemini_raw import said as raw_said
from tests.support.raw_http import SSE_HEAD, Abort, Hang, RawServer, Step, chunked, response

MODEL = "gemini-3-pro-preview"
REQUEST = ModelRequest(model=MODEL, system="Be terse.", messages=[histories.message("user", "hi")])
HELLO = [TextPiece("Hél"), TextPiece("lo")]
ONCE = (raw_said("Once"),)


@pytest.fixture
async def provider(server: RawServer) -> AsyncGenerator[GeminiProvider, None]:
    provider = make(server.url, retries=0)
    yield provider
    await provider.close()


@pytest.fixture(scope="module")
def shared_endpoint() -> Iterator[GeminiEndpoint]:
    with GeminiEndpoint() as endpoint:
        yield endpoint


@pytest.fixture
def endpoint(shared_endpoint: GeminiEndpoint) -> GeminiEndpoint:
    shared_endpoint.reset()
    return shared_endpoint


def make(url: str, **fields: Any) -> GeminiProvider:
    fields = {"api_key": "AIza", **fields}
    config = EndpointConfig(name="google_ai", type=BY_PREFIX["google_ai"], base_url=url.removesuffix("/v1"), **fields)
    return GeminiProvider(config)


async def ask(provider: GeminiProvider, request: ModelRequest = REQUEST) -> list[ProviderEvent]:
    return await asking.ask(provider, request)


async def ask_once(url: str, **fields: Any) -> list[ProviderEvent]:
    return await asking.ask_once(make(url, **fields), REQUEST)


async def failure(
    provider: GeminiProvider, kind: type[ProviderError], request: ModelRequest = REQUEST
) -> ProviderError:
    return await asking.failure(provider, kind, request)


async def test_what_is_sent_is_what_encode_gives(server: RawServer, provider: GeminiProvider) -> None:
    server.script(chunked(*WHOLE))
    await ask(provider)
    seen = server.requests[0]
    assert (seen.method, seen.path) == ("POST", f"/v1beta/models/{MODEL}:streamGenerateContent?alt=sse")
    assert seen.body == provider.encode(REQUEST)
    assert seen.headers["content-type"] == "application/json"
    assert seen.headers["x-goog-api-key"] == "AIza"
    assert "x-server-timeout" not in seen.headers


async def test_nothing_is_taken_from_the_environment(server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "GOOGLE_API_KEY": "other",
        "GEMINI_API_KEY": "other",
        "GOOGLE_GEMINI_BASE_URL": "http://127.0.0.1:1",
        "GOOGLE_GENAI_USE_VERTEXAI": "true",
        "GOOGLE_GENAI_API_VERSION": "v9",
        "GOOGLE_CLOUD_PROJECT": "other",
        "GOOGLE_CLOUD_LOCATION": "other",
    }.items():
        monkeypatch.setenv(name, value)
    server.script(chunked(*WHOLE))
    for key, sent in (("mine", "mine"), (None, "none")):
        await ask_once(server.url, api_key=key)
        assert server.requests[-1].headers["x-goog-api-key"] == sent
        assert server.requests[-1].path.startswith("/v1beta/models/")


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("models/gemini-x", "/v1beta/models/gemini-x"),
        ("tunedModels/mine-1", "/v1beta/tunedModels/mine-1"),
        ("a b?c", "/v1beta/models/a%20b%3Fc"),
    ],
)
async def test_models_may_be_named_by_their_path(
    server: RawServer, provider: GeminiProvider, model: str, path: str
) -> None:
    server.script(chunked(*WHOLE))
    await ask(provider, ModelRequest(model=model, system="", messages=()))
    assert server.requests[0].path == f"{path}:streamGenerateContent?alt=sse"


@pytest.mark.parametrize("model", ["../v1/files", "a//b", "."])
async def test_a_name_that_leads_elsewhere_is_no_model(server: RawServer, provider: GeminiProvider, model: str) -> None:
    await failure(provider, ProviderModelNotFound, ModelRequest(model=model, system="", messages=()))
    assert not server.requests


async def test_an_address_may_end_in_a_version(server: RawServer) -> None:
    server.script(chunked(*WHOLE))
    await ask_once(f"{server.url.removesuffix('/v1')}/v1alpha/")
    assert server.requests[0].path.startswith("/v1alpha/models/")


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param(chunked(*WHOLE), id="an event each"),
        pytest.param(chunked(b"".join(WHOLE)), id="all at once"),
        pytest.param(chunked(*[bytes([byte]) for byte in b"".join(WHOLE)]), id="byte by byte"),
        pytest.param(chunked(*(part.replace(b"\r\n", b"\n") for part in WHOLE)), id="LF"),
        pytest.param(chunked(event(news=1), *WHOLE, event(later={"a": 1})), id="unknown events"),
        pytest.param([SSE_HEAD.replace(b"text/event-stream", b"text/plain"), *chunked(*WHOLE)[1:]], id="wrong type"),
        pytest.param([*chunked(*WHOLE)[:-1], Abort()], id="reset after the reason to finish"),
        pytest.param(
            response(200, gzip.compress(b"".join(WHOLE)), "content-encoding: gzip", content_type="text/event-stream"),
            id="compressed",
        ),
    ],
)
async def test_a_complete_reply_is_taken_however_it_comes(
    server: RawServer, provider: GeminiProvider, steps: Sequence[Step]
) -> None:
    server.script(steps)
    *pieces, finished = await ask(provider)
    assert pieces == HELLO
    assert isinstance(finished, Finished)
    assert finished.reason == "stop"


async def test_a_reply_that_is_no_stream_is_taken_too(server: RawServer, provider: GeminiProvider) -> None:
    server.script(response(200, raw_said("Ja", finishReason="STOP").strip().removeprefix(b"data: ")))
    assert (await ask(provider))[0] == TextPiece("Ja")


def bytewise(data: bytes) -> Iterable[bytes]:
    return (bytes([byte]) for byte in data)


async def test_thoughts_text_calls_and_usage_come_through_awkward_chunks(endpoint: GeminiEndpoint) -> None:
    call = Chunk((called("f", {"a": "👍"}, id_="x1", signature=sign("call")),))
    endpoint.script(reply(thought("Ünd ", "so…"), said("Ja", "wohl 👍"), [call]))
    endpoint.cut = bytewise
    *pieces, finished = await ask_once(endpoint.url)
    assert pieces == [
        ReasoningPiece("Ünd "),
        ReasoningPiece("so…"),
        TextPiece("Ja"),
        TextPiece("wohl 👍"),
        ToolCallPiece(0, '{"a": "👍"}', "x1", "f", sign("call")),
    ]
    assert isinstance(finished, Finished)
    assert finished.usage is not None
    assert (finished.usage.prompt_tokens, finished.usage.reasoning_tokens) == (20, 2)
    assert not endpoint.violations


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        (response(200, b"<html>Welcome</html>", content_type="text/html"), "base URL"),
        (response(200, b'{"choices": []}'), "base URL"),
        (response(200, b"[1]"), "base URL"),
        (response(200, b"Not found", content_type="text/plain"), "base URL"),
        (chunked(b"event: nothing\n\n"), "empty reply"),
    ],
)
async def test_what_is_not_the_protocol_is_malformed_and_quoted(
    server: RawServer, provider: GeminiProvider, steps: Sequence[Step], told: str
) -> None:
    server.script(steps)
    assert told in (await failure(provider, ProviderMalformedReply)).message


OVERLOADED = msgspec.json.encode({"error": {"code": 503, "message": "Overloaded.", "status": "UNAVAILABLE"}})
PRETTY = msgspec.json.format(OVERLOADED)


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param(response(200, OVERLOADED), id="in the guise of a success"),
        pytest.param(response(200, PRETTY, content_type="text/event-stream"), id="in no event"),
        pytest.param(chunked(*ONCE, PRETTY), id="in no event, in the middle"),
        pytest.param(chunked(*ONCE, PRETTY, b"\n\n"), id="in no event, in the middle, with an end"),
        pytest.param(chunked(*ONCE, b"data: ", OVERLOADED, b"\r\n\r\n"), id="in the middle"),
    ],
)
async def test_a_failure_is_found_wherever_it_comes(
    server: RawServer, provider: GeminiProvider, steps: Sequence[Step]
) -> None:
    server.script(steps)
    await failure(provider, ProviderOverloaded)


async def test_stray_words_in_a_stream_that_breaks_off_are_no_failure_of_their_own(
    server: RawServer, provider: GeminiProvider
) -> None:
    server.script(chunked(*ONCE, b"{ what\n"))
    await failure(provider, ProviderConnectionLost)


@pytest.mark.parametrize(
    ("acts", "kind"),
    [
        ([*said("Once"), Failure(503, "UNAVAILABLE", "The model is overloaded.")], ProviderOverloaded),
        ([Failure(429, "RESOURCE_EXHAUSTED", "slow down")], ProviderRateLimited),
        ([Failure(400, "INVALID_ARGUMENT", "The input token count exceeds the maximum number")], ContextTooLong),
        ([*said("Once"), Finish("MALFORMED_FUNCTION_CALL")], UnusableReply),
    ],
)
async def test_an_error_inside_the_stream_is_what_it_says_and_the_next_request_works(
    endpoint: GeminiEndpoint, acts: list[Any], kind: type[ProviderError]
) -> None:
    endpoint.script(acts, reply(said("better")))
    provider = make(endpoint.url, retries=0)
    await failure(provider, kind)
    assert (await ask(provider))[0] == TextPiece("better")
    await provider.close()


@pytest.mark.parametrize("steps", [[Abort()], [SSE_HEAD, Abort()], [*chunked(*ONCE)[:-1], Abort()], chunked(*ONCE)])
async def test_a_connection_that_breaks_is_told(
    server: RawServer, provider: GeminiProvider, steps: Sequence[Step]
) -> None:
    server.script(steps)
    await failure(provider, ProviderConnectionLost)


@pytest.mark.parametrize(
    "steps",
    [
        [Hang()],
        [SSE_HEAD, Hang()],
        [*chunked(*ONCE)[:-1], Hang()],
        [b"HTTP/1.1 503 -\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{", Hang()],
    ],
)
async def test_silence_is_ended_and_the_connection_closed(server: RawServer, steps: Sequence[Step]) -> None:
    server.script(steps)
    provider = make(server.url, retries=0, idle_timeout=0.2)
    await failure(provider, ProviderTimeout)
    await server.requests[0].left.wait()
    await provider.close()


async def test_nobody_at_the_address_is_told_with_the_address() -> None:
    async with RawServer() as server:
        provider = make(server.url, retries=0)
    assert server.url.removesuffix("/v1") in (await failure(provider, ProviderUnreachable)).message
    await provider.close()


@pytest.mark.parametrize("status", [500, 503])
async def test_a_request_is_tried_again_before_the_first_token(server: RawServer, status: int) -> None:
    server.script(response(status, b"{}", "retry-after-ms: 1"), chunked(*WHOLE))
    retry, *events = await ask_once(server.url, retries=1)
    assert isinstance(retry, Retrying)
    assert events[:-1] == HELLO
    first, second = server.requests
    assert first.body == second.body


async def test_a_model_that_writes_nonsense_is_asked_again_before_the_first_token(endpoint: GeminiEndpoint) -> None:
    endpoint.script([Finish("MALFORMED_FUNCTION_CALL")], reply(said("better")))
    retry, piece, _ = await ask_once(endpoint.url, retries=1)
    assert isinstance(retry, Retrying)
    assert piece == TextPiece("better")


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (GoogleError(429, "wait", "RESOURCE_EXHAUSTED", details=(retry_info(60),)), ProviderRateLimited),
        (
            GoogleError(429, "quota", "RESOURCE_EXHAUSTED", details=(quota_failure("RequestsPerDay"), retry_info(1))),
            ProviderQuotaUsedUp,
        ),
        (GoogleError(400, "API key not valid. Please pass a valid API key."), ProviderAuthenticationError),
    ],
)
async def test_what_waiting_does_not_mend_soon_is_told_at_once(
    endpoint: GeminiEndpoint, refusal: GoogleError, kind: type[ProviderError]
) -> None:
    endpoint.script([refusal])
    provider = make(endpoint.url, retries=2)
    await failure(provider, kind)
    assert len(endpoint.requests) == 1
    await provider.close()


@pytest.mark.parametrize("body", [b"\xff\xfe", b"upstream connect error", b'"words"', b"[]", b""])
async def test_an_error_in_any_form_is_an_error(server: RawServer, provider: GeminiProvider, body: bytes) -> None:
    server.script(response(503, body))
    with pytest.raises(ProviderError):
        await ask(provider)


@pytest.mark.parametrize("key", ["AIza“quoted”", "AIza\n"])
async def test_a_key_that_cannot_be_one_is_refused_before_it_is_sent(server: RawServer, key: str) -> None:
    provider = make(server.url, api_key=key)
    assert "GEMINI_API_KEY" in (await failure(provider, ProviderAuthenticationError)).message
    assert not server.requests


async def test_two_replies_at_once_do_not_mix(server: RawServer, provider: GeminiProvider) -> None:
    server.script(chunked(*WHOLE))
    first, second = await asyncio.gather(ask(provider), ask(provider))
    assert first == second


async def test_the_connection_is_used_again(server: RawServer, provider: GeminiProvider) -> None:
    server.script(chunked(*WHOLE))
    for _ in range(3):
        await ask(provider)
    assert server.connections == 1


def test_importing_the_adapter_loads_no_sdk() -> None:
    code = "import sys, tertulia.providers.gemini.adapter; sys.exit('google' in sys.modules or 'httpx2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
