"""How much of each request a provider can have in its cache: what it has in common with the request before it.

A conversation of 50 turns with reasoning, tool calls and edits of memory, told to the adapters' own encoders by the
engine; the replies are made up here, so no byte leaves the process. Providers read a request as tools, then system
prompt, then messages, whatever the order of the fields, and cache marks are no part of it: `prompt` is the request as
they read it, `body` its bytes as they are sent.
"""

import json
import tempfile
from bisect import bisect_left
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any, Final, cast

from bench.dialect_replies import DIALECTS
from bench.scenarios.dialects import ROWS
from tertulia.api.deps import Services
from tertulia.domain.blocks import new_block
from tertulia.domain.messages import TextPart
from tertulia.domain.models import EmbeddingCard, ModelCard, ModelSettings
from tertulia.domain.provider_types import BY_PREFIX
from tertulia.engine.agents import AgentDraft
from tertulia.engine.requests import NewMessage, SendRequest
from tertulia.ports.provider import (
    Finished,
    ModelRequest,
    NativeItem,
    Piece,
    Provider,
    ReasoningPiece,
    TextPiece,
    ToolCallPiece,
)
from tertulia.providers.adapters import make_adapter
from tertulia.providers.endpoint import EndpointConfig
from tertulia.store.sqlite.store import open_sqlite
from tests.support.services import services_over

TURNS: Final = 50
EDIT_EVERY: Final = 5
"""Turns from one edit of memory to the next."""

WINDOW: Final = 1_000_000  # tokens: nothing is compacted

_QUESTION: Final = "And what of the lamp by the door? It was warm, and quiet as before. " * 3
_ANSWER: Final = "The lamp by the door is warm and quiet, as it was before anyone came to look. " * 4


@dataclass(frozen=True, slots=True)
class CachedShare:
    """Shares from 0 to 1 of a request that are a prefix it has in common with the request before it; means.

    Attributes:
        requests: how many were compared.
        body: of the bytes as they are sent.
        prompt: of the request as the provider reads it.
        unchanged: `prompt` of the requests whose system prompt is that of the request before. The rest is new.
        edited: `prompt` of the requests that follow an edit of memory.
        kept: the lowest part of a request that the next one begins with, where the system prompt is unchanged; 1 is
            all of it.
    """

    name: str
    requests: int
    body: float
    prompt: float
    unchanged: float
    edited: float
    kept: float


async def measure() -> Sequence[CachedShare]:
    return [await _share(dialect) for dialect in DIALECTS]


async def _share(dialect: str) -> CachedShare:
    model = _Model(dialect)
    with tempfile.TemporaryDirectory(prefix="tertulia-bench-") as folder:
        store = await open_sqlite(Path(folder) / "bench.db")
        services = services_over(store, model)
        try:
            await _talk(services, model.default_model)
        finally:
            await services.runs.close()
            await store.close()
    await model.adapter.close()
    bodies = [_common(before, after) / len(after) for before, after in pairwise(model.bodies)]
    unchanged: list[float] = []
    edited: list[float] = []
    kept: list[float] = []
    for before, after in pairwise([json.loads(body) for body in model.bodies]):
        read, again = _as_read(before), _as_read(after)
        common = _common(read, again)
        if _system(before) == _system(after):
            unchanged.append(common / len(again))
            kept.append(common / len(read))
        else:
            edited.append(common / len(again))
    return CachedShare(
        name=dialect,
        requests=len(bodies),
        body=round(fmean(bodies), 4),
        prompt=round(fmean(unchanged + edited), 4),
        unchanged=round(fmean(unchanged), 4),
        edited=round(fmean(edited), 4),
        kept=round(min(kept), 4),
    )


async def _talk(services: Services, model: str) -> None:
    blocks = (new_block(label="persona", value="I am terse. " * 20), new_block(label="human", value="Ann. " * 20))
    view = await services.agents.create(
        AgentDraft(name="Ada", model=model, memory_blocks=blocks, context_window_limit=WINDOW)
    )
    for turn in range(TURNS):
        message = NewMessage(role="user", content=(TextPart(f"{turn}: {_QUESTION}"),))
        run = await services.runs.start(SendRequest(conversation_id=view.agent.id, messages=(message,)))
        async with aclosing(services.runs.follow(run.id)) as batches:
            async for _ in batches:
                pass


