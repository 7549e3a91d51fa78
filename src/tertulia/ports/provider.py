"""A model provider: one method that streams a reply as typed events; a failure is an exception of ``domain.errors``.

Providers only stream. A whole reply is the stream drained; there is no second code path.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

from tertulia.domain.errors import ProviderError
from tertulia.domain.messages import Base64Image, Message, Part
from tertulia.domain.models import EmbeddingCard, ModelCard, ModelSettings
from tertulia.domain.runs import Usage
from tertulia.domain.tools import ToolSpec


@dataclass(frozen=True, slots=True)
class MemoryView:
    """A memory block as the system prompt shows it; for providers that lay the prompt out themselves."""

    label: str
    value: str
    description: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """Everything a model call depends on, in no provider's dialect.

    ``model`` is the name without the provider. ``system`` is the compiled system prompt; ``instructions`` and
    ``memory`` are what it was compiled from. ``messages`` is the history without it, oldest first: immutable objects
    that come again in the next request, so an adapter may keep what it encoded of them by ``message.id``. Every tool
    call in it has its return. ``tool_choice`` may name a tool. ``cache_key`` is the same for all requests of a
    conversation. ``logprobs`` asks for the log probabilities of the reply's tokens with so many alternatives for each;
    models whose card says that they give none are not asked.

    ``images`` has what the history's image URLs lead to, for providers that do not fetch them themselves: the image, or
    the reason in words why there is none. ``domain.images`` looks up what to send of an image.
    """

    model: str
    system: str
    messages: Sequence[Message]
    tools: tuple[ToolSpec, ...] = ()
    settings: ModelSettings | None = None
    tool_choice: str = "auto"
    parallel_tool_calls: bool | None = None
    instructions: str = ""
    memory: tuple[MemoryView, ...] = ()
    cache_key: str | None = None
    context_window: int | None = None
    logprobs: int | None = None
    images: Mapping[str, Base64Image | str] = field(default_factory=dict[str, Base64Image | str])


@dataclass(frozen=True, slots=True)
class Retrying:
    """The provider failed before the first token and is asked again in ``delay`` seconds. ``attempt`` counts from 1."""

    attempt: int
    error: ProviderError
    delay: float


@dataclass(frozen=True, slots=True)
class TextPiece:
    """Visible text. ``signature`` is of the whole text it ends, and may come alone, with empty text."""

    text: str
    signature: str | None = None


@dataclass(frozen=True, slots=True)
class CitationsPiece:
    """Sources of the text before it, each as the provider tells it."""

    citations: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class ReasoningPiece:
    """Visible reasoning. ``signature`` may come alone, with empty text, after the last piece."""

    text: str
    signature: str | None = None


@dataclass(frozen=True, slots=True)
class HiddenReasoningPiece:
    """Reasoning withheld: redacted ``data`` to hand back, or None when the provider merely omits it."""

    data: str | None = None


@dataclass(frozen=True, slots=True)
class ToolCallPiece:
    """A piece of the index-th tool call of the reply. ``id`` and ``name`` come with the first piece of it.

    ``signature`` is the provider's own of the call, to hand back with it; any piece may bring it.
    """

    index: int
    arguments: str
    id: str | None = None
    name: str | None = None
    signature: str | None = None


@dataclass(frozen=True, slots=True)
class NativeItem:
    """An item of the provider's own to store and hand back verbatim next turn, at this place of the reply."""

    item: dict[str, Any]


FinishReason: TypeAlias = Literal["stop", "tool_calls", "length", "content_filter"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """Always the last event. ``reply`` is the provider's reply as one object, for the trace.

    ``logprobs`` are those asked for, as the API's reply has them.
    """

    reason: FinishReason
    usage: Usage | None
    reply: dict[str, Any] = field(default_factory=dict[str, Any])
    request_id: str | None = None
    logprobs: dict[str, Any] | None = None


Piece: TypeAlias = (
    TextPiece | CitationsPiece | ReasoningPiece | HiddenReasoningPiece | ToolCallPiece | NativeItem | Finished
)
"""What a reply consists of."""

ProviderEvent: TypeAlias = Retrying | Piece


class Provider(Protocol):
    """One configured provider: a name that handles begin with, and the models behind it."""

    @property
    def name(self) -> str: ...

    @property
    def provider_type(self) -> str:
        """The catalogue's type, which ``model_settings.provider_type`` must match."""
        ...

    @property
    def takes_image_urls(self) -> bool:
        """Whether image URLs go to it as they are; otherwise it needs ``ModelRequest.images``."""
        ...

    def stream(self, request: ModelRequest) -> AsyncGenerator[ProviderEvent, None]:
        """Ask the model. Closing the generator frees the connection at once.

        :raises ProviderError: (a subclass of it) if the reply cannot be had or breaks off.
        :raises InvalidArgument: if a setting cannot be expressed to this provider.
        """
        ...

    def check_settings(self, model: str, settings: ModelSettings) -> None:
        """Say whether everything in the settings can be expressed to this provider, when they are set.

        :raises InvalidArgument: if a setting cannot; the message names it and the reason.
        """
        ...

    def encode(self, request: ModelRequest) -> bytes:
        """The body that ``stream`` would send, for traces and previews: the same bytes for the same request."""
        ...

    def parts_sent(self, model: str, message: Message) -> Sequence[Part]:
        """What of a message goes into a request to the model, to count its tokens: reasoning mostly does not."""
        ...

    def card(self, model: str) -> ModelCard:
        """What is known of a model without asking anybody, or a sensible guess for a name never heard of.

        :raises InvalidArgument: if this provider surely does not have it.
        """
        ...

    async def models(self) -> list[ModelCard]:
        """The models on offer. Cached; a provider that is down offers the ones it is known to have, or none."""
        ...

    async def embeddings(self) -> list[EmbeddingCard]: ...

    async def close(self) -> None: ...
