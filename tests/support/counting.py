"""A scripted provider with a real window: it counts what it is sent and refuses what does not fit."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

import msgspec

from tertulia.context.encoding import count_tokens
from tertulia.domain.errors import ContextTooLong
from tertulia.domain.models import ModelCard
from tertulia.domain.runs import Usage
from tertulia.ports.provider import Finished, ModelRequest, ProviderEvent
from tests.support.scripted import ScriptedCatalogue, ScriptedProvider


class CountingProvider(ScriptedProvider):
    """``window`` is the real one, in tokens; ``told`` is what the card says of it.

    ``counts`` says whether replies report what they took, ``explains`` whether a refusal tells the numbers. ``refused``
    counts the requests that did not fit.
    """

    def __init__(self, window: int, *, told: int | None = None, counts: bool = True, explains: bool = True) -> None:
        super().__init__()
        self.window = window
        self.told = told or window
        self.counts = counts
        self.explains = explains
        self.can_summarize = True
        self.refused = 0
        self.sizes: list[int] = []

    def size(self, request: ModelRequest) -> int:
        texts = [request.system, *(message.text for message in request.messages)]
        texts += [call.arguments for message in request.messages for call in message.tool_calls]
        texts += [f"{tool.name} {tool.description} {msgspec.json.encode(tool.parameters)!r}" for tool in request.tools]
        return sum(map(count_tokens, texts)) + 4 * len(texts)

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ProviderEvent, None]:
        size = self.size(request)
        self.sizes.append(size)
        if size > self.window:
            self.refused += 1
            if not self.explains:
                raise ContextTooLong("too long")
            raise ContextTooLong("too long", tokens=size, context_window=self.window)
        async with aclosing(super().stream(request)) as events:
            async for event in events:
                if isinstance(event, Finished) and event.usage is not None:
                    usage = Usage(prompt_tokens=size, completion_tokens=2, total_tokens=size + 2)
                    yield Finished(reason=event.reason, usage=usage if self.counts else None, reply=event.reply)
                else:
                    yield event

    def card(self, model: str) -> ModelCard:
        fits = self.can_summarize and model != "tiny"
        return replace(super().card(model), context_window=self.told, can_summarize=fits)


class CountingCatalogue(ScriptedCatalogue):
    def __init__(self, provider: CountingProvider) -> None:
        super().__init__()
        self.provider = provider
