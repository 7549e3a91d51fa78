"""What one more token of a reply costs: long replies less short ones, divided by the tokens between them."""

import asyncio
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from bench import api
from bench.client import Connection
from bench.subject import Subject

SHORT, LONG = 100, 2_000
PACED_SHORT, PACED_LONG, PACED_GAP_MS = 100, 500, 2
PACED_READERS = 8


@dataclass(frozen=True, slots=True)
class TokenCost:
    """Microseconds a token, from replies of 100 and 2,000 tokens that the endpoint sends in one go.

    Attributes:
        streaming: each token an event of its own.
        blocking: the reply in one piece.
        endpoint: the endpoint and the client alone, measured on the same request.
        own_streaming: `streaming` less `endpoint`.
        paced_cpu: processor time of the server a token when tokens come one by one, 2 ms apart, for 8 readers at
            once: as from a real model, where each token is a read, a pass through the loop and a write.
    """

    streaming: float
    blocking: float
    endpoint: float
    own_streaming: float
    paced_cpu: float | None


async def measure(subject: Subject) -> TokenCost:
    async with Connection(subject.server.port) as connection:
        short = await api.create(connection, api.agent(f"fake-{SHORT}tokens"))
        long = await api.create(connection, api.agent(f"fake-{LONG}tokens"))
        rounds = subject.effort.token_rounds
        tokens = LONG - SHORT
        endpoint: dict[str, float] = {}
        medians: dict[tuple[str, bool], float] = {}
        for agent_id in (short, long):
            for streaming in (True, False):
                seconds = await _replies(connection, agent_id, rounds, streaming=streaming)
                medians[agent_id, streaming] = statistics.median(seconds)
            endpoint[agent_id] = statistics.median(await subject.replay(rounds))
    streaming_us = _per_token(medians[short, True], medians[long, True], tokens)
    endpoint_us = _per_token(endpoint[short], endpoint[long], tokens)
    return TokenCost(
        streaming=streaming_us,
        blocking=_per_token(medians[short, False], medians[long, False], tokens),
        endpoint=endpoint_us,
        own_streaming=round(streaming_us - endpoint_us, 2),
        paced_cpu=await _paced_cpu(subject),
    )


def _per_token(short: float, long: float, tokens: int) -> float:
    return round((long - short) * 1e6 / tokens, 2)


async def _replies(connection: Connection, agent_id: str, rounds: int, *, streaming: bool) -> Sequence[float]:
    """Seconds of each reply, every one in a conversation of its own; the first is warm-up and left out."""
    ids = await api.create_conversations(connection, agent_id, rounds + 1)
    seconds: list[float] = []
    for conversation_id in ids:
        reply = await connection.send(api.message(conversation_id, streaming=streaming))
        api.require(reply, answer=True)
        seconds.append(reply.seconds)
    return seconds[1:]


async def _paced_cpu(subject: Subject) -> float | None:
    spent: list[float] = []
    for tokens in (PACED_SHORT, PACED_LONG):
        async with Connection(subject.server.port) as connection:
            agent_id = await api.create(connection, api.agent(f"fake-{tokens}tokens-{PACED_GAP_MS}gap"))
            ids = await api.create_conversations(connection, agent_id, PACED_READERS)
        with subject.processor() as processor:
            _ = await asyncio.gather(*(_read(subject, conversation_id) for conversation_id in ids))
        spent += processor.seconds
    if not spent:
        return None
    short, long = spent
    return round((long - short) * 1e6 / (PACED_READERS * (PACED_LONG - PACED_SHORT)), 1)


async def _read(subject: Subject, conversation_id: str) -> None:
    async with Connection(subject.server.port) as connection:
        api.require(await connection.send(api.message(conversation_id, streaming=True)), answer=True)
