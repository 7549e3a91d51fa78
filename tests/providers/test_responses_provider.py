"""The Responses adapter on a real socket, with the far ends that real life has."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import aclosing

import msgspec
import pytest

from tertulia.domain.errors import (
    ProviderAuthenticationError,
    ProviderConnectionLost,
    ProviderError,
    ProviderFailed,
    ProviderMalformedReply,
    ProviderQuotaUsedUp,
    ProviderRateLimited,
)
from tertulia.domain.messages import Message, Part, ToolReturnPart
from tertulia.domain.provider_types import BY_PREFIX
from tertulia.domain.tools import ToolSpec
from tertulia.engine.turn.reply import Reply as StoredReply
from tertulia.ports.provider import Finished, ModelRequest, ProviderEvent, Retrying, TextPiece
from tertulia.providers.endpoint import EndpointConfig
from tertulia.providers.openai.responses_adapter import ResponsesProvider
from tests.support.histories import NOON, message
from tests.support.raw_http import SSE_HEAD, Abort, RawServer, Step, chunked, response
from tests.support.responses_endpoint import (
    Events,
    Failure,
    Refuse,
    Reply,
    ResponsesEndpoint,
    called,
    reply,
    said,
    text,
    thought,
)
from tests.support.responses_requests import Issued
from tests.support.scripted_endpoint import Drop, Raw

REQUEST = ModelRequest(model="gpt-5", system="Be terse.", messages=())
HELLO = [TextPiece("Hél"), TextPiece("lo")]
TOOL = ToolSpec(id="tool-1", name="look", description="", parameters={"type": "object"}, tool_type="custom")


def wire(acts: Reply) -> tuple[bytes, ...]:
    events = Events({"model": "gpt-5"}, Issued())
    return tuple(data for act in acts for data in events.encode(act))


WHOLE = wire(text("Hél", "lo"))
DONE = b"data: [DONE]\n\n"


@pytest.fixture(scope="module")
def shared_endpoint() -> Iterator[ResponsesEndpoint]:
    with ResponsesEndpoint() as endpoint:
        yield endpoint


@pytest.fixture
def endpoint(shared_endpoint: ResponsesEndpoint) -> ResponsesEndpoint:
    shared_endpoint.reset()
    return shared_endpoint


def make(url: str, retries: int = 0) -> ResponsesProvider:
    row = BY_PREFIX["openai"]
    return ResponsesProvider(EndpointConfig(name="openai", type=row, base_url=url, api_key="sk", retries=retries))


async def ask(url: str, request: ModelRequest = REQUEST, *, retries: int = 0) -> list[ProviderEvent]:
    provider = make(url, retries)
    try:
        async with aclosing(provider.stream(request)) as stream:
            return [event async for event in stream]
    finally:
        await provider.close()


async def test_what_is_sent_is_what_encode_gives(server: RawServer) -> None:
    server.script(chunked(*WHOLE))
    await ask(server.url)
    seen = server.requests[0]
    assert (seen.method, seen.path) == ("POST", "/v1/responses")
    assert seen.body == make(server.url).encode(REQUEST)
    assert seen.headers["authorization"] == "Bearer sk"
    assert seen.headers["accept"] == "text/event-stream"


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param(chunked(*WHOLE), id="a chunk each"),
        pytest.param(chunked(b"".join(WHOLE)), id="all at once"),
        pytest.param(chunked(*[bytes([byte]) for byte in b"".join(WHOLE)]), id="byte by byte"),
        pytest.param(chunked(b": hi\r\n\r\n", *(part.replace(b"\n", b"\r\n") for part in WHOLE)), id="CRLF"),
        pytest.param(chunked(*WHOLE, DONE), id="[DONE] after the end"),
        pytest.param(chunked(*WHOLE[:-1], WHOLE[-1].rstrip()), id="no empty line after the last event"),
        pytest.param([*chunked(*WHOLE)[:-1], Abort()], id="reset after the end"),
        pytest.param([SSE_HEAD.replace(b"text/event-stream", b"text/plain"), *chunked(*WHOLE)[1:]], id="wrong type"),
    ],
)
async def test_a_complete_reply_is_taken_however_it_comes(server: RawServer, steps: Sequence[Step]) -> None:
    server.script(steps)
    *pieces, finished = await ask(server.url)
    assert pieces == HELLO
    assert isinstance(finished, Finished)
    assert finished.reason == "stop"


async def test_a_server_that_does_not_stream_is_understood(server: RawServer) -> None:
    item = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hello"}]}
    body = {"object": "response", "status": "completed", "output": [item]}
    server.script(response(200, msgspec.json.encode(body)))
    assert (await ask(server.url))[0] == TextPiece("Hello")


@pytest.mark.parametrize(
    ("steps", "kind"),
    [
        (chunked(*WHOLE[:4]), ProviderConnectionLost),
        ([*chunked(*WHOLE[:4])[:-1], Abort()], ProviderConnectionLost),
        ([Abort()], ProviderConnectionLost),
        (chunked(b'data: {"type": "resp\n\n'), ProviderMalformedReply),
        (chunked(), ProviderMalformedReply),
        (response(200, b"<html>Welcome</html>", content_type="text/html"), ProviderMalformedReply),
        (response(200, b'{"hello": "world"}'), ProviderMalformedReply),
        (response(200, b'{"error": {"message": "slow down", "code": "rate_limit_exceeded"}}'), ProviderRateLimited),
        (chunked(b'{"error": {"message": "no", "code": "insufficient_quota"}}\n'), ProviderQuotaUsedUp),
    ],
)
async def test_what_is_no_whole_reply_is_told(
    server: RawServer, steps: Sequence[Step], kind: type[ProviderError]
) -> None:
    server.script(steps)
    with pytest.raises(kind):
        await ask(server.url)


async def test_a_failure_before_the_first_token_is_tried_again(endpoint: ResponsesEndpoint) -> None:
    soon = Failure("rate_limit_exceeded", "Please try again in 1ms.")
    endpoint.script([soon], [Refuse(500, "oops", headers=(("retry-after-ms", "1"),))])
    events = await ask(endpoint.url, retries=2)
    assert [type(event) for event in events] == [Retrying, Retrying, TextPiece, Finished]


async def test_a_failure_in_the_middle_is_told_and_the_next_request_works(endpoint: ResponsesEndpoint) -> None:
    endpoint.script([*said(0, "Once")[:2], Failure("server_error")], [*said(0, "Once")[:2], Drop()], text("Hi"))
    with pytest.raises(ProviderFailed):
        await ask(endpoint.url, retries=2)
    with pytest.raises(ProviderConnectionLost):
        await ask(endpoint.url, retries=2)
    assert (await ask(endpoint.url))[0] == TextPiece("Hi")


async def test_a_wrong_key_is_told(endpoint: ResponsesEndpoint) -> None:
    endpoint.script([Refuse(401, "Incorrect API key provided", code="invalid_api_key")])
    with pytest.raises(ProviderAuthenticationError):
        await ask(endpoint.url)


@pytest.mark.parametrize(
    "refusal",
    [
        Refuse(400, "The encrypted content gAAA...DQ== could not be verified.", code="invalid_encrypted_content"),
        Refuse(404, "Item with id 'rs_1' not found. Items are not persisted when `store` is set to false."),
        Failure("invalid_encrypted_content", "The encrypted content could not be decrypted or parsed."),
    ],
)
async def test_reasoning_that_cannot_be_read_any_more_is_left_out(
    endpoint: ResponsesEndpoint, refusal: Refuse | Failure
) -> None:
    history = await one_turn(endpoint, [], reply(thought(0, "rs_1", "Hm."), said(1, "Yes.")))
    endpoint.script([refusal], text("Hi"))
    events = await ask(endpoint.url, request_of(history))
    assert events[0] == TextPiece("Hi")
    first, second = endpoint.requests[-2:]
    assert [item["type"] for item in first.input] == ["reasoning", "message"]
    assert second.input == first.input[1:]


async def test_a_refusal_without_reasoning_to_leave_out_is_told(endpoint: ResponsesEndpoint) -> None:
    endpoint.script([Refuse(400, "encrypted content", code="invalid_encrypted_content")])
    with pytest.raises(ProviderError):
        await ask(endpoint.url)
    assert len(endpoint.requests) == 1


CUTS: dict[str, Callable[[bytes], Iterable[bytes]]] = {
    "byte by byte": lambda data: (data[at : at + 1] for at in range(len(data))),
    "in threes": lambda data: (data[at : at + 3] for at in range(0, len(data), 3)),
}


@pytest.mark.parametrize("cut", CUTS)
async def test_reasoning_comes_back_unchanged_over_six_turns_with_tools(endpoint: ResponsesEndpoint, cut: str) -> None:
    endpoint.cut = CUTS[cut]
    history: list[Message] = []
    for turn in range(6):
        history.append(message("user", f"Question {turn} — é💥"))
        acts = reply(
            thought(0, f"rs_{turn}a", "First, ", "then."),
            said(1, "Let me ", "look.", phase="commentary"),
            thought(2, f"rs_{turn}b"),
            called(3, f"call_{turn}a", "look", {"at": "é"}),
            called(4, f"call_{turn}b", "look", ""),
        )
        history = await one_turn(endpoint, history, acts)
        returned = [ToolReturnPart(f"call_{turn}{which}", "look", "seen") for which in "ab"]
        history.append(message("tool", *returned))
        history = await one_turn(endpoint, history, reply(thought(0, f"rs_{turn}c", "So."), said(1, f"Answer {turn}.")))
    await one_turn(endpoint, [*history, message("user", "And?")], text("ok"))
    assert endpoint.violations == []
    last = endpoint.requests[-1]
    assert [item["id"] for item in last.items("reasoning")] == [
        f"rs_{turn}{which}" for turn in range(6) for which in "abc"
    ]
    for sent in endpoint.issued.reasoning.values():
        compact = msgspec.json.encode(msgspec.json.decode(sent))
        assert compact in last.content
    phases = [item.get("phase") for item in last.items("message") if item["role"] == "assistant"]
    assert phases == ["commentary", None] * 6


async def test_a_reply_cut_off_within_its_reasoning_leaves_a_history_that_is_taken(endpoint: ResponsesEndpoint) -> None:
    history = await one_turn(
        endpoint,
        [message("user", "Hi")],
        reply(thought(0, "rs_1"), said(1, "Once"), thought(2, "rs_2"), reason="max_output_tokens"),
    )
    await one_turn(endpoint, [*history, message("user", "Go on")], text("ok"))
    assert endpoint.violations == []
    assert [item["id"] for item in endpoint.requests[-1].items("reasoning")] == ["rs_1"]


async def one_turn(endpoint: ResponsesEndpoint, history: list[Message], acts: Reply) -> list[Message]:
    """The history with the reply to it as it is stored."""
    endpoint.script(acts)
    stored = StoredReply("step-1", "openai", NOON, (), lambda _: None)
    for event in await ask(endpoint.url, request_of(history)):
        assert not isinstance(event, Retrying)
        stored.push(event)
    return [*history, written(*stored.content())]


def written(*parts: Part) -> Message:
    return msgspec.structs.replace(message("assistant", *parts), model="openai/gpt-5")


def request_of(history: Sequence[Message]) -> ModelRequest:
    return ModelRequest(model="gpt-5", system="Be terse.", messages=tuple(history), tools=(TOOL,), cache_key="conv-1")


async def test_events_of_kinds_not_known_do_no_harm(endpoint: ResponsesEndpoint) -> None:
    odd = Raw(b'event: response.new.delta\ndata: {"type": "response.new.delta", "delta": {"a": [1]}}\n\n')
    endpoint.script([odd, *text("Hi"), odd])
    assert (await ask(endpoint.url))[0] == TextPiece("Hi")
