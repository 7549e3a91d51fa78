"""Bytes to events, wherever the network cut them."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tertulia.providers.http import sse
from tertulia.providers.http.sse import EventDecoder, LineTooLong

STREAM = (
    'data: {"a":"é"}\n\n: keep-alive\n\nevent: x\ndata: 1\nid: 7\n\nretry: 5\n\ndata:2\n\ndata: [DONE]\n\n'.encode()
)
EVENTS = [' {"a":"é"}'.encode(), b" 1", b"2", b" [DONE]"]


def decoded(*chunks: bytes) -> list[bytes]:
    decoder = EventDecoder()
    events = [event for chunk in chunks for event in decoder.feed(chunk)]
    return events + decoder.finish()


@given(
    cuts=st.lists(st.integers(0, len(STREAM) * 2), max_size=12),
    line_end=st.sampled_from([b"\n", b"\r\n", b"\r"]),
)
def test_a_stream_gives_the_same_events_wherever_it_is_cut_and_however_its_lines_end(
    cuts: list[int], line_end: bytes
) -> None:
    stream = STREAM.replace(b"\n", line_end)
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    assert decoded(*(stream[start:end] for start, end in pairwise(edges))) == EVENTS


def test_every_byte_in_a_chunk_of_its_own_gives_the_same_events() -> None:
    assert decoded(*(STREAM[index : index + 1] for index in range(len(STREAM)))) == EVENTS


def test_many_events_may_come_in_one_chunk() -> None:
    assert EventDecoder().feed(STREAM) == EVENTS


def test_the_last_event_needs_no_empty_line() -> None:
    assert decoded(b"data: 1\n\ndata: 2\n") == [b" 1", b" 2"]
    assert decoded(b"data: 1\n\ndata: 2") == [b" 1", b" 2"]


def test_lines_of_one_event_are_joined() -> None:
    assert decoded(b"data: {\ndata: }\n\n") == [b" {\n }"]


def test_what_is_no_event_is_kept_for_the_message() -> None:
    decoder = EventDecoder()
    assert decoder.feed(b"<html>\n<body>oops\n") == []
    assert decoder.stray == b"<html>\n<body>oops\n"


def test_a_line_without_an_end_is_refused_before_it_fills_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_LINE_BYTES", 1000)
    decoder = EventDecoder()
    decoder.feed(b"data: " + b"x" * 900)
    with pytest.raises(LineTooLong):
        decoder.feed(b"x" * 200)