class _Model:
    """A catalogue of one model: it is encoded for by a dialect's adapter, and answered for by `_Script`."""

    def __init__(self, dialect: str) -> None:
        prefix, options = ROWS[dialect]
        config = EndpointConfig(
            name=prefix, type=BY_PREFIX[prefix], base_url="http://127.0.0.1:9/v1", api_key="bench", options=options
        )
        self.adapter = make_adapter(config)
        self.default_model = f"{prefix}/o3"
        self.bodies: list[bytes] = []
        self._provider = _Recorded(self.adapter, dialect, self.bodies)

    def resolve(self, handle: str) -> tuple[Provider, ModelCard]:
        return self._provider, self.adapter.card(handle.partition("/")[2])

    def card(self, handle: str) -> ModelCard:
        return self.resolve(handle)[1]

    def fits(self, handle: str, settings: ModelSettings) -> bool:
        return bool(handle and settings)

    def settings_type(self, handle: str) -> str:
        return self.resolve(handle)[0].provider_type

    def embedding(self, handle: str) -> EmbeddingCard | None:
        del handle
        return None

    def check_settings(self, handle: str, settings: ModelSettings) -> None:
        pass

    async def models(self) -> list[ModelCard]:
        return []

    async def embeddings(self) -> list[EmbeddingCard]:
        return []

    async def close(self) -> None:
        pass


class _Recorded:
    """A provider that keeps the bodies it would send, and makes up the replies."""

    takes_image_urls = True

    def __init__(self, adapter: Provider, dialect: str, bodies: list[bytes]) -> None:
        self.name, self.provider_type = adapter.name, adapter.provider_type
        self.check_settings, self.encode, self.card = adapter.check_settings, adapter.encode, adapter.card
        self.parts_sent = adapter.parts_sent
        self.models, self.embeddings, self.close = adapter.models, adapter.embeddings, adapter.close
        self._dialect = dialect
        self._bodies = bodies

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Piece, None]:
        self._bodies.append(self.encode(request))
        for piece in _reply(self._dialect, len(self._bodies), request):
            yield piece


def _reply(dialect: str, number: int, request: ModelRequest) -> Iterator[Piece]:
    """Thinking, then two calls at once or, when their returns are there, words."""
    sealed = f"{number}-" + "c2VhbGVk" * 40
    if dialect == "openai_responses":
        yield NativeItem({"type": "reasoning", "id": f"rs_{number}", "summary": [], "encrypted_content": sealed})
    elif dialect != "google":
        yield ReasoningPiece("Let me think about that lamp. " * 5, None if dialect == "openai_chat" else sealed)
    if request.messages[-1].role == "tool":
        yield TextPiece(f"{number}: {_ANSWER}")
        yield Finished(reason="stop", usage=None)
        return
    turn = sum(message.role == "user" for message in request.messages)
    signature = sealed if dialect == "google" else None
    if turn % EDIT_EVERY == 0:
        note = json.dumps({"label": "human", "new_string": f"Asked {turn} times.", "insert_line": -1})
        yield ToolCallPiece(0, note, id=f"call_{number}a", name="memory_insert", signature=signature)
    else:
        yield ToolCallPiece(0, '{"query": "zebra"}', f"call_{number}a", "conversation_search", signature)
    yield ToolCallPiece(1, '{"query": "quagga"}', id=f"call_{number}b", name="conversation_search")
    yield Finished(reason="tool_calls", usage=None)


def _common(before: bytes, after: bytes) -> int:
    """The length of the longest prefix the two share."""
    return bisect_left(range(min(len(before), len(after))), 1, key=lambda end: before[: end + 1] != after[: end + 1])


_MARKS: Final = ("cache_control", "cachePoint")


def _as_read(body: dict[str, Any]) -> bytes:
    """The request in the order providers read it, without the marks that tell them where to cache."""
    parts = [_tools(body), _system(body), *(_messages(body))]
    return b"\n".join(json.dumps(_unmarked(part)).encode() for part in parts)


def _tools(body: dict[str, Any]) -> Any:
    return body.get("tools") or body.get("toolConfig")


def _system(body: dict[str, Any]) -> Any:
    first = _messages(body)[:1] if "messages" in body else []
    system = body.get("system") or body.get("instructions") or body.get("systemInstruction")
    return system or [message for message in first if message.get("role") == "system"]


def _messages(body: dict[str, Any]) -> list[Any]:
    return next(body[name] for name in ("messages", "input", "contents") if name in body)


def _unmarked(part: Any) -> Any:
    if isinstance(part, list):
        items = [_unmarked(item) for item in cast("list[Any]", part)]
        return [item for item in items if item != {}]  # an item that was a mark and nothing else
    if isinstance(part, dict):
        fields = cast("dict[str, Any]", part)
        return {key: _unmarked(value) for key, value in fields.items() if key not in _MARKS}
    return part
