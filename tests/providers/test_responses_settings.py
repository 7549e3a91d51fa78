"""Every setting of the Responses dialect: what it becomes on the wire, or why it is refused when it is set."""

from typing import Any

import msgspec
import pytest

from tertulia.domain.errors import InvalidArgument
from tertulia.domain.models import ModelSettings
from tertulia.domain.provider_types import BY_PREFIX
from tertulia.ports.provider import ModelRequest
from tertulia.providers.chatgpt.adapter import ChatGPTProvider
from tertulia.providers.endpoint import EndpointConfig
from tertulia.providers.openai.adapter import OpenAIProvider
from tertulia.providers.openai.responses_adapter import ResponsesProvider
from tests.support.responses_requests import Issued, find_violations
from tests.support.tool_specs import ANYTHING, SEARCH

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}
ALWAYS = {"model", "input", "stream", "store", "include", "instructions", "tools"}
HEADERS = {"authorization": "Bearer sk", "chatgpt-account-id": "a", "originator": "o"}


def openai() -> OpenAIProvider:
    return OpenAIProvider(
        EndpointConfig(name="openai", type=BY_PREFIX["openai"], base_url="http://127.0.0.1:1/v1", api_key="k")
    )


def chatgpt() -> ChatGPTProvider:
    tokens = '{"access_token": "a", "refresh_token": "r", "account_id": "acc"}'
    row = BY_PREFIX["chatgpt_oauth"]
    return ChatGPTProvider(EndpointConfig(name="chatgpt", type=row, base_url="http://127.0.0.1:1", api_key=tokens))


def sent(
    settings: dict[str, Any] | None, target: OpenAIProvider | ResponsesProvider | None = None, **fields: Any
) -> dict[str, Any]:
    """The body with these settings, which are first checked as when they are set."""
    target = target or openai()
    given = None if settings is None else ModelSettings(provider_type=target.provider_type, **settings)
    if given is not None:
        target.check_settings("gpt-5", given)
    fields = {"tools": (SEARCH,), "system": "Be terse.", **fields}
    body = msgspec.json.decode(target.encode(ModelRequest(model="gpt-5", messages=(), settings=given, **fields)))
    assert not find_violations(HEADERS, body, Issued(), at_chatgpt=isinstance(target, ChatGPTProvider))
    return body


@pytest.mark.parametrize("settings", [None, {}])
def test_nothing_is_sent_that_nobody_set(settings: dict[str, Any] | None) -> None:
    assert set(sent(settings)) == ALWAYS


MAPPED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"max_output_tokens": 16}, {"max_output_tokens": 16}),
    ({"temperature": 0.0}, {"temperature": 0.0}),
    ({"parallel_tool_calls": False}, {"parallel_tool_calls": False}),
    ({"parallel_tool_calls": True}, {"parallel_tool_calls": True}),
    *(
        ({"reasoning": {"reasoning_effort": effort}}, {"reasoning": {"effort": effort}})
        for effort in ("none", "minimal", "low", "medium", "high", "xhigh")
    ),
    ({"reasoning": {}}, {}),
    ({"reasoning": {"reasoning_effort": None}}, {}),
    ({"verbosity": "low"}, {"text": {"verbosity": "low"}}),
    ({"response_format": {"type": "text"}}, {"text": {"format": {"type": "text"}}}),
    ({"response_format": {"type": "json_object"}}, {"text": {"format": {"type": "json_object"}}}),
    (
        {"response_format": {"type": "json_schema", "json_schema": SCHEMA}, "verbosity": "high"},
        {"text": {"format": {"type": "json_schema", "name": "response", "schema": SCHEMA}, "verbosity": "high"}},
    ),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": SCHEMA}}},
        {"text": {"format": {"type": "json_schema", "name": "n", "strict": True, "schema": SCHEMA}}},
    ),
]


