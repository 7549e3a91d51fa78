"""The Converse adapter on a real socket, with the far ends that real life has."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import pytest

from tertulia.domain.errors import (
    InvalidArgument,
    ProviderAuthenticationError,
    ProviderBadRequest,
    ProviderConnectionLost,
    ProviderError,
    ProviderFailed,
    ProviderMalformedReply,
    ProviderOverloaded,
    ProviderRateLimited,
    ProviderTimeout,
    ProviderUnreachable,
)
from tertulia.domain.messages import Message, ReasoningPart, RedactedReasoningPart, TextPart
from tertulia.domain.models import ModelSettings
from tertulia.domain.provider_types import BY_PREFIX
from tertulia.ports.provider import (
    Finished,
    HiddenReasoningPiece,
    ModelRequest,
    ProviderEvent,
    ReasoningPiece,
    Retrying,
    TextPiece,
)
from tertulia.providers.bedrock.adapter import BedrockProvider
from tertulia.providers.endpoint import EndpointConfig
from tests.support import asking
from tests.support.bedrock_endpoint import (
    ACCESS_KEY,
    MODEL,
    SECRET_KEY,
    BedrockEndpoint,
    Event,
    Failure,
    Finish,
    event,
    fill,
    foundation_model,
    profile,
    redacted,
    refuse,
    reply,
    said,
    sign,
    text,
    thought,
)
from tests.support.histories import message
from tests.support.raw_http import SSE_HEAD, Abort, Hang, RawServer, Step, chunked, response
from tests.support.scripted_endpoint import Drop, Raw, Whole

REQUEST = ModelRequest(model=MODEL, system="Be terse.", messages=())
HELLO = [TextPiece("Hél"), TextPiece("lo")]


@pytest.fixture(scope="module")
def far_end() -> Iterator[BedrockEndpoint]:
    with BedrockEndpoint() as endpoint:
        yield endpoint


@pytest.fixture
def endpoint(far_end: BedrockEndpoint) -> Iterator[BedrockEndpoint]:
    far_end.reset()
    yield far_end
    assert not far_end.violations


def make(url: str, **fields: Any) -> BedrockProvider:
    options = {"access_key": ACCESS_KEY, "region": "eu-central-1"}
    given: dict[str, Any] = {"api_key": SECRET_KEY, "options": options, "retries": 0, **fields}
    return BedrockProvider(EndpointConfig(name="bedrock", type=BY_PREFIX["bedrock"], base_url=url, **given))


async def ask(provider: BedrockProvider, request: ModelRequest = REQUEST) -> list[ProviderEvent]:
    return await asking.ask(provider, request)


async def ask_once(url: str, request: ModelRequest = REQUEST, **fields: Any) -> list[ProviderEvent]:
    return await asking.ask_once(make(url, **fields), request)


async def failure(url: str, kind: type[ProviderError], **fields: Any) -> ProviderError:
    with pytest.raises(kind) as caught:
        await ask_once(url, **fields)
    assert type(caught.value) is kind
    return caught.value


def one_by_one(data: bytes) -> Iterable[bytes]:
    return (data[index : index + 1] for index in range(len(data)))


def in_sevens(data: bytes) -> Iterable[bytes]:
    return (data[index : index + 7] for index in range(0, len(data), 7))


@pytest.mark.parametrize("cut", [one_by_one, in_sevens])
async def test_a_stream_may_be_cut_anywhere(endpoint: BedrockEndpoint, cut: Any) -> None:
    endpoint.cut = cut
    endpoint.script(text("Hél", "lo"))
    assert (await ask_once(endpoint.url))[:-1] == HELLO


async def test_all_events_may_come_at_once(endpoint: BedrockEndpoint) -> None:
    frames = b"".join(
        (
            event("messageStart", role="assistant"),
            event("contentBlockDelta", contentBlockIndex=0, delta={"text": "Hél"}),
            event("contentBlockDelta", contentBlockIndex=0, delta={"text": "lo"}),
            event("messageStop", stopReason="end_turn"),
        )
    )
    endpoint.script([Raw(frames)])
    *pieces, last = await ask_once(endpoint.url)
    assert pieces == HELLO
    assert isinstance(last, Finished)
    assert (last.usage, last.request_id) == (None, "req_1")


async def test_events_of_unknown_kinds_are_passed_over(endpoint: BedrockEndpoint) -> None:
    unknown = [Event("thoughtSummary", {"text": "no"}), Event("contentBlockStart", {"start": {"hologram": {}}})]
    endpoint.script([*unknown, *text("Hél", "lo")])
    assert (await ask_once(endpoint.url))[:-1] == HELLO


async def test_what_is_sent_is_what_encode_says(endpoint: BedrockEndpoint) -> None:
    provider = make(endpoint.url)
    await ask(provider)
    await provider.close()
    (request,) = endpoint.requests
    assert request.content == provider.encode(REQUEST)
    assert (request.model, request.path.rpartition("/")[2]) == (MODEL, "converse-stream")


async def test_reasoning_comes_back_byte_for_byte(endpoint: BedrockEndpoint) -> None:
    provider = make(endpoint.url)
    history: list[Message] = []
    for turn in range(3):
        history.append(message("user", f"turn {turn}"))
        endpoint.script(reply(thought(0, "Hm. ", f"é{turn}"), redacted(1, bytes([0, 255, turn])), said(2, "Yes.")))
        events = await ask(provider, ModelRequest(model=MODEL, system="s", messages=history))
        sealed = next(event.data for event in events if isinstance(event, HiddenReasoningPiece))
        assert events[2] == ReasoningPiece("", sign(f"Hm. é{turn}"))
        assert sealed is not None
        parts = (
            ReasoningPart(f"Hm. é{turn}", signature=sign(f"Hm. é{turn}")),
            RedactedReasoningPart(sealed),
            TextPart("Yes."),
        )
        written = message("assistant", *parts)
        history.append(msgspec.structs.replace(written, model=f"bedrock/{MODEL}"))
    await provider.close()
    assert len(endpoint.requests[-1].blocks("reasoningContent")) == 4


@pytest.mark.parametrize(
    ("act", "kind"),
    [
        (Failure("modelStreamErrorException", "The model failed."), ProviderFailed),
        (Failure("throttlingException", "Too many requests"), ProviderRateLimited),
        (Failure("internalServerException", "oh"), ProviderFailed),
        (Failure("serviceUnavailableException", "busy"), ProviderOverloaded),
        (Failure("validationException", "no"), ProviderBadRequest),
        (Failure("InternalError", "An internal server error occurred", crashed=True), ProviderFailed),
        (Raw(b"\x00\x00\x00\x20\x00\x00\x00\x00\x12\x34\x56\x78" + b"x" * 20), ProviderMalformedReply),
        (Raw(event("messageStop", stopReason="end_turn")[:-1] + b"x"), ProviderMalformedReply),
        (Drop(), ProviderConnectionLost),
    ],
)
async def test_an_error_inside_the_stream_is_what_it_says_and_the_next_request_works(
    endpoint: BedrockEndpoint, act: Any, kind: type[ProviderError]
) -> None:
    endpoint.script([fill(0, {"text": "Once"}), act], text("better"))
    provider = make(endpoint.url, retries=2)
    with pytest.raises(kind) as caught:
        await ask(provider)
    assert type(caught.value) is kind
    assert (await ask(provider))[0] == TextPiece("better")
    assert len(endpoint.requests) == 2, "nothing is tried again after the first token"
    await provider.close()


async def test_a_connection_that_breaks_after_the_reply_was_whole_breaks_nothing(endpoint: BedrockEndpoint) -> None:
    endpoint.script([fill(0, {"text": "Hi"}), Event("messageStop", {"stopReason": "end_turn"}), Drop()])
    assert (await ask_once(endpoint.url))[0] == TextPiece("Hi")


async def test_a_stream_that_ends_early_is_a_connection_lost(endpoint: BedrockEndpoint) -> None:
    endpoint.script([fill(0, {"text": "Once"})])
    await failure(endpoint.url, ProviderConnectionLost)


async def test_a_request_is_tried_again_before_the_first_token(endpoint: BedrockEndpoint) -> None:
    busy = refuse(503, "ServiceUnavailableException", "busy", ("retry-after", "0"))
    endpoint.script([busy], text("Hél", "lo"))
    retry, *pieces = await ask_once(endpoint.url, retries=1)
    assert isinstance(retry, Retrying)
    assert pieces[:-1] == HELLO
    first, second = endpoint.requests
    assert first.content == second.content


@pytest.mark.parametrize(
    ("steps", "kind", "words"),
    [
        (response(200, b"<!DOCTYPE html><p>Welcome</p>", content_type="text/html"), ProviderMalformedReply, "base URL"),
        (response(200, b'{"ok": true, "and": "so on"}'), ProviderMalformedReply, "base URL"),
        (response(200, b""), ProviderMalformedReply, "empty"),
        (response(404, b"<p>no</p>", content_type="text/html"), ProviderBadRequest, "base URL"),
        (response(500, b"\xff\xfe<"), ProviderMalformedReply, "base URL"),
        (response(502, b"<p>bad gateway</p>", content_type="text/html"), ProviderFailed, "502"),
        ([Abort()], ProviderConnectionLost, "before a reply came"),
        ([SSE_HEAD, Abort()], ProviderConnectionLost, "before a reply came"),
        ([b"220 smtp.example ESMTP\r\n\r\n"], ProviderConnectionLost, "before a reply came"),
    ],
)
async def test_what_is_not_bedrock_is_told_as_what_it_is(
    server: RawServer, steps: list[Step], kind: type[ProviderError], words: str
) -> None:
    server.script(steps)
    assert words in (await failure(server.url, kind)).message


async def test_silence_before_and_within_a_reply_is_a_timeout(server: RawServer) -> None:
    server.script([Hang()])
    assert "did not answer" in (await failure(server.url, ProviderTimeout, idle_timeout=0.1)).message
    start = event("contentBlockDelta", contentBlockIndex=0, delta={"text": "Once"})
    server.script([*chunked(start)[:-1], Hang()])
    provider = make(server.url, idle_timeout=0.3)
    stream = provider.stream(REQUEST)
    assert await anext(stream) == TextPiece("Once")
    with pytest.raises(ProviderTimeout, match="in the middle"):
        await anext(stream)
    await provider.close()


async def test_nobody_at_the_address_is_told_with_the_address() -> None:
    assert "http://127.0.0.1:9" in (await failure("http://127.0.0.1:9", ProviderUnreachable)).message


async def test_a_model_that_does_not_stream_is_asked_for_all_at_once_from_then_on(endpoint: BedrockEndpoint) -> None:
    message = {"role": "assistant", "content": [{"text": "Hi"}]}
    whole = Whole({"output": {"message": message}, "stopReason": "end_turn", "usage": {"inputTokens": 3}})
    silent = refuse(400, "ValidationException", "This model doesn't support tool use in streaming mode.")
    endpoint.script([silent], [whole], [whole])
    provider = make(endpoint.url)
    for _ in range(2):
        piece, last = await ask(provider)
        assert piece == TextPiece("Hi")
        assert isinstance(last, Finished)
        assert last.usage is not None
        assert last.usage.prompt_tokens == 3
    await provider.close()
    operations = [request.path.rpartition("/")[2] for request in endpoint.requests]
    assert operations == ["converse-stream", "converse", "converse"]


async def test_a_refusal_of_the_whole_reply_is_what_it_says(endpoint: BedrockEndpoint) -> None:
    silent = refuse(400, "ValidationException", "This model doesn't support streaming.")
    endpoint.script([silent], [silent])
    await failure(endpoint.url, ProviderBadRequest)
    assert len(endpoint.requests) == 2


@pytest.mark.parametrize(
    ("model", "given", "words"),
    [
        (MODEL, {"temperature": 1.5}, "temperature 1.5"),
        (MODEL, {"response_format": {"type": "json_object"}}, "json_schema only"),
        ("amazon.nova-pro-v1:0", {"parallel_tool_calls": False}, "only Claude"),
        ("anthropic.claude-3-7-sonnet-20250219-v1:0", {"parallel_tool_calls": False}, "since 4.5"),
        (MODEL, {"effort": "high"}, "effort"),
    ],
)
async def test_what_cannot_be_sent_is_refused_with_the_reason(
    endpoint: BedrockEndpoint, model: str, given: dict[str, Any], words: str
) -> None:
    wanted = ModelSettings(provider_type="bedrock", **given)
    provider = make(endpoint.url)
    with pytest.raises(InvalidArgument, match=words):
        provider.check_settings(model, wanted)
    with pytest.raises(InvalidArgument, match=words):
        await ask(provider, ModelRequest(model=model, system="", messages=(), settings=wanted))
    assert not endpoint.requests
    allowed = ModelSettings(provider_type="bedrock", temperature=1, max_output_tokens=5, parallel_tool_calls=True)
    provider.check_settings(model, allowed)


CLAUDE = "anthropic.claude-sonnet-4-5-20250929-v1:0"


async def test_all_pages_of_what_the_account_has_are_listed(endpoint: BedrockEndpoint) -> None:
    endpoint.foundation_models = [
        foundation_model("amazon.nova-lite-v1:0", "Nova Lite"),
        foundation_model(CLAUDE, "Claude", inferenceTypesSupported=["INFERENCE_PROFILE"]),
    ]
    endpoint.profiles = [profile(f"{region}.{CLAUDE}", f"{region} Claude", CLAUDE) for region in ("us", "eu", "global")]
    endpoint.profiles.append(profile("abc123", "Ours", CLAUDE, type="APPLICATION"))
    provider = make(endpoint.url)
    cards = await provider.models()
    ours = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/abc123"
    assert [card.handle for card in cards] == [
        "bedrock/amazon.nova-lite-v1:0",
        f"bedrock/us.{CLAUDE}",
        f"bedrock/eu.{CLAUDE}",
        f"bedrock/global.{CLAUDE}",
        f"bedrock/{ours}",
    ]
    assert [card.context_window for card in cards[:2]] == [300_000, 200_000]
    # A profile of the user's own is known by the model behind it.
    assert b"cachePoint" in provider.encode(ModelRequest(model=ours, system="s", messages=()))
    await provider.close()


async def test_lists_that_may_not_be_read_leave_what_may_and_break_nothing(server: RawServer) -> None:
    denied = response(403, b'{"message": "not authorized"}', "x-amzn-errortype: AccessDeniedException")
    rows = msgspec.json.encode({"modelSummaries": [foundation_model("amazon.nova-lite-v1:0", "Nova Lite")]})
    provider = make(server.url)
    server.script(denied)
    with pytest.raises(ProviderAuthenticationError, match="may not use its models"):
        await provider.fetch_models()
    assert await provider.models() == []
    server.script(response(200, rows), denied)
    assert [row.id for row in await provider.fetch_models()] in ([], ["amazon.nova-lite-v1:0"])
    await provider.close()


async def test_the_counts_of_the_cache_are_told(endpoint: BedrockEndpoint) -> None:
    counts = {
        "inputTokens": 1,
        "outputTokens": 2,
        "totalTokens": 15,
        "cacheReadInputTokens": 4,
        "cacheWriteInputTokens": 8,
    }
    endpoint.script([*said(0, "Hi"), Finish("end_turn", counts)])
    last = (await ask_once(endpoint.url))[-1]
    assert isinstance(last, Finished)
    assert last.usage is not None
    assert (last.usage.prompt_tokens, last.usage.cached_input_tokens, last.usage.cache_write_tokens) == (13, 4, 8)


async def test_an_access_key_that_cannot_be_one_is_told_before_anybody_is_asked(server: RawServer) -> None:
    found = await failure(server.url, ProviderAuthenticationError, options={"access_key": "AK\r\nX-Evil: 1"})
    assert "contains characters that no key has" in found.message
    assert not server.requests
