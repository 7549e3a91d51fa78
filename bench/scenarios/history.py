"""What a message costs in a conversation that is already long: with its history in the model's context and outside it.

The histories are written through the API. To put one out of context, the server is stopped and the conversation's
context moved to its end in the database, which is what compaction leaves behind, less the summary.
"""

import asyncio
import random
import sqlite3
import statistics
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from bench import api
from bench.client import Connection
from bench.stats import Timing
from bench.subject import Subject, endpoint_request
from tertulia.settings import Settings
from tertulia.store.postgres import embedded as embedded_pg

BATCH = 1_000
"""Messages sent at once while a history is written."""

WINDOW = 8_000_000
"""Tokens: no history of this scenario comes near it."""

SETTLE_S = 0.01
"""After each reply: what is still to be done for it must not be charged to the next, which is of another length."""

OUT_OF_CONTEXT = "UPDATE conversations SET context_from = head, epoch = epoch + 1 WHERE id = ?"


@dataclass(frozen=True, slots=True)
class LongConversation:
    """A conversation and how many messages it has got."""

    messages: int
    in_context: bool
    conversation_id: str


@dataclass(frozen=True, slots=True)
class Sample:
    """One message: what the client waited, and the server's processor time with what it did after its reply."""

    seconds: float
    cpu_seconds: float | None


@dataclass(frozen=True, slots=True)
class HistoryCost:
    """Milliseconds a message (blocking) at one length of history.

    Attributes:
        messages: in the conversation before the first sample.
        sent_messages: messages in the request the endpoint got last; tells whether the history was in it.
        sent_kb: size of that request.
        cold: the first message since the server was started, so that nothing of the conversation is cached.
        total: all further ones.
        endpoint: the same request sent straight to the endpoint.
        server_cpu: processor time of the server, what it does after its reply included; mean.
    """

    messages: int
    sent_messages: int
    sent_kb: float
    cold: float
    total: Timing
    endpoint: Timing
    own_median: float
    server_cpu: float | None


@dataclass(frozen=True, slots=True)
class History:
    """Costs by length, shortest first, and what they come to.

    Attributes:
        in_context_us: microseconds for each message in context: the longest less the shortest, divided by the messages
            between them; what the server and the endpoint take together.
        in_context_own_us: the same without the endpoint.
        out_of_context_ratio: the longest history's median over the shortest's, all out of context.
    """

    in_context: Sequence[HistoryCost]
    out_of_context: Sequence[HistoryCost]
    in_context_us: float
    in_context_own_us: float
    out_of_context_ratio: float


async def write(subject: Subject) -> Sequence[LongConversation]:
    """Write the conversations: for each size one to stay in context and one to be put out of it."""
    made: list[LongConversation] = []
    async with Connection(subject.server.port) as connection:
        agent_id = await api.create(connection, api.agent("fake", WINDOW))
        for size in subject.effort.history_sizes:
            for in_context in (True, False):
                conversation_id = await api.create(connection, api.conversation(agent_id))
                for start in range(0, size, BATCH):
                    request = api.past(conversation_id, min(BATCH, size - start))
                    api.require(await connection.send(request), answer=True)
                made.append(LongConversation(size, in_context, conversation_id))
    return made


def database(folder: Path) -> Path:
    """The database of a server that ran in `folder`.

    Raises:
        RequestFailed: if there is none, or more than one.
    """
    found = [*(folder / "data").glob("*.db")]
    if len(found) != 1:
        raise api.RequestFailed(f"one database was expected in the data directory, {len(found)} were found")
    return found[0]


def put_out_of_context(database: Path, conversations: Sequence[LongConversation]) -> None:
    """Move the context of those that are to be outside it to their end. The server must be stopped."""
    outside = [(one.conversation_id,) for one in conversations if not one.in_context]
    with closing(sqlite3.connect(database)) as connection, connection:
        changed = connection.executemany(OUT_OF_CONTEXT, outside).rowcount
    if changed != len(outside):
        raise api.RequestFailed(f"{changed} of {len(outside)} conversations were found in {database.name}")


