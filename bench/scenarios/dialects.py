"""What a streamed token costs in each dialect: in the adapter that decodes it, and on its way from there to a client.

The adapters run in this process, against the fake endpoint in its own; what is counted is the processor time of the
thread they run in, from the socket to the event. Replies of many tokens less replies of few, so that opening and
closing a reply is no part of it.
"""

import asyncio
import gc
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Final

from bench.dialect_replies import DIALECTS
from bench.processes import Child
from tertulia.api.wire.frames import Frames
from tertulia.domain.events import Event
from tertulia.domain.ids import new_run_id, new_step_id
from tertulia.domain.messages import Message, TextPart
from tertulia.domain.provider_types import BY_PREFIX
from tertulia.domain.runs import RequestConfig
from tertulia.engine.turn.reply import Reply
from tertulia.ports.provider import Finished, ModelRequest, Piece, Provider, TextPiece
from tertulia.providers.adapters import make_adapter
from tertulia.providers.endpoint import EndpointConfig
from tertulia.store.live_run import LiveRun, Where

FEW, MANY = 100, 2_100
FEW_PACED, MANY_PACED = 50, 250
GAP_US: Final = 1_000
"""Between two tokens of a paced reply, so that each is read by itself; the shortest the endpoint's timers can do."""

READERS: Final = 16
"""Paced replies at once: a thread that is woken for every single token mostly measures how it wakes up."""

LIMITS_US: Final = {"openai_chat": 40, "openai_responses": 40, "anthropic": 60}
"""What a token may cost in the dialects that have a promise."""


@dataclass(frozen=True, slots=True)
class DialectCost:
    """Microseconds a token.

    Attributes:
        decoding: the adapter, when the endpoint sends the reply in one go.
        decoding_paced: the adapter, when each token comes by itself: a pass of the event loop and a read are in it.
        total: `decoding_paced` and what the token costs after the adapter.
    """

    name: str
    decoding: float
    decoding_paced: float
    total: float


@dataclass(frozen=True, slots=True)
class TokenPath:
    """Microseconds a token.

    Attributes:
        reply: from the adapter's event to the delta and the part of the message.
        log: numbering it, keeping it and showing it to one reader.
        frames: the server-sent event for one client.
        dialects: the decoding, by dialect.
    """

    reply: float
    log: float
    frames: float
    dialects: Sequence[DialectCost] = field(default_factory=list[DialectCost])


async def measure(endpoint: Child, rounds: int) -> TokenPath:
    few, many = _pieces(FEW), _pieces(MANY)
    reply = _per_token(_best(partial(_push, few), rounds), _best(partial(_push, many), rounds), MANY - FEW)
    few_events, many_events = _push(few), _push(many)
    frames = _per_token(
        _best(partial(_encode, few_events), rounds), _best(partial(_encode, many_events), rounds), MANY - FEW
    )
    log = _per_token(
        await _best_async(partial(_tell, few_events), rounds),
        await _best_async(partial(_tell, many_events), rounds),
        MANY - FEW,
    )
    dialects = [await _decoding(endpoint, name, rounds, after=reply + log + frames) for name in DIALECTS]
    return TokenPath(reply=reply, log=log, frames=frames, dialects=dialects)


async def _decoding(endpoint: Child, dialect: str, rounds: int, *, after: float) -> DialectCost:
    drained = partial(_drained, endpoint, dialect, rounds)
    decoding = _per_token(await drained(FEW), await drained(MANY), MANY - FEW)
    few, many = [await drained(tokens, gap_us=GAP_US, readers=READERS) for tokens in (FEW_PACED, MANY_PACED)]
    decoding_paced = _per_token(few, many, (MANY_PACED - FEW_PACED) * READERS)
    return DialectCost(
        name=dialect,
        decoding=decoding,
        decoding_paced=decoding_paced,
        total=round(decoding_paced + after, 2),
    )


