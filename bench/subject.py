"""What is measured and how hard: the running server, its endpoint, and the sizes of the scenarios."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast

from bench.client import Connection, request_bytes
from bench.processes import Child


@dataclass(frozen=True, slots=True)
class Effort:
    """The sizes of all scenarios.

    Attributes:
        starts: server starts for the ready time.
        messages: samples of the blocking and of the streaming scenario.
        token_rounds: samples of each reply length in the token scenario.
        levels: numbers of conversations that send at once.
        level_seconds: how long each level is loaded.
        history_sizes: messages already in a conversation, ascending.
        history_rounds: samples for each size.
        bursts: repetitions of the burst.
    """

    starts: int
    messages: int
    token_rounds: int
    levels: Sequence[int]
    level_seconds: float
    history_sizes: Sequence[int]
    history_rounds: int
    bursts: int


FULL = Effort(
    starts=5,
    messages=400,
    token_rounds=9,
    levels=(1, 8, 32, 64, 128),
    level_seconds=3.0,
    history_sizes=(10, 1_000, 10_000),
    history_rounds=31,
    bursts=3,
)
QUICK = Effort(
    starts=2,
    messages=120,
    token_rounds=3,
    levels=(1, 8, 32, 64, 128),
    level_seconds=1.0,
    history_sizes=(10, 1_000, 10_000),
    history_rounds=9,
    bursts=1,
)


def endpoint_request(body: object) -> bytes:
    return request_bytes("POST", "/v1/chat/completions", body)


@dataclass(frozen=True, slots=True)
class Subject:
    """A server under measurement and the endpoint its model answers from."""

    server: Child
    endpoint: Child
    effort: Effort

    async def last_model_request(self) -> dict[str, list[object]]:
        """The body of the request the server sent to the endpoint last."""
        async with Connection(self.endpoint.port) as connection:
            reply = await connection.send(request_bytes("GET", "/last"))
            return cast("dict[str, list[object]]", reply.json())

    async def replay(self, times: int) -> list[float]:
        """What the endpoint alone takes: the server's last request to it, sent again by our own client.

        Returns:
            Seconds, one for each time.
        """
        request = endpoint_request(await self.last_model_request())
        async with Connection(self.endpoint.port) as connection:
            return [(await connection.send(request)).seconds for _ in range(times)]

    @contextmanager
    def processor(self) -> Generator["Processor"]:
        """Count the server's processor time in the block."""
        reading = Processor()
        before = self.server.cpu_seconds()
        yield reading
        after = self.server.cpu_seconds()
        if before is not None and after is not None:
            reading.seconds.append(after - before)


@dataclass(frozen=True, slots=True)
class Processor:
    """Processor seconds of the server in a block; none where the system does not tell."""

    seconds: list[float] = field(default_factory=list[float])

    def ms_each(self, count: int) -> float | None:
        return round(self.seconds[0] * 1000 / count, 3) if self.seconds and count else None
