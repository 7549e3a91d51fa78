"""Every setting of the Messages dialect: what it becomes on the wire, or why it is refused when it is set."""

from typing import Any

import msgspec
import pytest

from tertulia.domain.errors import InvalidArgument
from tertulia.domain.models import ModelSettings
from tertulia.domain.provider_types import BY_PREFIX
from tertulia.domain.tools import ToolSpec
from tertulia.ports.provider import ModelRequest
from tertulia.providers.anthropic.adapter import AnthropicProvider
from tertulia.providers.anthropic.schema import closed_schema
from tertulia.providers.endpoint import EndpointConfig
from tests.support.anthropic_requests import find_violations

HEADERS = {"x-api-key": "sk", "anthropic-version": "2023-06-01"}
TOOL = ToolSpec(
    id="tool-1",
    name="search",
    description="Finds things.",
    parameters={
        "type": "object",
        "properties": {"query": {"type": "string", "minLength": 1}, "limit": {"type": "integer", "default": 5}},
        "required": ["query"],
    },
    tool_type="letta_core",
)
ANYTHING = ToolSpec(
    id="tool-2",
    name="anything",
    description="Takes any object.",
    parameters={"type": "object", "properties": {}, "additionalProperties": True},
    tool_type="custom",
)
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}
ALWAYS = {"model", "messages", "max_tokens", "stream", "system", "tools"}


def provider(provider_type: str = "anthropic") -> AnthropicProvider:
    row = BY_PREFIX[provider_type]
    return AnthropicProvider(EndpointConfig(name=provider_type, type=row, base_url="http://127.0.0.1:1", api_key="k"))


def sent(settings: dict[str, Any] | None, provider_type: str = "anthropic", **fields: Any) -> dict[str, Any]:
    """The body with these settings, which are first checked as when they are set."""
    target = provider(provider_type)
    given = None if settings is None else ModelSettings(provider_type=provider_type, **settings)
    if given is not None:
        target.check_settings("claude-sonnet-4-5", given)
    fields = {"tools": (TOOL,), **fields}
    request = ModelRequest(model="claude-sonnet-4-5", system="Be terse.", messages=(), settings=given, **fields)
    body = msgspec.json.decode(target.encode(request))
    assert not find_violations(HEADERS, body, {})
    return body


@pytest.mark.parametrize("settings", [None, {}])
def test_nothing_is_sent_that_nobody_set(settings: dict[str, Any] | None) -> None:
    body = sent(settings)
    assert set(body) == ALWAYS
    assert set(body["tools"][0]) == {"name", "description", "input_schema"}


MAPPED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"max_output_tokens": 100}, {"max_tokens": 100}),
    ({"temperature": 0.0}, {"temperature": 0.0}),
    ({"parallel_tool_calls": False}, {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}),
    ({"parallel_tool_calls": True}, {"tool_choice": {"type": "auto", "disable_parallel_tool_use": False}}),
    ({"response_format": {"type": "text"}}, {}),
    (
        {"response_format": {"type": "json_schema", "json_schema": SCHEMA}},
        {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
    ),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}},
        {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
    ),
    *(({"effort": level}, {"output_config": {"effort": level}}) for level in ("low", "medium", "high", "xhigh", "max")),
    (
        {"effort": "low", "response_format": {"type": "json_schema", "json_schema": SCHEMA}},
        {"output_config": {"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}}},
    ),
    ({"thinking": {"type": "disabled"}}, {"thinking": {"type": "disabled"}}),
    ({"thinking": {"type": "enabled"}}, {"thinking": {"type": "adaptive"}}),
    (
        {"thinking": {"type": "enabled", "budget_tokens": 2048}, "temperature": 1},
        {"thinking": {"type": "enabled", "budget_tokens": 2048}, "temperature": 1},
    ),
    ({"thinking": {}}, {}),
    ({"thinking": {"type": None, "budget_tokens": None}}, {}),
]


@pytest.mark.parametrize(("settings", "wire"), MAPPED)
def test_a_setting_arrives_as_its_parameter_and_nothing_else_does(
    settings: dict[str, Any], wire: dict[str, Any]
) -> None:
    body = sent(settings)
    assert {key: body[key] for key in wire} == wire
    assert set(body) == ALWAYS | set(wire)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"verbosity": "low"}, "verbosity"),
    ({"response_format": {"type": "json_object"}}, "json_object"),
    ({"response_format": {"type": "json_schema"}}, "json_schema"),
    ({"response_format": {"type": "json_schema", "json_schema": {}}}, "json_schema"),
    ({"response_format": {"type": "yaml"}}, "response_format"),
    ({"temperature": 1.5}, "temperature"),
    ({"temperature": 0.5, "thinking": {"type": "enabled"}}, "temperature"),
    ({"thinking": {"type": "enabled", "budget_tokens": 1023}}, "1024"),
    ({"thinking": {"type": "enabled", "budget_tokens": 64_000}}, "max_output_tokens"),
    ({"thinking": {"type": "enabled", "budget_tokens": 2000}, "max_output_tokens": 2000}, "2000"),
    ({"thinking": {"type": "disabled", "budget_tokens": 2000}}, "thinking.type"),
    ({"thinking": {"budget_tokens": 2000}}, "thinking.type"),
    ({"thinking": {"type": "enabled", "clear_thinking": True}}, "clear_thinking"),
    ({"reasoning": {"reasoning_effort": "low"}}, "reasoning"),
    ({"response_schema": {"type": "text"}}, "response_schema"),
    ({"thinking_config": {"include_thoughts": True}}, "thinking_config"),
    ({"tool_call_parser": "x"}, "tool_call_parser"),
]


