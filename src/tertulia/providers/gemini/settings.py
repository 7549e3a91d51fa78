"""What becomes of each setting of a Gemini model, and what it surely refuses; does no input or output."""

from typing import Final

from tertulia.domain.models import ModelSettings
from tertulia.providers.setting_rules import Implied, Refused, Rules, Sent, cannot

_OPENAI_FORMAT: Final = Refused("it is OpenAI's; use response_schema")
_THINKING: Final = Refused("it is Anthropic's; use thinking_config")

RULES: Final[Rules] = {
    "max_output_tokens": Sent("generationConfig.maxOutputTokens"),
    "temperature": Sent("generationConfig.temperature", note="0 to 2"),
    "parallel_tool_calls": Implied(
        "models call as many tools at once as they see fit",
        refused={False: "the API has no parameter that keeps a model from calling several tools at once"},
    ),
    "response_schema.text": Sent("generationConfig.responseMimeType", values={"text": "text/plain"}),
    "response_schema.json_object": Sent(
        "generationConfig.responseMimeType", values={"json_object": "application/json"}
    ),
    "response_schema.json_schema": Sent(
        "generationConfig.responseJsonSchema",
        note="with responseMimeType application/json; models before Gemini 3 do not take it beside tools",
    ),
    "thinking_config.include_thoughts": Sent("generationConfig.thinkingConfig.includeThoughts"),
    "thinking_config.thinking_budget": Sent(
        "generationConfig.thinkingConfig.thinkingBudget", note="tokens; 0 is none, -1 as many as the model likes"
    ),
    "response_format.text": _OPENAI_FORMAT,
    "response_format.json_object": _OPENAI_FORMAT,
    "response_format.json_schema": _OPENAI_FORMAT,
    "strict": Refused("the API has no strict tools"),
    "reasoning.reasoning_effort": Refused("it is OpenAI's; use thinking_config"),
    "effort": Refused("it is Anthropic's; use thinking_config"),
    "thinking.type": _THINKING,
    "thinking.budget_tokens": _THINKING,
    "verbosity": Refused("the API has no parameter for it; say in the agent's instructions how long answers may be"),
    "tool_call_parser": Refused("it is SGLang's"),
}

_MAX_TEMPERATURE: Final = 2
_AS_IT_LIKES: Final = -1  # tokens of thinking


def check_ranges(settings: ModelSettings, provider: str) -> None:
    """Refuse values that every model refuses.

    :raises InvalidArgument: the message names the setting and the reason.
    """
    temperature = settings.temperature
    if temperature is not None and not 0 <= temperature <= _MAX_TEMPERATURE:
        raise cannot(f"temperature {temperature:g}", f"the API takes 0 to {_MAX_TEMPERATURE}", provider)
    budget = (settings.thinking_config or {}).get("thinking_budget")
    if isinstance(budget, int) and budget < _AS_IT_LIKES:
        raise cannot(f"thinking_config.thinking_budget {budget}", "the API takes -1, 0 or a number of tokens", provider)
