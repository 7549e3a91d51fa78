"""What becomes of each setting at each server of the Chat Completions dialect. A table, by the name of its type."""

from typing import Any, Final, cast

from tertulia.domain.models import ModelSettings
from tertulia.providers import setting_rules
from tertulia.providers.setting_rules import Implied, Refused, Rules, Sent

_THINKING: Final = Refused("it is Anthropic's and Z.ai's; use reasoning")
_GOOGLES_FORMAT: Final = Refused("it is Google's; use response_format")
_GOOGLES_THINKING: Final = Refused("it is Google's; use reasoning")

CHAT: Final[Rules] = {
    "max_output_tokens": Sent("max_tokens"),
    "temperature": Sent("temperature"),
    "parallel_tool_calls": Sent("parallel_tool_calls", note="where there are tools"),
    "strict": Sent("tools[].function.strict", note="false where the schema of a tool has no strict form"),
    "response_format.text": Sent("response_format.type"),
    "response_format.json_object": Sent("response_format.type"),
    "response_format.json_schema": Sent(
        "response_format.json_schema.schema", note="with type json_schema, and a name if there is none"
    ),
    "reasoning.reasoning_effort": Sent("reasoning_effort"),
    "verbosity": Sent("verbosity"),
    "effort": Refused("it is Anthropic's; use reasoning"),
    "thinking.type": _THINKING,
    "thinking.budget_tokens": _THINKING,
    "thinking.clear_thinking": _THINKING,
    "thinking_config.include_thoughts": _GOOGLES_THINKING,
    "thinking_config.thinking_budget": _GOOGLES_THINKING,
    "response_schema.text": _GOOGLES_FORMAT,
    "response_schema.json_object": _GOOGLES_FORMAT,
    "response_schema.json_schema": _GOOGLES_FORMAT,
    "tool_call_parser": Refused("it is SGLang's"),
}
"""What the dialect has, where a server leaves nothing out."""

_COMPLETION_TOKENS: Final[Rules] = {"max_output_tokens": Sent("max_completion_tokens")}
_AS_MANY_TOOLS: Final[Rules] = {
    "parallel_tool_calls": Implied(
        "models call as many tools at once as they see fit",
        refused={False: "the API has no parameter that keeps a model from calling several tools at once"},
    ),
}
_NO_SCHEMA: Final[Rules] = {
    "response_format.json_schema": Refused(
        "the API takes no schema; use json_object and describe the object in the agent's instructions"
    ),
}

OPENAI: Final[Rules] = CHAT | _COMPLETION_TOKENS
_ZAI: Final[Rules] = (
    CHAT
    | _AS_MANY_TOOLS
    | _NO_SCHEMA
    | {"thinking.type": Sent("thinking.type"), "thinking.clear_thinking": Sent("thinking.clear_thinking")}
)

RULES: Final[dict[str, Rules]] = {
    "openai": OPENAI,
    "azure": OPENAI,
    "xai": OPENAI,
    "groq": OPENAI,
    "cerebras": OPENAI,
    "deepseek": CHAT | _AS_MANY_TOOLS | _NO_SCHEMA,
    "together": CHAT | _AS_MANY_TOOLS,
    "moonshot": OPENAI | _AS_MANY_TOOLS,
    "zai": _ZAI,
    "zai_coding": _ZAI,
    "sglang": CHAT
    | {
        "tool_call_parser": Refused(
            "an SGLang server is started with it (--tool-call-parser), and no request can change it"
        ),
    },
    "ollama": CHAT
    | _AS_MANY_TOOLS
    | {
        "strict": Implied(
            "the models are free in what they call tools with", refused={True: "Ollama has no strict tools"}
        ),
    },
}
"""By the name of the type; what is not here does all of ``CHAT``."""

_BY_HAND: Final = ("parallel_tool_calls", "strict", "response_format.json_schema")


def parameters(settings: ModelSettings, rules: Rules) -> dict[str, Any]:
    """The settings as parameters of the request; those about tools are not among them."""
    found = setting_rules.parameters(settings, rules, leave=_BY_HAND)
    schema = setting_rules.leaves(settings).get("response_format.json_schema")
    if schema is not None:
        given = cast("dict[str, Any]", (settings.response_format or {})["json_schema"])
        named = given if isinstance(given.get("schema"), dict) else {"schema": schema}
        found["response_format"] = {"type": "json_schema", "json_schema": {"name": "response", **named}}
    return found
