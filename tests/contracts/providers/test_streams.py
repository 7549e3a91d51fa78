"""What every adapter makes of a stream in other pieces than it was sent in, with strangers in it, or without its end.

A reply of the strict endpoint is recorded once for each adapter, and replayed as no endpoint would send it.
"""

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from tertulia.domain.errors import ProviderConnectionLost, ProviderError, ProviderOverloaded, ProviderTimeout
from tertulia.ports.provider import Finished, ProviderEvent, ReasoningPiece, TextPiece, ToolCallPiece
from tertulia.providers.adapter import Adapter
from tests.contracts.providers.harness import HARNESSES, Harness
from tests.contracts.providers.test_provider_contract import REQUEST, USAGE
from tests.support import bedrock_endpoint as bedrock
from tests.support.raw_http import END, Abort, Close, Hang, RawServer, Step
from tests.support.relay import Relay

pytestmark = pytest.mark.anyio

CUTS = 24
"""How many places a stream is cut at."""


@dataclass(frozen=True, slots=True)
class Wire:
    """A protocol's own words: events nobody knows, and one that says that the service is overloaded."""

    strangers: tuple[bytes, ...]
    failure: bytes
    error: type[ProviderError] = ProviderOverloaded


_NAMED = b'event: response.strange\ndata: {"type": "response.strange", "sequence_number": 99, "output_index": 7}\n\n'
_COMMENT = b": keep-alive\n\n"
_RESPONSES = Wire(
    (_COMMENT, _NAMED),
    b'event: error\ndata: {"type": "error", "code": "server_is_overloaded", "message": "busy", "param": null}\n\n',
)
_GEMINI = Wire(
    (_COMMENT, b'data: {"strange": 1}\r\n\r\n'),
    b'data: {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}\r\n\r\n',
)
WIRES = {
    "openai_chat": Wire(
        (_COMMENT, b'event: strange\ndata: {"id": "x", "object": "strange", "choices": []}\n\n'),
        b'data: {"error": {"message": "The server is overloaded", "type": "server_error", "code": 503}}\n\n',
    ),
    "anthropic_messages": Wire(
        (
            _COMMENT,
            b'event: strange\ndata: {"type": "strange", "index": 0}\n\n',
            b'data: {"type": "content_block_delta", "index": 0, "delta": {"type": "strange_delta", "strange": 1}}\n\n',
        ),
        b'event: error\ndata: {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}\n\n',
    ),
    "google_ai": _GEMINI,
    "google_vertex": _GEMINI,
    "bedrock_converse": Wire(
        (bedrock.event("strangeEvent", contentBlockIndex=0),),
        bedrock.frame(
            {":exception-type": "serviceUnavailableException", ":message-type": "exception"}, b'{"message": "busy"}'
        ),
    ),
    "openai_responses": _RESPONSES,
    "chatgpt_oauth": _RESPONSES,
}


@dataclass(slots=True)
class Told:
    """What a stream came to, wherever its pieces were cut."""

    text: str = ""
    reasoning: str = ""
    calls: dict[int, str] = field(default_factory=dict[int, str])
    finished: Finished | None = None
    error: ProviderError | None = None

    def add(self, event: ProviderEvent) -> None:
        if isinstance(event, TextPiece):
            self.text += event.text
        elif isinstance(event, ReasoningPiece):
            self.reasoning += event.text
        elif isinstance(event, ToolCallPiece):
            self.calls[event.index] = self.calls.get(event.index, "") + event.arguments
        elif isinstance(event, Finished):
            self.finished = event

    def begins(self, whole: "Told") -> bool:
        """Whether it is as much of the whole as may have come."""
        calls = all(whole.calls.get(index, "").startswith(text) for index, text in self.calls.items())
        return whole.text.startswith(self.text) and whole.reasoning.startswith(self.reasoning) and calls

    def says_as_much_as(self, whole: "Told") -> bool:
        """Whether only what the reply cost is missing, which comes after it."""
        if self.finished is None or whole.finished is None or self.finished.reason != whole.finished.reason:
            return False
        return (self.text, self.reasoning, self.calls) == (whole.text, whole.reasoning, whole.calls)