@pytest.mark.parametrize(("settings", "wire"), MAPPED)
def test_a_setting_arrives_as_its_parameter_and_nothing_else_does(
    settings: dict[str, Any], wire: dict[str, Any]
) -> None:
    body = sent(settings)
    assert {key: body[key] for key in wire} == wire
    assert set(body) == ALWAYS | set(wire)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"max_output_tokens": 15}, "at least 16"),
    ({"temperature": 2.5}, "temperature"),
    ({"effort": "low"}, "effort"),
    ({"thinking": {"type": "enabled"}}, "thinking"),
    ({"reasoning": {"reasoning_effort": "low", "summary": "auto"}}, "reasoning.summary"),
    ({"response_schema": {"type": "text"}}, "response_schema"),
    ({"thinking_config": {"include_thoughts": True}}, "thinking_config"),
    ({"tool_call_parser": "x"}, "tool_call_parser"),
    ({"response_format": {"type": "yaml"}}, "response_format"),
    ({"response_format": {"type": "json_schema", "json_schema": {}}}, "json_schema"),
]
REFUSED_BY_CHATGPT: list[tuple[dict[str, Any], str]] = [
    ({"max_output_tokens": 100}, "max_output_tokens.*takes no limit"),
    ({"temperature": 1.0}, "temperature.*takes no temperature"),
]


@pytest.mark.parametrize(
    ("target", "settings", "named"),
    [
        *((openai, *case) for case in REFUSED),
        *((chatgpt, *case) for case in REFUSED_BY_CHATGPT + REFUSED[2:]),
    ],
)
def test_what_cannot_be_expressed_is_refused_when_it_is_set_and_when_it_is_sent(
    target: Any, settings: dict[str, Any], named: str
) -> None:
    given = ModelSettings(provider_type="openai", **settings)
    with pytest.raises(InvalidArgument, match=named):
        target().check_settings("gpt-5", given)
    with pytest.raises(InvalidArgument, match=named):
        target().encode(ModelRequest(model="gpt-5", system="", messages=(), settings=given))


def test_every_field_of_the_settings_is_either_mapped_or_refused() -> None:
    tested = {name for settings, _ in [*MAPPED, *REFUSED] for name in settings}
    assert tested == {*ModelSettings.__struct_fields__} - {"provider_type", "strict"}  # strict has its own tests


def test_strict_tools_have_strict_schemas_where_that_is_possible() -> None:
    search, anything = sent({"strict": True}, tools=(SEARCH, ANYTHING))["tools"]
    assert search["strict"] is True
    assert search["parameters"] == {
        "type": "object",
        "properties": {"query": {"type": "string"}, "limit": {"type": ["integer", "null"]}},
        "required": ["query", "limit"],
        "additionalProperties": False,
    }
    assert (anything["strict"], anything["parameters"]) == (False, ANYTHING.parameters)


def test_tools_that_are_not_to_be_strict_are_not() -> None:
    assert sent({"strict": False})["tools"][0]["strict"] is False


def test_the_requests_own_word_on_parallel_calls_goes_before_the_settings() -> None:
    assert sent({"parallel_tool_calls": True}, parallel_tool_calls=False)["parallel_tool_calls"] is False


def test_without_tools_nothing_is_said_of_them() -> None:
    assert set(sent({"parallel_tool_calls": False, "strict": True}, tools=())) == ALWAYS - {"tools"}


def test_chatgpt_is_told_what_it_insists_on_and_nothing_that_it_refuses() -> None:
    body = sent({"reasoning": {"reasoning_effort": "high"}, "parallel_tool_calls": True}, chatgpt(), system="")
    assert set(body) == ALWAYS | {"reasoning", "parallel_tool_calls"}


def test_settings_of_a_model_that_does_not_reason_are_those_of_chat_completions() -> None:
    given = ModelSettings(provider_type="openai", max_output_tokens=5)
    target = openai()
    target.check_settings("gpt-4o", given)
    body = msgspec.json.decode(target.encode(ModelRequest(model="gpt-4o", system="", messages=(), settings=given)))
    assert "messages" in body
