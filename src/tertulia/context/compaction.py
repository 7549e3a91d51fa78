"""Compaction, the deciding part: where a history may be cut and how much of it to let go. It reads and writes nothing.

A cut parts the messages in view into those a summary will stand for and those that stay. It may go anywhere but through
an exchange of tool calls: a call, the answers to it and its return stay on one side, and so does a call that waits for
its answer. Between the places where it may go, those before a user's message are preferred, so that what stays begins
with a question. The message that is just being answered stays in view even where the cut falls behind it, as long as it
leaves room for the answer.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from tertulia.domain.messages import ApprovalPart, Message, ToolReturnPart

_FEWEST = 2
"""A summary is a message too: one that stands for a single message makes nothing shorter."""


@dataclass(frozen=True, slots=True)
class Cut:
    """What stays: the messages from index ``start`` on, and those at the indices ``kept`` before it."""

    start: int
    kept: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """How much is to go.

    ``share`` is the part of the messages that goes at least, from 0 to 1. ``whole`` lets everything go that is
    answered. ``room`` is how many tokens may stay. ``resting`` says that nobody is waiting for a reply. The first
    ``pinned`` messages are no part of the history that follows them: they all go, or are kept one by one.
    """

    share: float = 0.3
    whole: bool = False
    room: float = math.inf
    resting: bool = False
    pinned: int = 0


def plan(messages: Sequence[Message], weights: Sequence[float], wish: Wish) -> Cut | None:
    """The cut that lets go of as little as the wish allows; None if no cut makes the history shorter.

    ``messages`` are those in view, oldest first, ``weights`` their tokens. Where nothing leaves as much room as is
    wished, the cut leaves as much as it can.
    """
    planner = _Planner(messages, weights, wish)
    turns, anywhere = planner.turns(), planner.places
    for places in (turns, anywhere):
        found = next((at for at in places if planner.is_enough(at)), None)
        if found is not None:
            return planner.cut(found)
    useful = [at for at in (turns if wish.resting else anywhere) if planner.is_shorter(at)]
    useful = useful or [at for at in anywhere if planner.is_shorter(at)]
    return planner.cut(useful[-1]) if useful else None


def places(messages: Sequence[Message]) -> list[int]:
    """The indices a history may be cut before, its length among them if nothing is open at its end."""
    last = _last_uses(messages)
    last_reply = next((at for at in range(len(messages) - 1, -1, -1) if messages[at].role == "assistant"), None)
    found: list[int] = []
    open_until = 0  # the first index at which everything called so far has come back
    for index, message in enumerate(messages):
        if index >= open_until and index > 0:
            found.append(index)
        for call in message.tool_calls:
            answered_at = last.get(call.id, -1)
            if answered_at > index:
                open_until = max(open_until, answered_at + 1)
            elif index == last_reply:
                open_until = len(messages) + 1  # still waited for
    if messages and len(messages) >= open_until:
        found.append(len(messages))
    return found


class _Planner:
    def __init__(self, messages: Sequence[Message], weights: Sequence[float], wish: Wish) -> None:
        self.places = [at for at in places(messages) if at >= wish.pinned]
        self._messages = messages
        self._wish = wish
        self._before = [0.0, *accumulate(weights)]
        self._question = _last_question(messages)
        # Summed once: there may be as many places as messages, and all of them may be the question.
        self._asking = sum(weights[index] for index in self._question)
        self._answered = wish.resting and bool(self.places) and self.places[-1] == len(messages)
        if messages and messages[-1].role in {"user", "system"}:
            self._answered = False
        if wish.whole:
            self._least = len(messages) if self._answered or not self._question else self._question[0]
        else:
            self._least = math.ceil(len(messages) * wish.share)

    def turns(self) -> list[int]:
        """The places before a user's message, and the end if that is no middle of a turn."""
        messages, end = self._messages, len(self._messages)
        return [
            at
            for at in self.places
            if (at == end and self._answered)
            or (at < end and messages[at].role == "user" and messages[at - 1].role not in {"user", "system"})
        ]

    def is_enough(self, at: int) -> bool:
        return at >= self._least and self.is_shorter(at) and self._stays(at) <= self._wish.room

    def is_shorter(self, at: int) -> bool:
        return at - len(self._kept(at)) >= _FEWEST

    def cut(self, at: int) -> Cut:
        return Cut(at, self._kept(at))

    def _stays(self, at: int) -> float:
        return self._before[-1] - self._before[at] + (self._asking if self._kept(at) else 0)

    def _kept(self, at: int) -> tuple[int, ...]:
        """The question that is being answered, if the cut is behind it and it does not take most of the room."""
        if self._answered or not self._question or at <= self._question[0]:
            return ()
        if self._asking > self._wish.room / 2:
            return ()
        return self._question


def _last_question(messages: Sequence[Message]) -> tuple[int, ...]:
    """The last of what was asked: user messages in a row, with the system messages among them."""
    last = next((at for at in range(len(messages) - 1, -1, -1) if messages[at].role == "user"), None)
    if last is None:
        return ()
    first = last
    while first > 0 and messages[first - 1].role in {"user", "system"}:
        first -= 1
    while last + 1 < len(messages) and messages[last + 1].role == "system":
        last += 1
    return tuple(range(first, last + 1))


def _last_uses(messages: Sequence[Message]) -> dict[str, int]:
    """The index of the last message that has to do with each call: its return, or what a person said of it."""
    return {
        part.tool_call_id: index
        for index, message in enumerate(messages)
        for part in message.content
        if isinstance(part, ToolReturnPart | ApprovalPart)
    }
