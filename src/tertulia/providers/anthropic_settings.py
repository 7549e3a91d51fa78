"""What a user may set for a model behind the Messages API, and what it becomes on the wire; does no input or output.

Only what the user set is sent. What the API has no parameter for is refused when it is set, with the reason.
"""

from dataclasses import dataclass
from typing import Any, Final, cast

from tertulia.domain.errors import InvalidArgument
from tertulia.domain.models import ModelSettings

_LEAST_BUDGET: Final = 1024  # tokens, by the API

# Settings without a parameter in this dialect, and why.
_REFUSED: Final = {
    "verbosity": "the Messages API has no parameter for it; say in the agent's instructions how long answers may be",
    "reasoning": "it is OpenAI's; use thinking or effort",
    "response_schema": "it is Google's; use response_format",
    "thinking_config": "it is Google's; use thinking",
    "tool_call_parser": "it is SGLang's",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """Where servers of the dialect differ.

    ``unbounded_thinking`` is the type of ``thinking`` that is on without a budget. ``max_temperature`` is the highest
    they take. ``signs_thinking`` servers take back no thinking that they did not sign.
    """

    unbounded_thinking: str = "adaptive"
    max_temperature: float = 1.0
    signs_thinking: bool = True


HABITS: Final = {
    "anthropic": Habits(),
    # Its models want their thinking back, which comes without a signature.
    "moonshot_coding": Habits(unbounded_thinking="enabled", signs_thinking=False),
}


def check(settings: ModelSettings, habits: Habits, max_output_tokens: int) -> None:
    """Refuse what cannot be sent, or surely is refused there. ``max_output_tokens`` is the model's.

    :raises InvalidArgument: the message names the setting and the reason.
    """
    for name, reason in _REFUSED.items():
        if getattr(settings, name) is not None:
            raise _cannot(name, reason)
    response_format = settings.response_format or {"type": "text"}
    kind = response_format.get("type")
    if kind == "json_object":
        raise _cannot("response_format of type json_object", "the Messages API takes a json_schema only")
    if kind not in {"text", "json_schema"} or (kind == "json_schema" and not _schema(response_format)):
        raise InvalidArgument(
            "INVALID_ARGUMENT: response_format must be of type text, or json_schema with a json_schema.",
        )
    temperature = settings.temperature
    if temperature is not None and temperature > habits.max_temperature:
        raise _cannot(f"temperature {temperature:g}", f"this provider takes {habits.max_temperature:g} at most")
    _check_thinking(settings, max_output_tokens)


def _check_thinking(settings: ModelSettings, max_output_tokens: int) -> None:
    given = settings.thinking or {}
    kind, budget = given.get("type"), given.get("budget_tokens")
    unknown = [key for key, value in given.items() if key not in {"type", "budget_tokens"} and value is not None]
    if unknown:
        raise _cannot(f"thinking.{unknown[0]}", "the Messages API has no parameter for it")
    if budget is not None and kind != "enabled":
        raise InvalidArgument(
            "INVALID_ARGUMENT: model_settings.thinking.budget_tokens needs thinking.type 'enabled'. "
            "Set that, or remove the budget.",
        )
    if kind == "enabled" and settings.temperature not in {None, 1}:
        raise _cannot("temperature", "with thinking enabled the Messages API takes no other temperature than 1")
    if budget is None:
        return
    longest = settings.max_output_tokens or max_output_tokens
    if not _LEAST_BUDGET <= budget < longest:
        raise InvalidArgument(
            f"INVALID_ARGUMENT: model_settings.thinking.budget_tokens must be at least {_LEAST_BUDGET} and less than "
            f"max_output_tokens, which is {longest}.",
        )


def parameters(settings: ModelSettings, habits: Habits) -> dict[str, Any]:
    """The settings as parameters of the request; those about tools and the length of the reply are not among them."""
    found: dict[str, Any] = {}
    if settings.temperature is not None:
        found["temperature"] = settings.temperature
    thinking = settings.thinking or {}
    if thinking.get("type") == "disabled":
        found["thinking"] = {"type": "disabled"}
    elif thinking.get("type") == "enabled":
        budget = thinking.get("budget_tokens")
        bounded = {"type": "enabled", "budget_tokens": budget}
        found["thinking"] = bounded if budget is not None else {"type": habits.unbounded_thinking}
    output: dict[str, Any] = {}
    if settings.effort is not None:
        output["effort"] = settings.effort
    if settings.response_format is not None and (schema := _schema(settings.response_format)):
        output["format"] = {"type": "json_schema", "schema": schema}
    if output:
        found["output_config"] = output
    return found


def _schema(response_format: dict[str, Any]) -> dict[str, Any] | None:
    """The schema itself; users give it bare or as OpenAI wants it, under a name."""
    given = response_format.get("json_schema")
    if not isinstance(given, dict) or not given:
        return None
    named = cast("dict[str, Any]", given)
    inner = named.get("schema")
    return cast("dict[str, Any]", inner) if isinstance(inner, dict) else named


def _cannot(what: str, reason: str) -> InvalidArgument:
    return InvalidArgument(
        f"INVALID_ARGUMENT: model_settings.{what} cannot be expressed to this provider: {reason}. Remove it."
    )
