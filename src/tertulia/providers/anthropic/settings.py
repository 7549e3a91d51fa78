"""What a user may set for a model behind the Messages API, and what it becomes on the wire; does no input or output.

Only what the user set is sent. What the API has no parameter for is refused when it is set, with the reason.
"""

from dataclasses import dataclass, field
from typing import Any, Final

from tertulia.domain.errors import InvalidArgument
from tertulia.domain.models import ModelSettings
from tertulia.providers import setting_rules
from tertulia.providers.setting_rules import Implied, Refused, Rules, Sent, cannot

_LEAST_BUDGET: Final = 1024  # tokens, by the API

_GOOGLES_FORMAT: Final = Refused("it is Google's; use response_format")
_GOOGLES_THINKING: Final = Refused("it is Google's; use thinking")

RULES: Final[Rules] = {
    "max_output_tokens": Sent("max_tokens"),
    "temperature": Sent("temperature", note="0 to 1, and no other than 1 with thinking enabled"),
    "parallel_tool_calls": Sent(
        "tool_choice.disable_parallel_tool_use", values={True: False, False: True}, note="where there are tools"
    ),
    "strict": Sent("tools[].strict", note="false where the schema of a tool cannot be closed"),
    "response_format.text": Implied("the API answers in text"),
    "response_format.json_object": Refused("the Messages API takes a json_schema only"),
    "response_format.json_schema": Sent("output_config.format.schema", note="with type json_schema"),
    "thinking.type": Sent(
        "thinking.type", values={"enabled": "adaptive"}, note="`enabled` where there are budget_tokens"
    ),
    "thinking.budget_tokens": Sent("thinking.budget_tokens", note="at least 1024, and less than max_output_tokens"),
    "thinking.clear_thinking": Refused("the Messages API has no parameter for it"),
    "effort": Sent("output_config.effort"),
    "verbosity": Refused(
        "the Messages API has no parameter for it; say in the agent's instructions how long answers may be"
    ),
    "reasoning.reasoning_effort": Refused("it is OpenAI's; use thinking or effort"),
    "response_schema.text": _GOOGLES_FORMAT,
    "response_schema.json_object": _GOOGLES_FORMAT,
    "response_schema.json_schema": _GOOGLES_FORMAT,
    "thinking_config.include_thoughts": _GOOGLES_THINKING,
    "thinking_config.thinking_budget": _GOOGLES_THINKING,
    "tool_call_parser": Refused("it is SGLang's"),
}
_PLAIN_THINKING: Final[Rules] = {"thinking.type": Sent("thinking.type")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """Where servers of the dialect differ.

    ``rules`` say what becomes of settings. ``max_temperature`` is the highest they take. ``signs_thinking`` servers
    take back no thinking that they did not sign.
    """

    rules: Rules = field(default_factory=lambda: RULES)
    max_temperature: float = 1.0
    signs_thinking: bool = True


HABITS: Final = {
    "anthropic": Habits(),
    # Its models want their thinking back, which comes without a signature.
    "moonshot_coding": Habits(rules={**RULES, **_PLAIN_THINKING}, signs_thinking=False),
    # What it does not know it passes over in silence.
    "minimax": Habits(
        rules={
            **RULES,
            **_PLAIN_THINKING,
            "strict": Implied("tools are not strict", refused={True: "MiniMax has no strict tools"}),
            "response_format.json_schema": Refused("MiniMax takes no schema"),
            "effort": Refused("MiniMax has no parameter for it"),
        },
        signs_thinking=False,
    ),
}


def check(settings: ModelSettings, habits: Habits, max_output_tokens: int, provider: str) -> None:
    """Refuse what cannot be sent, or surely is refused there. ``max_output_tokens`` is the model's.

    :raises InvalidArgument: the message names the setting and the reason.
    """
    setting_rules.check(settings, habits.rules, provider)
    temperature = settings.temperature
    if temperature is not None and temperature > habits.max_temperature:
        raise cannot(f"temperature {temperature:g}", f"it takes {habits.max_temperature:g} at most", provider)
    given = settings.thinking or {}
    kind, budget = given.get("type"), given.get("budget_tokens")
    if budget is not None and kind != "enabled":
        raise InvalidArgument(
            "INVALID_ARGUMENT: model_settings.thinking.budget_tokens needs thinking.type 'enabled'. "
            "Set that, or remove the budget.",
        )
    if kind == "enabled" and temperature not in {None, 1}:
        raise cannot("temperature", "with thinking enabled it takes no other temperature than 1", provider)
    longest = settings.max_output_tokens or max_output_tokens
    if budget is not None and not _LEAST_BUDGET <= budget < longest:
        raise InvalidArgument(
            f"INVALID_ARGUMENT: model_settings.thinking.budget_tokens must be at least {_LEAST_BUDGET} and less than "
            f"max_output_tokens, which is {longest}.",
        )


_BY_HAND: Final = ("max_output_tokens", "parallel_tool_calls", "strict")


def parameters(settings: ModelSettings, rules: Rules) -> dict[str, Any]:
    """The settings as parameters of the request; those about tools and the length of the reply are not among them."""
    found = setting_rules.parameters(settings, rules, leave=_BY_HAND)
    if "budget_tokens" in found.get("thinking", {}):
        found["thinking"]["type"] = "enabled"
    if "format" in found.get("output_config", {}):
        found["output_config"]["format"]["type"] = "json_schema"
    return found
