"""What becomes of the settings of Google's shapes."""

from typing import Any

import msgspec
import pytest

from tertulia.domain.errors import InvalidArgument
from tertulia.domain.models import ModelSettings
from tertulia.domain.provider_types import BY_PREFIX
from tertulia.domain.tools import ToolSpec
from tertulia.ports.provider import ModelRequest
from tertulia.providers.endpoint import EndpointConfig
from tertulia.providers.gemini.adapter import GeminiProvider
from tests.support.gemini_requests import find_violations
from tests.support.histories import message

TOOL = ToolSpec(id="tool-1", name="look", description="Looks.", parameters={}, tool_type="letta_core")
SCHEMA = {"type": "object", "properties": {"a": {"type": "string", "pattern": "x+"}}, "$schema": "x"}
MODEL = "gemini-3-pro-preview"


def provider(provider_type: str) -> GeminiProvider:
    config = EndpointConfig(
        name=provider_type,
        type=BY_PREFIX[provider_type],
        base_url="http://127.0.0.1:1",
        api_key="AIza",
    )
    return GeminiProvider(config)


@pytest.fixture(params=["google_ai", "google_vertex"])
def gemini(request: pytest.FixtureRequest) -> GeminiProvider:
    return provider(request.param)


def body_of(gemini: GeminiProvider, **fields: Any) -> dict[str, Any]:
    settings = ModelSettings(provider_type=gemini.provider_type, **fields)
    gemini.check_settings(MODEL, settings)
    request = ModelRequest(model=MODEL, system="", messages=[message("user", "hi")], tools=(TOOL,), settings=settings)
    body = msgspec.json.decode(gemini.encode(request))
    path = f"/v1beta/models/{MODEL}:streamGenerateContent?alt=sse"
    assert not find_violations(path, {"x-goog-api-key": "AIza"}, body, {})
    return body


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        ({"max_output_tokens": 500}, {"maxOutputTokens": 500}),
        ({"temperature": 0.0}, {"temperature": 0.0}),
        ({"temperature": 2.0}, {"temperature": 2.0}),
        ({"response_schema": {"type": "text"}}, {"responseMimeType": "text/plain"}),
        ({"response_schema": {"type": "json_object"}}, {"responseMimeType": "application/json"}),
        (
            {"response_schema": {"type": "json_schema", "json_schema": SCHEMA}},
            {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA},
        ),
        (
            {"response_schema": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}},
            {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA},
        ),
        ({"thinking_config": {"include_thoughts": True}}, {"thinkingConfig": {"includeThoughts": True}}),
        (
            {"thinking_config": {"include_thoughts": False, "thinking_budget": 0}},
            {"thinkingConfig": {"includeThoughts": False, "thinkingBudget": 0}},
        ),
        ({"thinking_config": {"thinking_budget": -1}}, {"thinkingConfig": {"thinkingBudget": -1}}),
        (
            {"max_output_tokens": 9, "temperature": 1.0, "thinking_config": {"thinking_budget": 1024}},
            {"maxOutputTokens": 9, "temperature": 1.0, "thinkingConfig": {"thinkingBudget": 1024}},
        ),
    ],
)
def test_what_is_set_is_sent_and_nothing_else(
    gemini: GeminiProvider, fields: dict[str, Any], sent: dict[str, Any]
) -> None:
    assert body_of(gemini, **fields)["generationConfig"] == sent


@pytest.mark.parametrize("fields", [{}, {"parallel_tool_calls": True}, {"thinking_config": {"thinking_budget": None}}])
def test_without_settings_there_is_nothing_to_say(gemini: GeminiProvider, fields: dict[str, Any]) -> None:
    assert set(body_of(gemini, **fields)) == {"contents", "tools"}


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"parallel_tool_calls": False}, "parallel_tool_calls"),
        ({"temperature": 2.1}, "temperature 2.1"),
        ({"temperature": -0.1}, "temperature -0.1"),
        ({"thinking_config": {"thinking_budget": -2}}, "thinking_config.thinking_budget -2"),
        ({"thinking_config": {"thinking_level": "low"}}, "thinking_config.thinking_level"),
        ({"response_format": {"type": "json_object"}}, "response_format.json_object"),
        ({"strict": True}, "strict"),
        ({"reasoning": {"reasoning_effort": "high"}}, "reasoning.reasoning_effort"),
        ({"effort": "high"}, "effort"),
        ({"thinking": {"type": "enabled"}}, "thinking.type"),
        ({"verbosity": "low"}, "verbosity"),
        ({"tool_call_parser": "qwen"}, "tool_call_parser"),
    ],
)
def test_what_cannot_be_sent_is_refused_with_the_reason(
    gemini: GeminiProvider, fields: dict[str, Any], name: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        body_of(gemini, **fields)
    assert f"model_settings.{name}" in caught.value.message


def test_a_request_that_forbids_parallel_calls_is_refused_too(gemini: GeminiProvider) -> None:
    request = ModelRequest(model=MODEL, system="", messages=(), parallel_tool_calls=False)
    with pytest.raises(InvalidArgument, match="parallel_tool_calls"):
        gemini.encode(request)


@pytest.mark.parametrize("schema", [{"type": "json_schema"}, {"type": "xml"}])
def test_a_schema_that_is_none_is_refused(gemini: GeminiProvider, schema: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match="response_schema"):
        body_of(gemini, response_schema=schema)
