"""The older words for a model and its settings, without a server."""

from typing import Any

import pytest

from tertulia.api.wire.agents import CreateAgentBody, UpdateAgentBody
from tertulia.api.wire.shorthands import check_description, read_words, with_shorthands
from tertulia.domain.errors import InvalidArgument, Unsupported
from tertulia.domain.models import ModelCard, ModelSettings

CONFIG: dict[str, Any] = {"model": "gpt-4o", "model_endpoint_type": "openai", "context_window": 8000}
CARD = ModelCard(
    handle="openai/gpt-4o",
    name="gpt-4o",
    provider_name="openai",
    provider_type="openai",
    endpoint_type="openai",
    context_window=128_000,
    endpoint="https://api.openai.com/v1",
)


def _settings(provider_type: str, **words: Any) -> ModelSettings | None:
    return with_shorthands(None, read_words(CreateAgentBody(**words)).settings, provider_type)


@pytest.mark.parametrize(
    ("provider_type", "words", "expected"),
    [
        ("openai", {"max_tokens": 9}, {"max_output_tokens": 9}),
        ("baseten", {"parallel_tool_calls": False}, {"parallel_tool_calls": False}),
        ("xai", {"response_format": {"type": "text"}}, {"response_format": {"type": "text"}}),
        ("google_ai", {"response_format": {"type": "text"}}, {"response_schema": {"type": "text"}}),
        ("anthropic", {"reasoning": True}, {"thinking": {"type": "enabled"}}),
        (
            "anthropic",
            {"enable_reasoner": True, "max_reasoning_tokens": 2000},
            {"thinking": {"type": "enabled", "budget_tokens": 2000}},
        ),
        ("zai", {"reasoning": False}, {"thinking": {"type": "disabled"}}),
        (
            "google_vertex",
            {"reasoning": True, "max_reasoning_tokens": 7},
            {"thinking_config": {"include_thoughts": True, "thinking_budget": 7}},
        ),
        ("groq", {"reasoning": False}, {}),
        ("groq", {"enable_reasoner": True}, {}),
        ("openai", {"reasoning": True}, {}),
        ("openai", {"reasoning": False}, {}),
        ("openai", {"max_reasoning_tokens": 0, "max_tokens": 1}, {"max_output_tokens": 1}),
        (
            "openai",
            {"llm_config": {**CONFIG, "reasoning_effort": "low", "temperature": 0.1, "max_tokens": 5}},
            {"reasoning": {"reasoning_effort": "low"}, "temperature": 0.1, "max_output_tokens": 5},
        ),
    ],
)
def test_a_word_goes_to_its_place_in_the_shape(
    provider_type: str, words: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert _settings(provider_type, **words) == ModelSettings(provider_type=provider_type, **expected)


@pytest.mark.parametrize(
    ("provider_type", "words"),
    [
        ("zai", {"max_reasoning_tokens": 5}),
        ("baseten", {"response_format": {"type": "text"}}),
        ("openai", {"llm_config": {**CONFIG, "verbosity": "low"}}),
        ("chatgpt_oauth", {"llm_config": {**CONFIG, "reasoning_effort": "minimal"}}),
    ],
)
def test_a_word_without_a_meaning_for_the_provider_type_is_refused(provider_type: str, words: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match=r"^INVALID_ARGUMENT: "):
        _settings(provider_type, **words)


def test_no_words_make_no_settings() -> None:
    assert _settings("openai") is None
    assert _settings("openai", max_tokens=None, reasoning=None) is None


def test_words_and_settings_of_one_request_have_to_agree() -> None:
    settings = ModelSettings(provider_type="openai", max_output_tokens=5, temperature=1.0)
    assert with_shorthands(settings, {"max_tokens": 5}, "openai") == settings
    with pytest.raises(InvalidArgument, match="contradict each other"):
        with_shorthands(settings, {"max_tokens": 6}, "openai")
    with pytest.raises(InvalidArgument, match="contradict each other"):
        read_words(CreateAgentBody(reasoning=True, enable_reasoner=False))
    with pytest.raises(InvalidArgument, match="contradict each other"):
        read_words(CreateAgentBody.model_validate({"model": "openai/o3", "llm_config": CONFIG}))


def test_words_change_stored_settings_and_null_clears_them() -> None:
    stored = ModelSettings(provider_type="openai", max_output_tokens=5, temperature=1.0)
    words = read_words(UpdateAgentBody(max_tokens=6, parallel_tool_calls=True)).settings
    changed = with_shorthands(stored, words, "openai", overriding=True)
    assert changed == ModelSettings(
        provider_type="openai", max_output_tokens=6, temperature=1.0, parallel_tool_calls=True
    )
    cleared = with_shorthands(changed, read_words(UpdateAgentBody(max_tokens=None)).settings, "openai", overriding=True)
    assert cleared == ModelSettings(provider_type="openai", temperature=1.0, parallel_tool_calls=True)


def test_llm_config_names_the_model_and_its_window() -> None:
    words = read_words(CreateAgentBody.model_validate({"llm_config": CONFIG}))
    assert (words.model, words.context_window_limit) == ("openai/gpt-4o", 8000)
    words = read_words(CreateAgentBody.model_validate({"llm_config": {**CONFIG, "handle": "ollama/x"}}))
    assert words.model == "ollama/x"


def test_llm_config_may_describe_the_model_only_as_it_is() -> None:
    described = {**CONFIG, "model_endpoint": "https://api.openai.com/v1"}
    check_description(read_words(CreateAgentBody.model_validate({"llm_config": described})), CARD)
    for lie in ({"model_endpoint": "http://elsewhere/v1"}, {"model_endpoint_type": "groq"}):
        words = read_words(CreateAgentBody.model_validate({"llm_config": {**CONFIG, **lie}}))
        with pytest.raises(InvalidArgument, match="decides where"):
            check_description(words, CARD)


@pytest.mark.parametrize("name", ["model_wrapper", "tier", "frequency_penalty", "put_inner_thoughts_in_kwargs"])
def test_what_no_provider_is_told_of_is_refused(name: str) -> None:
    value: Any = {"frequency_penalty": 0.5, "put_inner_thoughts_in_kwargs": True}.get(name, "x")
    with pytest.raises(Unsupported, match=name):
        read_words(CreateAgentBody.model_validate({"llm_config": {**CONFIG, name: value}}))
