"""How many messages a second the server answers when many conversations send at once."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle

from bench import api
from bench.client import Connection, Reply
from bench.stats import Timing
from bench.subject import Subject

CONVERSATIONS = 512
"""Conversations in all; each sender goes round its share of them, so that histories stay short."""


@dataclass(frozen=True, slots=True)
class Level:
    """One number of senders, each waiting for its reply before it sends again.

    Attributes:
        conversations: how many send at once.
        messages_per_s: finished replies a second.
        latency: milliseconds a message.
        server_cpu: processor milliseconds of the server a message.
        errors: replies that were not a finished answer.
    """

    conversations: int
    streaming: bool
    messages_per_s: float
    latency: Timing
    server_cpu: float | None
    errors: int


async def conversations(subject: Subject) -> Sequence[str]:
    """Make the conversations that all levels share."""
    async with Connection(subject.server.port) as connection:
        agent_id = await api.create(connection, api.agent("fake"))
        return await api.create_conversations(connection, agent_id, CONVERSATIONS)


async def measure(subject: Subject, ids: Sequence[str], senders: int, *, streaming: bool) -> Level:
    replies, seconds, cpu = await load(subject, ids, senders, subject.effort.level_seconds, streaming=streaming)
    answered = [reply for reply in replies if api.is_answer(reply)]
    if not answered:
        raise api.RequestFailed(f"no message was answered; the first reply: {replies[0].body[:2000]!r}")
    return Level(
        conversations=senders,
        streaming=streaming,
        messages_per_s=round(len(answered) / seconds, 1),
        latency=Timing.of([reply.seconds for reply in answered]),
        server_cpu=cpu,
        errors=len(replies) - len(answered),
    )


async def load(
    subject: Subject, ids: Sequence[str], senders: int, seconds: float, *, streaming: bool
) -> tuple[list[Reply], float, float | None]:
    """Keep `senders` conversations sending for about `seconds`.

    Returns:
        All replies, the seconds it really took, and the server's processor milliseconds a message.
    """
    started = time.perf_counter()
    deadline = started + seconds
    shares = [ids[number::senders] for number in range(senders)]
    with subject.processor() as processor:
        runs = await asyncio.gather(*(_send(subject.server.port, share, deadline, streaming) for share in shares))
    replies = [reply for run in runs for reply in run]
    return replies, time.perf_counter() - started, processor.ms_each(len(replies))


async def _send(port: int, ids: Sequence[str], deadline: float, streaming: bool) -> list[Reply]:  # noqa: FBT001 -- private
    requests = cycle([api.message(conversation_id, streaming=streaming) for conversation_id in ids])
    replies: list[Reply] = []
    async with Connection(port) as connection:
        while time.perf_counter() < deadline:
            replies.append(await connection.send(next(requests)))
    return replies
