"""The shapes of ``model_settings``, without a server."""

from typing import Any, get_args

import pytest
from pydantic import TypeAdapter, ValidationError

from tertulia.api.wire.model_settings import SHAPES, ModelSettingsBody, settings_from_wire, settings_to_wire
from tertulia.domain.models import PROVIDER_TYPES, ModelSettings

BODY: TypeAdapter[Any] = TypeAdapter(ModelSettingsBody)
SCHEMA = {"type": "json_schema", "json_schema": {"name": "reply", "schema": {"type": "object", "default": None}}}
WHOLE: dict[str, dict[str, Any]] = {
    "openai": {"strict": True, "response_format": SCHEMA, "reasoning": {"reasoning_effort": "minimal"}},
    "sglang": {
        "strict": False,
        "response_format": {"type": "text"},
        "reasoning": {"reasoning_effort": "xhigh"},
        "tool_call_parser": "glm47",
    },
    "anthropic": {
        "strict": True,
        "response_format": SCHEMA,
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "effort": "max",
        "verbosity": "low",
    },
    "moonshot_coding": {
        "strict": True,
        "response_format": SCHEMA,
        "thinking": {"type": "disabled", "budget_tokens": None},
        "effort": "low",
        "verbosity": "high",
    },
    "moonshot": {"strict": True, "response_format": SCHEMA},
    "zai": {"response_format": SCHEMA, "thinking": {"type": "enabled", "clear_thinking": False}},
    "google_ai": {"response_schema": SCHEMA, "thinking_config": {"include_thoughts": True, "thinking_budget": -1}},
    "google_vertex": {"response_schema": SCHEMA, "thinking_config": {"include_thoughts": None, "thinking_budget": 0}},
    "chatgpt_oauth": {"reasoning": {"reasoning_effort": "none"}},
    "baseten": {},
    **{
        name: {"response_format": {"type": "json_object"}}
        for name in ("azure", "bedrock", "deepseek", "groq", "openrouter", "together", "xai")
    },
}
COMMON: dict[str, Any] = {"max_output_tokens": 100, "temperature": 0.5, "parallel_tool_calls": False}


def test_there_are_seventeen_shapes_and_the_domain_knows_them_all() -> None:
    assert len(SHAPES) == 17
    assert set(SHAPES) == set(PROVIDER_TYPES) == set(WHOLE)
    union = get_args(get_args(ModelSettingsBody)[0])
    assert set(union) == set(SHAPES.values())


@pytest.mark.parametrize("provider_type", WHOLE)
def test_every_field_of_a_shape_comes_back_as_it_was_sent(provider_type: str) -> None:
    sent = {"provider_type": provider_type, **COMMON, **WHOLE[provider_type]}
    kept = settings_from_wire(BODY.validate_python(sent))
    assert isinstance(kept, ModelSettings)
    assert settings_to_wire(kept).model_dump() == sent


@pytest.mark.parametrize("provider_type", WHOLE)
def test_fields_not_set_are_null_and_all_there(provider_type: str) -> None:
    kept = settings_from_wire(BODY.validate_python({"provider_type": provider_type}))
    shown = settings_to_wire(kept).model_dump()
    assert shown == {"provider_type": provider_type, **dict.fromkeys(COMMON), **dict.fromkeys(WHOLE[provider_type])}


@pytest.mark.parametrize("provider_type", WHOLE)
def test_a_field_of_another_shape_is_refused(provider_type: str) -> None:
    every_field = {name for shape in SHAPES.values() for name in shape.model_fields}
    for name in every_field - set(SHAPES[provider_type].model_fields):
        with pytest.raises(ValidationError, match="extra_forbidden"):
            BODY.validate_python({"provider_type": provider_type, name: None})


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -1},
        {"temperature": "warm"},
        {"temperature": float("nan")},
        {"max_output_tokens": 0},
        {"max_output_tokens": 2**40},
        {"reasoning": {"reasoning_effort": "much"}},
        {"reasoning": {"effort": "low"}},
        {"response_format": {"type": "xml"}},
        {"response_format": {"type": "json_schema"}},
        {"response_format": {"type": "text", "json_schema": {}}},
    ],
)
def test_a_value_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        BODY.validate_python({"provider_type": "openai", **wrong})


def test_a_response_format_may_leave_out_its_type_where_it_is_plain() -> None:
    settings = BODY.validate_python({"provider_type": "openai", "response_format": {"json_schema": {"name": "x"}}})
    assert settings.response_format.model_dump() == {"type": "json_schema", "json_schema": {"name": "x"}}


@pytest.mark.parametrize("body", [{}, {"provider_type": "nobody"}, {"temperature": 0.5}])
def test_settings_of_no_known_provider_type_are_refused(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="provider_type"):
        BODY.validate_python(body)
