"""Models: what a catalogue says of one, and what a user may set for it."""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from msgspec import Struct

ProviderCategory: TypeAlias = Literal["base", "byok"]

# The 17 shapes of ``model_settings``, told apart by provider_type.
PROVIDER_TYPES = (
    "anthropic",
    "azure",
    "baseten",
    "bedrock",
    "chatgpt_oauth",
    "deepseek",
    "google_ai",
    "google_vertex",
    "groq",
    "moonshot",
    "moonshot_coding",
    "openai",
    "openrouter",
    "sglang",
    "together",
    "xai",
    "zai",
)


class ModelSettings(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The settings a user gave a model. ``None`` is "not set": it is not sent, whatever the provider's default."""

    provider_type: str
    max_output_tokens: int | None = None
    temperature: float | None = None
    parallel_tool_calls: bool | None = None
    strict: bool | None = None
    response_format: dict[str, Any] | None = None
    response_schema: dict[str, Any] | None = None
    reasoning: dict[str, Any] | None = None
    effort: str | None = None
    thinking: dict[str, Any] | None = None
    thinking_config: dict[str, Any] | None = None
    verbosity: str | None = None
    tool_call_parser: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """One model of one configured provider.

    ``handle`` is ``provider_name/name``. ``provider_type`` is the catalogue's word for the provider, of the API's
    list; ``endpoint_type`` that of ``llm_config.model_endpoint_type``. Windows are tokens; ``window_guessed`` says that
    nobody told the model's.
    """

    handle: str
    name: str
    provider_name: str
    provider_type: str
    endpoint_type: str
    context_window: int
    window_guessed: bool = False
    endpoint: str | None = None
    max_output_tokens: int | None = None
    display_name: str | None = None
    provider_category: ProviderCategory = "base"
    can_call_tools: bool = True
    can_summarize: bool = True
    gives_logprobs: bool = False
    compatibility_type: Literal["gguf", "mlx"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingCard:
    """One embedding model of one configured provider."""

    handle: str
    name: str
    provider_name: str
    provider_type: str
    endpoint_type: str
    dimensions: int
    endpoint: str | None = None


def split_handle(handle: str) -> tuple[str, str] | None:
    """``provider/model`` in two, or None when there is no provider in it. A model's own name may contain slashes."""
    provider, slash, model = handle.partition("/")
    return (provider, model) if slash and provider and model else None
