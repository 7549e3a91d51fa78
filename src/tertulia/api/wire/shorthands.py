"""The older words for a model and its settings (``llm_config``, ``max_tokens``, ``reasoning``, …), put into today's.

Each has a meaning for some provider types only. Where it has none, and where it contradicts what the same request says
in today's words, the request is refused. Whether to reason at all is a wish: models that cannot be switched are as they
are, and the reply says that it was ignored.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal, Protocol, get_args

from msgspec import structs
from pydantic import BaseModel, Field, ValidationError

from tertulia.api.wire.common import BodyModel, Count, Name, PositiveCount
from tertulia.api.wire.ignored import note
from tertulia.api.wire.model_settings import (
    SHAPES,
    AnyModelSettings,
    Effort,
    ReasoningEffort,
    ResponseFormat,
    Verbosity,
    settings_from_wire,
)
from tertulia.domain.errors import InvalidArgument, Unsupported
from tertulia.domain.models import ModelCard, ModelSettings, ProviderCategory


class LlmConfigParam(BodyModel):
    """``llm_config`` in a request, as an agent shows it."""

    model: Name
    model_endpoint_type: Name
    context_window: Count
    handle: Name | None = None
    provider_name: Name | None = None
    model_endpoint: Name | None = None
    provider_category: ProviderCategory | None = None
    compatibility_type: Literal["gguf", "mlx"] | None = None
    display_name: Name | None = None
    temperature: Annotated[float, Field(ge=0)] | None = None
    max_tokens: PositiveCount | None = None
    parallel_tool_calls: bool | None = None
    enable_reasoner: bool | None = None
    max_reasoning_tokens: Annotated[int, Field(ge=-1)] | None = None
    reasoning_effort: ReasoningEffort | None = None
    effort: Effort | None = None
    verbosity: Verbosity | None = None
    response_format: ResponseFormat | None = None
    strict: bool | None = None
    tool_call_parser: Name | None = None
    model_wrapper: Name | None = None
    put_inner_thoughts_in_kwargs: bool | None = None
    frequency_penalty: float | None = None
    tier: Name | None = None
    return_logprobs: bool | None = None
    return_token_ids: bool | None = None
    top_logprobs: Count | None = None


class HasShorthands(Protocol):
    """The part of a request body that is read here."""

    @property
    def model_fields_set(self) -> set[str]: ...

    model: str | None
    context_window_limit: int | None
    llm_config: LlmConfigParam | None
    max_tokens: int | None
    parallel_tool_calls: bool | None
    reasoning: bool | None
    response_format: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a request says of the model, older and newer words together.

    ``settings`` are the older words alone, by the name in ``_PLACES``, None where one is to be cleared; ``described``
    is what the client believes of the model, which has to be so.
    """

    model: str | None
    context_window_limit: int | None
    settings: dict[str, Any] = field(default_factory=dict[str, Any])
    described: dict[str, Any] = field(default_factory=dict[str, Any])


# Where a shorthand belongs in a shape; the first place that the shape has.
_PLACES: Final[dict[str, tuple[tuple[str, ...], ...]]] = {
    "max_tokens": (("max_output_tokens",),),
    "temperature": (("temperature",),),
    "parallel_tool_calls": (("parallel_tool_calls",),),
    "strict": (("strict",),),
    "effort": (("effort",),),
    "verbosity": (("verbosity",),),
    "tool_call_parser": (("tool_call_parser",),),
    "response_format": (("response_format",), ("response_schema",)),
    "reasoning_effort": (("reasoning", "reasoning_effort"),),
    "max_reasoning_tokens": (("thinking", "budget_tokens"), ("thinking_config", "thinking_budget")),
    "enable_reasoner": (("thinking", "type"), ("thinking_config", "include_thoughts")),
}
_DESCRIBED: Final = (
    "model_endpoint_type",
    "model_endpoint",
    "provider_category",
    "compatibility_type",
)
_NOT_BUILT: Final = (
    "model_wrapper",
    "put_inner_thoughts_in_kwargs",
    "frequency_penalty",
    "tier",
    "return_logprobs",
    "return_token_ids",
    "top_logprobs",
)
_CARD_NAMES: Final = {"model_endpoint_type": "endpoint_type", "model_endpoint": "endpoint"}


def read_words(body: HasShorthands, shown: BaseModel | None = None) -> Told:
    """Everything the body says of the model. What its ``llm_config`` has in common with the one ``shown`` says nothing.

    :raises InvalidArgument: if it contradicts itself.
    :raises Unsupported: if ``llm_config`` sets something no provider is told of.
    """
    config = _config_words(body.llm_config, shown)
    _refuse_unbuilt(config)
    from_config = {name: config[name] for name in _PLACES if name in config}
    reasoner = _agree("enable_reasoner", getattr(body, "enable_reasoner", None), "reasoning", body.reasoning)
    from_body = {
        "max_tokens": body.max_tokens,
        "parallel_tool_calls": body.parallel_tool_calls,
        "response_format": body.response_format,
        "max_reasoning_tokens": getattr(body, "max_reasoning_tokens", None),
        "enable_reasoner": reasoner,
    }
    settings = {
        name: value
        for name in _PLACES
        if (value := _agree(name, from_body.get(name), f"llm_config.{name}", from_config.get(name))) is not None
    }
    if not settings.get("max_reasoning_tokens", 1):
        del settings["max_reasoning_tokens"]  # clients say 0 for "not set"
    for name in ("max_tokens", "parallel_tool_calls", "response_format"):
        if name in body.model_fields_set:
            settings.setdefault(name, None)
    return Told(
        model=_agree("model", body.model, "llm_config", config.get("handle")),
        context_window_limit=_agree(
            "context_window_limit",
            body.context_window_limit,
            "llm_config.context_window",
            config.get("context_window"),
        ),
        settings=settings,
        described={name: config[name] for name in _DESCRIBED if name in config},
    )


