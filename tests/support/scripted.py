"""A provider that plays a script, for tests of what stands above providers; it speaks no wire protocol."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import msgspec

from tertulia.domain.errors import ProviderEmptyReply
from tertulia.domain.messages import Message, Part, ReasoningPart
from tertulia.domain.models import EmbeddingCard, ModelCard, ModelSettings
from tertulia.domain.runs import Usage
from tertulia.ports.provider import Finished, ModelRequest, Provider, ProviderEvent, TextPiece, ToolCallPiece


@dataclass(slots=True)
class Gate:
    """A point at which the reply stops until the test says go. ``reached`` is set when it gets there."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)


Act: TypeAlias = ProviderEvent | Exception | Gate
Script: TypeAlias = Sequence[Act] | Callable[[ModelRequest], Sequence[Act]]

USAGE = Usage(prompt_tokens=10, completion_tokens=2, total_tokens=12)


def say(text: str) -> list[Act]:
    """A reply in two pieces."""
    half = len(text) // 2
    return [TextPiece(text[:half]), TextPiece(text[half:]), Finished(reason="stop", usage=USAGE, reply={"text": text})]


def calls(*called: tuple[str, str, str]) -> list[Act]:
    """A reply that calls tools: (id, name, arguments) each, the arguments in two pieces."""
    events: list[Act] = []
    for index, (id_, name, arguments) in enumerate(called):
        half = len(arguments) // 2
        events.append(ToolCallPiece(index, arguments[:half], id=id_, name=name))
        events.append(ToolCallPiece(index, arguments[half:]))
    return [*events, Finished(reason="tool_calls", usage=USAGE)]


class ScriptedProvider:
    """Plays one script after the other, and keeps the requests. With none left it says "ok".

    ``open`` counts the replies that are being read: one that its reader left is not.
    """

    name = "scripted"
    provider_type = "openai"

    def __init__(self) -> None:
        self.scripts: deque[Script] = deque()
        self.requests: list[ModelRequest] = []
        self.open = 0
        self.gives_logprobs = False
        self.takes_image_urls = True
        self.takes_reasoning = False

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ProviderEvent, None]:
        self.requests.append(request)
        script = self.scripts.popleft() if self.scripts else say("ok")
        self.open += 1
        said = False
        try:
            for act in script(request) if callable(script) else script:
                if isinstance(act, Gate):
                    act.reached.set()
                    await act.go.wait()
                elif isinstance(act, Exception):
                    raise act
                elif isinstance(act, Finished) and act.reason == "stop" and not said:
                    raise ProviderEmptyReply("scripted", request.model)
                else:
                    said = True
                    yield act
        finally:
            self.open -= 1

    def check_settings(self, model: str, settings: ModelSettings) -> None:
        pass

    def encode(self, request: ModelRequest) -> bytes:
        return msgspec.json.encode({"model": request.model, "system": request.system, "messages": request.messages})

    def parts_sent(self, model: str, message: Message) -> Sequence[Part]:
        del model
        said = message.content if message.role != "approval" else ()
        return [part for part in said if self.takes_reasoning or not isinstance(part, ReasoningPart)]

    def card(self, model: str) -> ModelCard:
        return ModelCard(
            handle=f"scripted/{model}",
            name=model,
            provider_name="scripted",
            provider_type="openai",
            endpoint_type="openai",
            context_window=32_000,
            gives_logprobs=self.gives_logprobs,
        )

    async def models(self) -> list[ModelCard]:
        return [self.card("model")]

    async def embeddings(self) -> list[EmbeddingCard]:
        return []

    async def close(self) -> None:
        pass


class ScriptedCatalogue:
    """A catalogue in which every handle is the scripted provider's."""

    default_model = "scripted/model"

    def __init__(self) -> None:
        self.provider = ScriptedProvider()

    def resolve(self, handle: str) -> tuple[Provider, ModelCard]:
        return self.provider, self.provider.card(handle.partition("/")[2])

    def card(self, handle: str) -> ModelCard:
        return self.resolve(handle)[1]

    def fits(self, handle: str, settings: ModelSettings) -> bool:
        return True

    def settings_type(self, handle: str) -> str:
        del handle
        return "openai"

    def embedding(self, handle: str) -> EmbeddingCard | None:
        del handle
        return None

    def check_settings(self, handle: str, settings: ModelSettings) -> None:
        pass

    async def models(self) -> list[ModelCard]:
        return await self.provider.models()

    async def embeddings(self) -> list[EmbeddingCard]:
        return []

    async def close(self) -> None:
        pass
