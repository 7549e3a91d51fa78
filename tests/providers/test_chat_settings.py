"""Settings, and what servers of the Chat Completions dialect make of them."""

from typing import Any

import pytest

from tertulia.domain.errors import InvalidArgument
from tertulia.domain.provider_types import BY_PREFIX, COMPATIBLE
from tertulia.providers.openai.chat_quirks import quirks_of
from tests.support.chat_bodies import body_of, settings
from tests.support.tool_specs import SEARCH


def test_every_setting_that_was_set_is_sent() -> None:
    body = body_of(
        settings=settings(
            temperature=0.0,
            max_output_tokens=100,
            reasoning={"reasoning_effort": "low"},
            verbosity="high",
            response_format={"type": "json_object"},
        )
    )
    assert {key: body[key] for key in body if key not in {"model", "messages", "stream", "stream_options"}} == {
        "temperature": 0.0,
        "max_tokens": 100,
        "reasoning_effort": "low",
        "verbosity": "high",
        "response_format": {"type": "json_object"},
    }


@pytest.mark.parametrize(
    ("model", "at", "name"),
    [
        ("gpt-4o", "openai", "max_completion_tokens"),
        ("llama3", "v1", "max_tokens"),
        ("gpt-5-mini", "v1", "max_completion_tokens"),
        ("openai/o3-mini", "v1", "max_completion_tokens"),
        ("gpt-5-mini", "ollama", "max_tokens"),
    ],
)
def test_the_length_of_a_reply_is_limited_under_the_name_that_is_understood(model: str, at: str, name: str) -> None:
    body = body_of(model=model, at=at, settings=settings(max_output_tokens=7))
    assert {key: body[key] for key in body if key.startswith("max_")} == {name: 7}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"type": "text"}, {"type": "text"}),
        ({"type": "json_object"}, {"type": "json_object"}),
        (
            {"type": "json_schema", "json_schema": {"type": "object"}},
            {"type": "json_schema", "json_schema": {"name": "response", "schema": {"type": "object"}}},
        ),
        (
            {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": {"type": "object"}}},
            {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": {"type": "object"}}},
        ),
    ],
)
def test_response_formats_are_wrapped_as_the_dialect_wants(given: dict[str, Any], said: dict[str, Any]) -> None:
    assert body_of(settings=settings(response_format=given))["response_format"] == said


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"effort": "high"}, "effort"),
        ({"thinking": {"type": "enabled"}}, "thinking"),
        ({"thinking_config": {"include_thoughts": True}}, "thinking_config"),
        ({"response_schema": {"type": "text"}}, "response_schema"),
        ({"tool_call_parser": "glm47"}, "tool_call_parser"),
        ({"reasoning": {"reasoning_effort": "low", "summary": "auto"}}, "reasoning.summary"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"response_format": {"type": "xml"}}, "response_format"),
    ],
)
def test_a_setting_that_cannot_be_said_is_refused_by_name(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidArgument, match=named):
        body_of(settings=settings(**wrong))


def test_servers_without_stream_options_get_none() -> None:
    assert "stream_options" not in body_of(at="mistral")


def test_the_cache_key_goes_only_where_it_is_known() -> None:
    assert "prompt_cache_key" not in body_of(cache_key="conv-1")
    assert body_of(cache_key="conv-1", at="openai")["prompt_cache_key"] == "conv-1"


@pytest.mark.parametrize(
    ("base_url", "name"),
    [
        ("https://api.openai.com/v1", "openai"),
        ("https://mine.openai.azure.com/openai/v1", "azure"),
        ("https://api.deepseek.com/v1", "deepseek"),
        ("https://api.moonshot.cn/v1", "moonshot"),
    ],
)
def test_a_server_of_no_particular_type_is_known_by_its_host(base_url: str, name: str) -> None:
    assert quirks_of(COMPATIBLE, base_url) == quirks_of(BY_PREFIX[name], "http://127.0.0.1:1")
    assert quirks_of(COMPATIBLE, f"https://not{base_url.split('.', 1)[1]}").imitates


@pytest.mark.parametrize(
    ("at", "wrong"),
    [
        ("deepseek", {"parallel_tool_calls": False}),
        ("deepseek", {"response_format": {"type": "json_schema", "json_schema": {"type": "object"}}}),
        ("zai", {"response_format": {"type": "json_schema", "json_schema": {"type": "object"}}}),
        ("sglang", {"tool_call_parser": "glm47"}),
        ("ollama", {"strict": True}),
    ],
)
def test_what_a_server_does_not_take_is_refused(at: str, wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(InvalidArgument, match=name):
        body_of(tools=(SEARCH,), settings=settings(**wrong), at=at)


def test_parallel_calls_are_not_asked_for_where_they_need_no_asking() -> None:
    assert "parallel_tool_calls" not in body_of(tools=(SEARCH,), settings=settings(parallel_tool_calls=True), at="zai")


def test_zai_is_told_how_to_think() -> None:
    thinking = {"type": "enabled", "clear_thinking": False}
    assert body_of(settings=settings(thinking=thinking), at="zai")["thinking"] == thinking