def check_description(words: Told, card: ModelCard) -> None:
    """Hold what ``llm_config`` says of the model against what is known of it.

    :raises InvalidArgument: if ``llm_config`` describes another model than the handle names.
    """
    for name, value in words.described.items():
        true = getattr(card, _CARD_NAMES.get(name, name))
        if value is not None and value != true:
            raise InvalidArgument(
                f"INVALID_ARGUMENT: llm_config.{name} is '{value}', but the model {card.handle} has '{true}'. "
                "The handle decides where the model is; omit the field.",
            )


def with_shorthands(
    settings: ModelSettings | None, words: dict[str, Any], provider_type: str, *, overriding: bool = False
) -> ModelSettings | None:
    """The settings with the older words in their places.

    The words go before stored settings (``overriding``), but have to agree with settings of the same request. A word
    that is None clears its place in stored settings and says nothing of others.

    :raises InvalidArgument: if a word means nothing for the provider type, or contradicts the settings.
    """
    if not overriding or settings is None:
        words = {name: value for name, value in words.items() if value is not None}
    if not words:
        return settings
    shape = SHAPES[settings.provider_type if settings else provider_type]
    merged = {name: value for name, value in structs.asdict(settings).items() if value is not None} if settings else {}
    merged["provider_type"] = shape.model_fields["provider_type"].default
    for name, value in words.items():
        place = next((place for place in _PLACES[name] if _has(shape, place)), None)
        if value is None:
            merged.pop(place[0] if place else name, None)
        elif place is not None:
            _put(merged, place, _translate(place, value), None if overriding else name)
        elif name == "enable_reasoner":
            # Clients say it of every model. These reason, or not, by what they are and by an effort, if they have one.
            note(["reasoning"])
        else:
            raise InvalidArgument(
                f"INVALID_ARGUMENT: '{name}' does not apply to models of provider type '{merged['provider_type']}'. "
                f"Leave it out, or use model_settings, which has {', '.join(sorted(shape.model_fields))}.",
            )
    try:
        return settings_from_wire(shape.model_validate(merged))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        raise InvalidArgument(
            f"INVALID_ARGUMENT: model_settings.{where} has an invalid value: {first['msg']}."
        ) from None


def _config_words(config: LlmConfigParam | None, shown: BaseModel | None) -> dict[str, Any]:
    """What ``llm_config`` says, by name, its model as ``handle``; of the model ``shown`` already, what it says anew."""
    if config is None:
        return {}
    said = {name: value for name in config.model_fields_set if (value := getattr(config, name)) is not None}
    said["handle"] = _handle(config)
    if shown is not None and said["handle"] == getattr(shown, "handle", None):
        said = {name: value for name, value in said.items() if value != getattr(shown, name)}
    if not said.get("context_window"):
        said.pop("context_window", None)  # 0 is what an agent shows whose model is not to be had
    return said


def _refuse_unbuilt(config: dict[str, Any]) -> None:
    for name in _NOT_BUILT:
        if config.get(name):
            raise Unsupported(f"UNSUPPORTED: 'llm_config.{name}' is sent to no provider in this release. Omit it.")


def _handle(config: LlmConfigParam) -> str:
    return config.handle or f"{config.provider_name or config.model_endpoint_type}/{config.model}"


def _agree(name: str, value: Any, other_name: str, other: Any) -> Any:
    if value is not None and other is not None and value != other:
        raise InvalidArgument(
            f"INVALID_ARGUMENT: '{name}' and '{other_name}' contradict each other. Send only one of them."
        )
    return other if value is None else value


def _has(shape: type[AnyModelSettings], place: tuple[str, ...]) -> bool:
    if place[0] not in shape.model_fields:
        return False
    if len(place) == 1:
        return True
    members = get_args(shape.model_fields[place[0]].annotation)
    return any(isinstance(m, type) and issubclass(m, BaseModel) and place[1] in m.model_fields for m in members)


def _translate(place: tuple[str, ...], value: Any) -> Any:
    if place == ("thinking", "type"):
        return "enabled" if value else "disabled"
    return value.model_dump() if isinstance(value, BaseModel) else value


def _put(settings: dict[str, Any], place: tuple[str, ...], value: Any, checked_as: str | None) -> None:
    target = settings
    for step in place[:-1]:
        target[step] = dict(target.get(step) or {})
        target = target[step]
    if checked_as is not None and target.get(place[-1], value) != value:
        raise InvalidArgument(
            f"INVALID_ARGUMENT: '{checked_as}' and 'model_settings.{'.'.join(place)}' contradict each "
            "other. Send only one of them.",
        )
    target[place[-1]] = value