async def put_out_of_context_on_postgres(folder: Path, conversations: Sequence[LongConversation]) -> None:
    """The same in the PostgreSQL of a server that ran in `folder`."""
    outside = [one.conversation_id for one in conversations if not one.in_context]
    directory = Settings(data_dir=folder / "data").embedded_directory
    database = await asyncio.to_thread(embedded_pg.start, directory)
    try:
        connection = await asyncpg.connect(database.url)
        await connection.executemany(OUT_OF_CONTEXT.replace("?", "$1"), [(id_,) for id_ in outside])
        await connection.close()
    finally:
        await asyncio.to_thread(database.close)


async def measure(subject: Subject, conversations: Sequence[LongConversation]) -> History:
    await _warm_up(subject)
    inside = await _costs(subject, [one for one in conversations if one.in_context])
    outside = await _costs(subject, [one for one in conversations if not one.in_context])
    _require_lengths(inside, outside)
    between = inside[-1].messages - inside[0].messages
    return History(
        in_context=inside,
        out_of_context=outside,
        in_context_us=round((inside[-1].total.median - inside[0].total.median) * 1000 / between, 2),
        in_context_own_us=round((inside[-1].own_median - inside[0].own_median) * 1000 / between, 2),
        out_of_context_ratio=round(outside[-1].total.median / outside[0].total.median, 3),
    )


async def _warm_up(subject: Subject) -> None:
    """Have the server load what it loads on first use; the first message of each long conversation stays cold."""
    async with Connection(subject.server.port) as connection:
        agent_id = await api.create(connection, api.agent("fake"))
        conversation_id = await api.create(connection, api.conversation(agent_id))
        api.require(await connection.send(api.message(conversation_id, streaming=False)), answer=True)


async def _costs(subject: Subject, conversations: Sequence[LongConversation]) -> Sequence[HistoryCost]:
    """Measure conversations of several lengths.

    They take turns in an order that is shuffled each time, so that a busy moment of the machine, and what one message
    leaves behind for the next, meets them all.
    """
    rounds = subject.effort.history_rounds
    shuffled = random.Random(rounds)
    samples: dict[str, list[Sample]] = {one.conversation_id: [] for one in conversations}
    async with Connection(subject.server.port) as connection:
        cold = {one.conversation_id: (await _sample(subject, connection, one)).seconds for one in conversations}
        for _ in range(rounds):
            for one in shuffled.sample(conversations, len(conversations)):
                samples[one.conversation_id].append(await _sample(subject, connection, one))
        costs: list[HistoryCost] = []
        for one in conversations:
            _ = await _sample(subject, connection, one)  # so that its request is the endpoint's last
            costs.append(await _cost(subject, one, cold[one.conversation_id], samples[one.conversation_id]))
    return costs


def _require_lengths(inside: Sequence[HistoryCost], outside: Sequence[HistoryCost]) -> None:
    """Check that what was to be in the model's request was in it, and what was to be outside was not.

    Raises:
        RequestFailed: otherwise; the figures would be about something else than they say.
    """
    short = next((cost for cost in inside if cost.sent_messages < cost.messages), None)
    if short:
        raise api.RequestFailed(f"of {short.messages} messages in context only {short.sent_messages} were sent")
    if outside[-1].sent_messages >= outside[-1].messages:
        raise api.RequestFailed(f"{outside[-1].messages} messages were to be out of context, but were sent")


async def _cost(subject: Subject, one: LongConversation, cold: float, samples: Sequence[Sample]) -> HistoryCost:
    request = await subject.last_model_request()
    endpoint = Timing.of(await subject.replay(subject.effort.history_rounds))
    total = Timing.of([sample.seconds for sample in samples])
    cpu = [sample.cpu_seconds for sample in samples if sample.cpu_seconds is not None]
    return HistoryCost(
        messages=one.messages,
        sent_messages=len(request["messages"]),
        sent_kb=round(len(endpoint_request(request)) / 1000, 1),
        cold=round(cold * 1000, 3),
        total=total,
        endpoint=endpoint,
        own_median=round(total.median - endpoint.median, 3),
        server_cpu=round(statistics.fmean(cpu) * 1000, 3) if cpu else None,
    )


async def _sample(subject: Subject, connection: Connection, one: LongConversation) -> Sample:
    with subject.processor() as processor:
        reply = await connection.send(api.message(one.conversation_id, streaming=False))
        await asyncio.sleep(SETTLE_S)
    api.require(reply, answer=True)
    return Sample(reply.seconds, processor.seconds[0] if processor.seconds else None)
