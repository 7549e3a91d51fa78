"""100 conversations of one agent, one message each at the same moment, with a model that takes 200 ms."""

import asyncio
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench import api
from bench.client import Connection, Reply
from bench.subject import Subject, endpoint_request

CONVERSATIONS = 100
MODEL = "fake-200latency"


@dataclass(frozen=True, slots=True)
class Burst:
    """Milliseconds from the first message sent to the last reply finished, connecting included.

    Attributes:
        total_ms: median over all bursts.
        worst_ms: the slowest burst.
        first_ms: the first burst, when the server has no connection to the endpoint yet.
        endpoint_ms: the same burst sent straight to the endpoint.
        errors: replies, over all bursts, that were not a finished answer.
    """

    total_ms: float
    worst_ms: float
    first_ms: float
    endpoint_ms: float
    errors: int


async def measure(subject: Subject) -> Burst:
    totals: list[float] = []
    errors = 0
    for _ in range(subject.effort.bursts):
        async with Connection(subject.server.port) as connection:
            agent_id = await api.create(connection, api.agent(MODEL))
            ids = await api.create_conversations(connection, agent_id, CONVERSATIONS)
        requests = [api.message(conversation_id, streaming=False) for conversation_id in ids]
        milliseconds, replies = await _at_once(subject.server.port, requests)
        totals.append(milliseconds)
        errors += sum(not api.is_answer(reply) for reply in replies)
    to_endpoint = endpoint_request(await subject.last_model_request())
    endpoint_ms, _ = await _at_once(subject.endpoint.port, [to_endpoint] * CONVERSATIONS)
    return Burst(
        total_ms=round(statistics.median(totals), 1),
        worst_ms=round(max(totals), 1),
        first_ms=round(totals[0], 1),
        endpoint_ms=round(endpoint_ms, 1),
        errors=errors,
    )


async def _at_once(port: int, requests: Sequence[bytes]) -> tuple[float, list[Reply]]:
    started = time.perf_counter()
    replies = await asyncio.gather(*(_one(port, request) for request in requests))
    return (time.perf_counter() - started) * 1000, replies


async def _one(port: int, request: bytes) -> Reply:
    async with Connection(port) as connection:
        return await connection.send(request)
