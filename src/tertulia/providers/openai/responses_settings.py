"""What becomes of each setting in the Responses dialect; does no input or output."""

from typing import Any, Final, cast

from tertulia.domain.errors import InvalidArgument
from tertulia.domain.models import ModelSettings
from tertulia.providers import setting_rules
from tertulia.providers.setting_rules import Refused, Rules, Sent

_LEAST_REPLY: Final = 16  # tokens
_HOTTEST: Final = 2

RULES: Final[Rules] = {
    "max_output_tokens": Sent("max_output_tokens", note=f"at least {_LEAST_REPLY}; what the model thinks counts"),
    "temperature": Sent("temperature", note="0 to 2; most models that reason refuse it"),
    "parallel_tool_calls": Sent("parallel_tool_calls", note="where there are tools"),
    "strict": Sent("tools[].strict", note="false where the schema of a tool has no strict form"),
    "reasoning.reasoning_effort": Sent("reasoning.effort"),
    "verbosity": Sent("text.verbosity"),
    "response_format.text": Sent("text.format.type"),
    "response_format.json_object": Sent("text.format.type"),
    "response_format.json_schema": Sent("text.format.schema"),
}

CHATGPT_RULES: Final[Rules] = {
    **RULES,
    "max_output_tokens": Refused("the ChatGPT backend takes no limit of the reply"),
    "temperature": Refused("the ChatGPT backend takes no temperature"),
}

_OF_TOOLS: Final = ("parallel_tool_calls", "strict")


def check(settings: ModelSettings, rules: Rules, provider: str) -> None:
    """Refuse what cannot be sent to the ``provider``.

    :raises InvalidArgument: the message names the setting and the reason.
    """
    setting_rules.check(settings, rules, provider)
    if settings.max_output_tokens is not None and settings.max_output_tokens < _LEAST_REPLY:
        raise InvalidArgument(
            f"INVALID_ARGUMENT: model_settings.max_output_tokens must be at least {_LEAST_REPLY} for this model.",
        )
    if settings.temperature is not None and not 0 <= settings.temperature <= _HOTTEST:
        raise InvalidArgument("INVALID_ARGUMENT: model_settings.temperature must be between 0 and 2 for this model.")


def parameters(settings: ModelSettings, rules: Rules) -> dict[str, Any]:
    """The settings as parameters of the request; those about tools are not among them."""
    found = setting_rules.parameters(settings, rules, leave=_OF_TOOLS)
    given = (settings.response_format or {}).get("json_schema")
    if isinstance(given, dict) and "schema" in found.get("text", {}).get("format", {}):
        named = cast("dict[str, Any]", given)
        if isinstance(named.get("schema"), dict):  # as OpenAI wants it: under a name, and perhaps strict
            found["text"]["format"] |= named
        found["text"]["format"] = {"type": "json_schema", "name": "response", **found["text"]["format"]}
    return found
