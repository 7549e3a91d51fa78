"""What the Python clients share: their arguments, which reply comes next, and the lines they write."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

MESSAGES_IN_A_CONVERSATION = 20
TEXT = "What did we say about the lamp by the door?"


@dataclass(frozen=True, slots=True)
class Turn:
    """A message to send. ``begins`` a new conversation, or goes on with the one before."""

    streaming: bool
    begins: bool

    @property
    def kind(self) -> str:
        return "stream" if self.streaming else "plain"

    @property
    def body(self) -> dict[str, object]:
        return {"input": TEXT, "streaming": self.streaming, "stream_tokens": self.streaming}


@dataclass(frozen=True, slots=True)
class Told:
    url: str
    agent_id: str
    streams: int
    plain: int

    @classmethod
    def by_arguments(cls) -> "Told":
        url, agent_id, streams, plain = sys.argv[1:]
        return cls(url, agent_id, int(streams), int(plain))

    def turns(self) -> Iterator[Turn]:
        """Streams and plain replies in turn, then what is left of one kind."""
        sent = 0
        for number in range(max(self.streams, self.plain)):
            for streaming, wanted in ((True, self.streams), (False, self.plain)):
                if number < wanted:
                    yield Turn(streaming, begins=sent % MESSAGES_IN_A_CONVERSATION == 0)
                    sent += 1


def say(turn: Turn, status: int, headers: Iterable[tuple[str, str]], body: Sequence[str]) -> None:
    """One line for one reply, as the client saw it."""
    seen = [turn.kind, status, [[name.lower(), value] for name, value in headers], body]
    sys.stdout.write(json.dumps(seen) + "\n")