@dataclass(slots=True)
class Recording:
    """A reply as it went over the wire, an HTTP chunk for each event; ``server`` is where it is replayed."""

    adapter: Adapter
    server: RawServer
    wire: Wire
    head: bytes
    events: list[bytes]
    told: Told

    @property
    def first_half(self) -> list[bytes]:
        return self.events[: len(self.events) // 2]

    async def replayed(self, *steps: Step) -> Told:
        """What the adapter makes of these bytes in place of the reply."""
        self.server.script([self.head, *steps])
        return await listened(self.adapter)


@pytest.fixture(scope="module", params=[make for make in HARNESSES if make.__name__ in WIRES], ids=lambda m: m.__name__)
def maker(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(scope="module")
def far_end(maker: Any) -> Iterator[Harness]:
    with maker() as harness:
        yield harness


@pytest.fixture(scope="module")
async def recording(maker: Any, far_end: Harness) -> AsyncGenerator[Recording, None]:
    adapter = far_end.provider
    assert isinstance(adapter, Adapter)
    far_end.replies(
        ReasoningPiece("Let me thïnk. "),
        ReasoningPiece("Yes."),
        TextPiece("Good “mörning”, "),
        TextPiece("\U0001f600 world"),
        ToolCallPiece(0, "", "call_a", "weather"),
        ToolCallPiece(0, '{"city": '),
        ToolCallPiece(0, '"Łódź"}'),
        usage=USAGE,
        reason="tool_calls",
    )
    async with Relay(adapter.config.base_url) as relay, moved(adapter, relay.url) as before_relay:
        told = await listened(before_relay)
        head, events = relay.response()
    assert told.error is None
    assert (told.text, told.reasoning) == ("Good “mörning”, \U0001f600 world", "Let me thïnk. Yes.")
    async with RawServer([Close()]) as server, moved(adapter, server.url) as replayed:
        yield Recording(replayed, server, WIRES[maker.__name__], head, events, told)


@asynccontextmanager
async def moved(adapter: Adapter, url: str, **limits: Any) -> AsyncGenerator[Adapter, None]:
    """Another adapter of the kind, whose far end is there."""
    config = adapter.config
    origin, path = "/".join(url.split("/")[:3]), "/".join(config.base_url.split("/")[3:])
    other = type(adapter)(replace(config, base_url=f"{origin}/{path}".rstrip("/"), **limits))
    yield other
    await other.close()


async def listened(adapter: Adapter) -> Told:
    told = Told()
    try:
        async with aclosing(adapter.stream(REQUEST)) as events:
            async for event in events:
                told.add(event)
    except ProviderError as error:
        told.error = error
    return told


def chunks(pieces: Sequence[bytes]) -> list[Step]:
    return [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces if piece]


@pytest.mark.parametrize("size", [1, 2, 7, 1_000_000], ids=["one byte", "two bytes", "seven bytes", "all at once"])
async def test_where_a_stream_is_split_makes_no_difference(recording: Recording, size: int) -> None:
    body = b"".join(recording.events)
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    assert await recording.replayed(*chunks(pieces), END) == recording.told


async def test_events_of_unknown_types_change_nothing(recording: Recording) -> None:
    first, *rest = recording.events
    for stranger in recording.wire.strangers:
        events = [first, *(piece for event in rest for piece in (stranger, event))]
        assert await recording.replayed(*chunks(events), END) == recording.told, stranger


@pytest.mark.parametrize("how", [Abort(), Close()], ids=["reset", "closed"])
async def test_a_stream_cut_anywhere_is_a_lost_connection_unless_all_was_said(recording: Recording, how: Step) -> None:
    body = b"".join(b"%x\r\n%s\r\n" % (len(event), event) for event in recording.events)
    for at in range(0, len(body), len(body) // CUTS):
        told = await recording.replayed(body[:at], how)
        assert told.begins(recording.told), f"cut after byte {at} of {len(body)}"
        if told.error is None:
            assert told.says_as_much_as(recording.told), f"cut after byte {at} of {len(body)}"
        else:
            assert isinstance(told.error, ProviderConnectionLost), f"cut after byte {at}: {told.error!r}"


async def test_a_stream_that_ends_too_soon_in_good_order_is_a_lost_connection(recording: Recording) -> None:
    told = await recording.replayed(*chunks(recording.first_half), END)
    assert isinstance(told.error, ProviderConnectionLost)
    assert told.begins(recording.told)


async def test_an_error_in_the_middle_is_the_error_that_it_says(recording: Recording) -> None:
    told = await recording.replayed(*chunks([*recording.first_half, recording.wire.failure]), END)
    assert isinstance(told.error, recording.wire.error)
    assert told.reasoning
    assert told.begins(recording.told)


async def test_a_stream_that_falls_silent_is_a_timeout(recording: Recording) -> None:
    server = recording.server
    server.script([recording.head, *chunks(recording.first_half), Hang()])
    async with moved(recording.adapter, server.url, idle_timeout=0.2) as impatient:
        told = await listened(impatient)
    assert isinstance(told.error, ProviderTimeout)
    assert told.reasoning
    assert told.begins(recording.told)
