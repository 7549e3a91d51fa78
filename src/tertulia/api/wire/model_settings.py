"""``model_settings``: 17 shapes told apart by ``provider_type``, each with exactly its fields."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, TypeAlias, cast

from msgspec import structs
from pydantic import Discriminator, Field, Tag

from tertulia.api.wire.common import MAX_INT, STORED, JsonObject, Name, RequestModel
from tertulia.domain.models import ModelSettings

Effort: TypeAlias = Literal["low", "medium", "high", "xhigh", "max"]
Verbosity: TypeAlias = Literal["low", "medium", "high"]
ReasoningEffort: TypeAlias = Literal["none", "minimal", "low", "medium", "high", "xhigh"]
Tokens: TypeAlias = Annotated[int, Field(ge=1, le=MAX_INT)]


class TextResponseFormat(RequestModel):
    type: Literal["text"] = "text"


class JsonSchemaResponseFormat(RequestModel):
    type: Literal["json_schema"] = "json_schema"
    json_schema: JsonObject


class JsonObjectResponseFormat(RequestModel):
    type: Literal["json_object"] = "json_object"


_FORMATS: Final = ("text", "json_schema", "json_object")


def _format_tag(value: Any) -> str | None:
    """The Pydantic tag of a response format, sent or made. Clients may leave ``type`` out of a JSON schema."""
    if isinstance(value, dict):
        sent = cast("dict[str, Any]", value)
        type_ = sent.get("type", "json_schema" if "json_schema" in sent else None)
    else:
        type_ = getattr(value, "type", None)
    return f"~{type_}" if type_ in _FORMATS else None


ResponseFormat: TypeAlias = Annotated[
    Annotated[TextResponseFormat, Tag("~text")]
    | Annotated[JsonSchemaResponseFormat, Tag("~json_schema")]
    | Annotated[JsonObjectResponseFormat, Tag("~json_object")],
    Discriminator(
        _format_tag,
        custom_error_type="shape_unknown",
        custom_error_message=f"must be an object whose type is one of: {', '.join(_FORMATS)}",
    ),
]


class Reasoning(RequestModel):
    reasoning_effort: ReasoningEffort | None = None


class ChatGptOAuthReasoning(RequestModel):
    reasoning_effort: Literal["none", "low", "medium", "high", "xhigh"] | None = None


class Thinking(RequestModel):
    type: Literal["enabled", "disabled"] | None = None
    budget_tokens: Annotated[int, Field(ge=0, le=MAX_INT)] | None = None


class ZaiThinking(RequestModel):
    type: Literal["enabled", "disabled"] | None = None
    clear_thinking: bool | None = None


class ThinkingConfig(RequestModel):
    include_thoughts: bool | None = None
    # Google's -1 lets the model choose.
    thinking_budget: Annotated[int, Field(ge=-1, le=MAX_INT)] | None = None


class AnyModelSettings(RequestModel):
    """What every shape has, ``provider_type`` aside."""

    max_output_tokens: Tokens | None = None
    temperature: Annotated[float, Field(ge=0)] | None = None
    parallel_tool_calls: bool | None = None


class _WithResponseFormat(AnyModelSettings):
    response_format: ResponseFormat | None = None


class OpenAIModelSettings(_WithResponseFormat):
    provider_type: Literal["openai"] = "openai"
    strict: bool | None = None
    reasoning: Reasoning | None = None


class SGLangModelSettings(_WithResponseFormat):
    provider_type: Literal["sglang"] = "sglang"
    strict: bool | None = None
    reasoning: Reasoning | None = None
    tool_call_parser: Name | None = None


class AnthropicModelSettings(_WithResponseFormat):
    provider_type: Literal["anthropic"] = "anthropic"
    strict: bool | None = None
    thinking: Thinking | None = None
    effort: Effort | None = None
    verbosity: Verbosity | None = None


class MoonshotCodingModelSettings(_WithResponseFormat):
    provider_type: Literal["moonshot_coding"] = "moonshot_coding"
    strict: bool | None = None
    thinking: Thinking | None = None
    effort: Effort | None = None
    verbosity: Verbosity | None = None


class MoonshotModelSettings(_WithResponseFormat):
    provider_type: Literal["moonshot"] = "moonshot"
    strict: bool | None = None


class ZaiModelSettings(_WithResponseFormat):
    provider_type: Literal["zai"] = "zai"
    thinking: ZaiThinking | None = None


class GoogleAIModelSettings(AnyModelSettings):
    provider_type: Literal["google_ai"] = "google_ai"
    response_schema: ResponseFormat | None = None
    thinking_config: ThinkingConfig | None = None


class GoogleVertexModelSettings(AnyModelSettings):
    provider_type: Literal["google_vertex"] = "google_vertex"
    response_schema: ResponseFormat | None = None
    thinking_config: ThinkingConfig | None = None


class ChatGptOAuthModelSettings(AnyModelSettings):
    provider_type: Literal["chatgpt_oauth"] = "chatgpt_oauth"
    reasoning: ChatGptOAuthReasoning | None = None


class BasetenModelSettings(AnyModelSettings):
    provider_type: Literal["baseten"] = "baseten"


class AzureModelSettings(_WithResponseFormat):
    provider_type: Literal["azure"] = "azure"


class BedrockModelSettings(_WithResponseFormat):
    provider_type: Literal["bedrock"] = "bedrock"


class DeepseekModelSettings(_WithResponseFormat):
    provider_type: Literal["deepseek"] = "deepseek"


class GroqModelSettings(_WithResponseFormat):
    provider_type: Literal["groq"] = "groq"


class OpenRouterModelSettings(_WithResponseFormat):
    provider_type: Literal["openrouter"] = "openrouter"


class TogetherModelSettings(_WithResponseFormat):
    provider_type: Literal["together"] = "together"


class XaiModelSettings(_WithResponseFormat):
    provider_type: Literal["xai"] = "xai"


ModelSettingsBody: TypeAlias = Annotated[
    OpenAIModelSettings
    | SGLangModelSettings
    | AnthropicModelSettings
    | GoogleAIModelSettings
    | GoogleVertexModelSettings
    | AzureModelSettings
    | XaiModelSettings
    | MoonshotModelSettings
    | ZaiModelSettings
    | MoonshotCodingModelSettings
    | GroqModelSettings
    | DeepseekModelSettings
    | TogetherModelSettings
    | BedrockModelSettings
    | BasetenModelSettings
    | OpenRouterModelSettings
    | ChatGptOAuthModelSettings,
    Field(discriminator="provider_type"),
]
"""The type of ``model_settings`` in requests and in responses."""

_SHAPE_CLASSES: Final[tuple[type[AnyModelSettings], ...]] = (
    OpenAIModelSettings,
    SGLangModelSettings,
    AnthropicModelSettings,
    GoogleAIModelSettings,
    GoogleVertexModelSettings,
    AzureModelSettings,
    XaiModelSettings,
    MoonshotModelSettings,
    ZaiModelSettings,
    MoonshotCodingModelSettings,
    GroqModelSettings,
    DeepseekModelSettings,
    TogetherModelSettings,
    BedrockModelSettings,
    BasetenModelSettings,
    OpenRouterModelSettings,
    ChatGptOAuthModelSettings,
)
SHAPES: Final[Mapping[str, type[AnyModelSettings]]] = MappingProxyType(
    {str(shape.model_fields["provider_type"].default): shape for shape in _SHAPE_CLASSES}
)


def settings_from_wire(settings: AnyModelSettings) -> ModelSettings:
    return ModelSettings(**settings.model_dump(exclude_none=True))


def settings_to_wire(settings: ModelSettings) -> AnyModelSettings:
    """The settings with every field of their shape, None where not set."""
    given = {name: value for name, value in structs.asdict(settings).items() if value is not None}
    return SHAPES[settings.provider_type].model_validate(given, context=STORED)
