"""Reading a run's stream to its end, whichever servers die meanwhile: what a careful client does."""

import json
import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import httpx

Frame = dict[str, Any]

PACE = threading.Event()  # never set
PAUSE = 0.1
"""Seconds before a client asks again, as all servers may be on their way up."""


@dataclass(slots=True)
class Told:
    """What a reader was told of a run: its numbered frames in the order they came, and how its streams ended."""

    frames: list[Frame] = field(default_factory=list[Frame])
    ends: list[Frame] = field(default_factory=list[Frame])
    done: bool = False
    breaks: int = 0

    @property
    def run_id(self) -> str | None:
        return self.frames[0]["run_id"] if self.frames else None

    @property
    def last(self) -> int:
        return self.frames[-1]["seq_id"] if self.frames else 0

    @property
    def numbers(self) -> list[int]:
        return [frame["seq_id"] for frame in self.frames]

    @property
    def kept(self) -> list[Frame]:
        """The frames of what became of the run: without replies that were begun and made again, and word of that."""
        kept: list[Frame] = []
        for frame in self.frames:
            if frame["message_type"] == "event_message":
                data = frame["event_data"]
                kept = [each for each in kept if each["seq_id"] <= data["discarded_after_seq_id"]]
                kept = [each for each in kept if each.get("id") not in data["discarded_message_ids"]]
            else:
                kept.append(frame)
        return [{name: value for name, value in frame.items() if name != "seq_id"} for frame in kept]

    @property
    def text(self) -> str:
        return "".join(frame["content"] for frame in self.kept if frame["message_type"] == "assistant_message")

    @property
    def resumed(self) -> int:
        """How often the run was gone on with by another worker."""
        return sum(frame["message_type"] == "event_message" for frame in self.frames)

    def add(self, lines: Iterable[str]) -> Generator[Frame]:
        """Take the frames of one stream in, yielding each; its end may be missing."""
        for line in lines:
            if not line.startswith("data: "):
                continue
            if line == "data: [DONE]":
                self.done = True
                return
            frame: Frame = json.loads(line.removeprefix("data: "))
            if frame.get("seq_id") is not None:
                self.frames.append(frame)
            else:
                self.ends.append(frame)
                if frame.get("error_type") == "stream_interrupted":
                    return
            yield frame


def read(http: httpx.Client, url: str, run_id: str, told: Told | None = None) -> Told:
    """Read the run from where the reader is to the end of the stream, or until it breaks."""
    told = told or Told()
    body = {"starting_after": told.last}
    with http.stream("POST", f"{url}/v1/runs/{run_id}/stream", json=body) as reply:
        reply.read() if reply.is_error else None
        reply.raise_for_status()
        for _ in told.add(reply.iter_lines()):
            pass
    return told


def follow(http: httpx.Client, next_url: Callable[[], str], run_id: str, told: Told, attempts: int = 300) -> Told:
    """Read to the very end, asking whichever server is next each time the stream breaks.

    :raises AssertionError: if that does not end.
    """
    for _ in range(attempts):
        try:
            read(http, next_url(), run_id, told)
        except httpx.HTTPError:
            PACE.wait(PAUSE)
        if told.done:
            return told
        told.breaks += 1
    raise AssertionError(f"{run_id}: no end after {attempts} attempts; told up to {told.last}")


def send(http: httpx.Client, url: str, path: str, body: dict[str, Any], told: Told) -> None:
    """Send a message and read its stream as far as it goes.

    :raises httpx.HTTPError: if the server refuses it or dies meanwhile; what came is told.
    """
    with http.stream("POST", f"{url}{path}", json={"stream_tokens": True, **body}) as reply:
        if reply.is_error:
            reply.read()
        reply.raise_for_status()
        with closing(told.add(reply.iter_lines())) as frames:
            for _ in frames:
                pass


def history(http: httpx.Client, url: str, conversation_id: str) -> list[dict[str, Any]]:
    """All messages of the conversation, the oldest first."""
    messages: list[dict[str, Any]] = []
    query: dict[str, str | int] = {"order": "asc", "limit": 100}
    while page := _page(http, f"{url}/v1/conversations/{conversation_id}/messages", query):
        messages += page
        query["after"] = page[-1]["id"]
    return messages


def _page(http: httpx.Client, path: str, query: dict[str, str | int]) -> list[dict[str, Any]]:
    return http.get(path, params=query).raise_for_status().json()