async def _drained(
    endpoint: Child, dialect: str, rounds: int, tokens: int, *, gap_us: int = 0, readers: int = 1
) -> float:
    """Processor seconds of whole replies through the adapter, to so many readers at once."""
    provider = _provider(dialect, f"http://127.0.0.1:{endpoint.port}/{dialect}/{tokens}tokens/{gap_us}us")
    try:
        return await _best_async(partial(_drain_all, provider, tokens, readers), rounds)
    finally:
        await provider.close()


async def _drain_all(provider: Provider, tokens: int, readers: int) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(readers):
            _ = group.create_task(_drain(provider, tokens))


async def _drain(provider: Provider, tokens: int) -> None:
    said = 0
    async with aclosing(provider.stream(_REQUEST)) as events:
        async for event in events:
            said += isinstance(event, TextPiece)
    if said < tokens:
        message = f"{provider.name} gave {said} pieces of {tokens}"
        raise OSError(message)


def _provider(dialect: str, base_url: str) -> Provider:
    prefix, options = ROWS[dialect]
    row = BY_PREFIX[prefix]
    return make_adapter(EndpointConfig(name=prefix, type=row, base_url=base_url, api_key="bench", options=options))


_BATCH: Final = 25  # events that come between two writes to the store

ROWS: Final[dict[str, tuple[str, dict[str, str]]]] = {
    "openai_chat": ("vllm", {}),
    "openai_responses": ("openai", {}),
    "anthropic": ("anthropic", {}),
    "google": ("google_ai", {}),
    "bedrock": ("bedrock", {"region": "us-east-1", "access_key": "bench"}),
}

_REQUEST: Final = ModelRequest(
    model="o3",
    system="You are terse.",
    messages=[
        Message(
            id="message-1",
            agent_id="agent-1",
            conversation_id="conv-1",
            role="user",
            content=(TextPart("Hello"),),
            created_at=datetime(2026, 1, 1, tzinfo=UTC),
        )
    ],
)


def _pieces(count: int) -> list[Piece]:
    return [*(TextPiece(f"word {number % 10} ") for number in range(count)), Finished(reason="stop", usage=None)]


def _push(pieces: Sequence[Piece]) -> list[Event]:
    reply = Reply(new_step_id(), "openai", datetime.now(UTC), frozenset[str](), lambda _name: None)
    return [event for piece in pieces if (event := reply.push(piece)) is not None]


def _encode(events: Sequence[Event]) -> None:
    frames = Frames("run-1", RequestConfig(stream_tokens=True))
    for event in events:
        _ = frames.encode((event,))


async def _tell(events: Sequence[Event]) -> None:
    """Through the live log, to a reader who takes each event as it comes, and made ready for the store in batches."""
    log = LiveRun(new_run_id(), 1, 0, wants_flush=lambda _now: None, closed=lambda _run: None)
    seen = 0
    for number, event in enumerate(events):
        log.append(event)
        shown = log.after(seen, mine=True)
        seen += 0 if isinstance(shown, Where) else len(shown)
        if number % _BATCH == 0:
            log.stored(log.flushable())
    if seen < len(events):
        message = f"the log showed {seen} of {len(events)} events"
        raise OSError(message)


def _best(work: Callable[[], object], rounds: int) -> float:
    seconds: list[float] = []
    for _ in range(rounds):
        _ = gc.collect()
        before = time.thread_time()
        _ = work()
        seconds.append(time.thread_time() - before)
    return statistics.median(seconds)


async def _best_async(work: Callable[[], Awaitable[None]], rounds: int) -> float:
    await work()  # what is loaded on first use is no part of it
    seconds: list[float] = []
    for _ in range(rounds):
        await asyncio.sleep(0)
        _ = gc.collect()
        before = time.thread_time()
        await work()
        seconds.append(time.thread_time() - before)
    return statistics.median(seconds)


def _per_token(few: float, many: float, tokens: int) -> float:
    return round((many - few) * 1e6 / tokens, 2)