@pytest.mark.parametrize(("settings", "named"), REFUSED)
@pytest.mark.parametrize("provider_type", ["anthropic", "moonshot_coding"])
def test_what_cannot_be_expressed_is_refused_when_it_is_set_and_when_it_is_sent(
    settings: dict[str, Any], named: str, provider_type: str
) -> None:
    given = ModelSettings(provider_type=provider_type, **settings)
    request = ModelRequest(model="claude-sonnet-4-5", system="", messages=(), settings=given)
    target = provider(provider_type)
    with pytest.raises(InvalidArgument, match=named):
        target.check_settings("claude-sonnet-4-5", given)
    with pytest.raises(InvalidArgument, match=named):
        target.encode(request)


def test_every_field_of_the_settings_is_either_mapped_or_refused() -> None:
    tested = {name for settings, _ in [*MAPPED, *REFUSED] for name in settings}
    assert tested == {*ModelSettings.__struct_fields__} - {"provider_type", "strict"}  # strict has its own tests


def test_kimi_thinks_without_a_budget_in_its_own_words() -> None:
    request = ModelRequest(
        model="kimi-for-coding",
        system="",
        messages=(),
        settings=ModelSettings(provider_type="moonshot_coding", thinking={"type": "enabled"}),
    )
    assert msgspec.json.decode(provider("moonshot_coding").encode(request))["thinking"] == {"type": "enabled"}


@pytest.mark.parametrize(
    ("model", "longest"),
    [
        ("claude-opus-5-5", 128_000),
        ("claude-haiku-5-5", 128_000),
        ("claude-sonnet-4-6", 128_000),
        ("claude-sonnet-4-5-20250929", 64_000),
        ("claude-opus-4-5", 64_000),
        ("claude-opus-4-1-20250805", 32_000),
        ("claude-opus-4-20250514", 32_000),
        ("claude-3-5-haiku-latest", 8_192),
        ("claude-3-haiku-20240307", 4_096),
        ("never-heard-of", 8_192),
    ],
)
def test_the_longest_reply_is_asked_for_where_the_user_set_none(model: str, longest: int) -> None:
    request = ModelRequest(model=model, system="", messages=())
    assert msgspec.json.decode(provider().encode(request))["max_tokens"] == longest


def test_strict_tools_are_closed_and_keep_their_optional_parameters() -> None:
    tools = sent({"strict": True}, tools=(TOOL, ANYTHING))["tools"]
    assert tools[0]["strict"] is True
    assert tools[0]["input_schema"] == {
        "type": "object",
        "properties": {"query": {"type": "string"}, "limit": {"type": "integer", "default": 5}},
        "required": ["query"],
        "additionalProperties": False,
    }
    assert (tools[1]["strict"], tools[1]["input_schema"]) == (False, ANYTHING.parameters)


def test_tools_that_are_not_strict_say_so_only_when_asked() -> None:
    tool = sent({"strict": False})["tools"][0]
    assert (tool["strict"], tool["input_schema"]) == (False, TOOL.parameters)


@pytest.mark.parametrize(
    ("schema", "closed"),
    [
        ({"type": "object"}, {"type": "object", "properties": {}, "additionalProperties": False}),
        (
            {
                "properties": {
                    "a": {"type": "array", "items": {"oneOf": [{"type": "null"}, {"type": "string"}]}, "minItems": 2}
                }
            },
            {
                "properties": {"a": {"type": "array", "items": {"anyOf": [{"type": "null"}, {"type": "string"}]}}},
                "additionalProperties": False,
            },
        ),
        (
            {"properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"type": "object", "properties": {}}}},
            {
                "properties": {"a": {"$ref": "#/$defs/A"}},
                "additionalProperties": False,
                "$defs": {"A": {"type": "object", "properties": {}, "additionalProperties": False}},
            },
        ),
        ({"properties": {"a": {}}}, None),
        ({"properties": {"a": {"type": "object"}}}, None),
        ({"properties": {"a": {"type": "object", "properties": {}, "additionalProperties": {"type": "string"}}}}, None),
    ],
)
def test_a_schema_is_closed_all_the_way_down_or_not_at_all(
    schema: dict[str, Any], closed: dict[str, Any] | None
) -> None:
    assert closed_schema(schema) == closed


@pytest.mark.parametrize(
    ("choice", "parallel", "wire"),
    [
        ("auto", None, None),
        ("none", False, {"type": "none"}),
        ("required", None, {"type": "any"}),
        ("required", False, {"type": "any", "disable_parallel_tool_use": True}),
        ("search", None, {"type": "tool", "name": "search"}),
        ("search", True, {"type": "tool", "name": "search", "disable_parallel_tool_use": False}),
    ],
)
def test_a_choice_of_tools_is_sent_in_the_dialects_words(
    choice: str, parallel: Any, wire: dict[str, Any] | None
) -> None:
    assert sent({"parallel_tool_calls": parallel}, tool_choice=choice).get("tool_choice") == wire


@pytest.mark.parametrize("choice", ["required", "search"])
def test_a_model_that_thinks_is_not_made_to_call_a_tool(choice: str) -> None:
    body = sent({"thinking": {"type": "enabled"}, "parallel_tool_calls": False}, tool_choice=choice)
    assert body["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    assert "tool_choice" not in sent({"thinking": {"type": "enabled"}}, tool_choice=choice)


def test_the_requests_own_word_on_parallel_calls_goes_before_the_settings() -> None:
    body = sent({"parallel_tool_calls": True}, parallel_tool_calls=False)
    assert body["tool_choice"]["disable_parallel_tool_use"] is True


def test_without_tools_nothing_is_said_of_them() -> None:
    assert set(sent({"parallel_tool_calls": False, "strict": True}, tools=())) == ALWAYS - {"tools"}
