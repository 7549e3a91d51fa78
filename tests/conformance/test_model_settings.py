from typing import Any

import httpx
import pytest
from letta_client import Letta
from letta_client.types import AgentState

from tertulia.domain.provider_types import BY_PREFIX
from tests.conformance.helpers import MakeAgent, detail, send
from tests.conformance.requirements import requirement
from tests.support.anthropic_endpoint import AnthropicEndpoint
from tests.support.openai_endpoint import OpenAIEndpoint

OBJECT = {"type": "json_object"}
SCHEMA: dict[str, Any] = {
    "type": "json_schema",
    "json_schema": {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False},
}
# Every field of each of the 17 shapes that its provider takes, with the model a conversation would name for it.
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "openai": ("openai/gpt-4o", {"strict": True, "response_format": OBJECT, "reasoning": {"reasoning_effort": "low"}}),
    "sglang": (
        "sglang/m",
        {
            "strict": True,
            "response_format": OBJECT,
            "reasoning": {"reasoning_effort": "low"},
            "tool_call_parser": "glm47",
        },
    ),
    "anthropic": (
        "anthropic/claude",
        {
            "strict": True,
            "effort": "high",
            "response_format": SCHEMA,
            "thinking": {"type": "enabled", "budget_tokens": 2000},
            "temperature": 1.0,
            "max_output_tokens": 4321,
        },
    ),
    "google_ai": (
        "google_ai/gemini",
        {"response_schema": OBJECT, "thinking_config": {"include_thoughts": True, "thinking_budget": 100}},
    ),
    "google_vertex": (
        "google_vertex/gemini",
        {"response_schema": OBJECT, "thinking_config": {"include_thoughts": False, "thinking_budget": 100}},
    ),
    "azure": ("azure/gpt", {"response_format": OBJECT}),
    "xai": ("xai/grok", {"response_format": OBJECT}),
    "moonshot": ("moonshot/kimi", {"response_format": OBJECT, "strict": False}),
    "zai": ("zai/glm", {"response_format": OBJECT, "thinking": {"type": "disabled", "clear_thinking": True}}),
    "moonshot_coding": (
        "moonshot_coding/kimi",
        {
            "strict": True,
            "effort": "max",
            "response_format": SCHEMA,
            "thinking": {"type": "disabled"},
        },
    ),
    "groq": ("groq/llama", {"response_format": OBJECT}),
    "deepseek": ("deepseek/chat", {"response_format": OBJECT}),
    "together": ("together/llama", {"response_format": OBJECT}),
    "bedrock": ("bedrock/claude", {"response_format": OBJECT}),
    "baseten": ("baseten/m", {}),
    "openrouter": ("openrouter/m", {"response_format": OBJECT}),
    "chatgpt_oauth": ("chatgpt_oauth/gpt", {"reasoning": {"reasoning_effort": "xhigh"}}),
}
COMMON: dict[str, Any] = {"temperature": 0.25, "max_output_tokens": 321, "parallel_tool_calls": True}


def _shape(provider_type: str) -> dict[str, Any]:
    return {"provider_type": provider_type} | COMMON | SHAPES[provider_type][1]


@requirement("model-settings.refuses-wrong-ones")
@pytest.mark.parametrize("provider_type", SHAPES)
@pytest.mark.parametrize(
    "wrong", [{"temperature": "hot"}, {"max_output_tokens": "many"}, {"parallel_tool_calls": "perhaps"}, {"no_such": 1}]
)
def test_a_wrong_field_of_model_settings_is_refused(
    client: Letta, agent: AgentState, provider_type: str, wrong: dict[str, Any]
) -> None:
    settings: Any = _shape(provider_type) | wrong
    said = detail(422, lambda: client.agents.update(agent.id, model_settings=settings))
    assert next(iter(wrong)) in said


@requirement("model-settings.refuses-another-providers")
def test_settings_of_another_provider_than_the_models_are_refused(client: Letta, agent: AgentState) -> None:
    assert "anthropic" in detail(
        400, lambda: client.agents.update(agent.id, model_settings={"provider_type": "anthropic"})
    )


@requirement("model-settings.reach-the-provider")
def test_every_field_that_is_set_is_in_the_request(
    client: Letta, make_agent: MakeAgent, endpoint: OpenAIEndpoint
) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    settings = _shape("openai") | {
        "parallel_tool_calls": False,
        "response_format": {"type": "json_schema", "json_schema": {"name": "reply", "schema": schema}},
    }
    agent = make_agent(model="openai/gpt-5-mini", model_settings=settings)
    send(client, "default", agent_id=agent.id)
    sent = endpoint.wait_for_requests(1)[0].body
    assert sent["temperature"] == 0.25
    assert 321 in {sent.get("max_tokens"), sent.get("max_completion_tokens")}
    assert sent["parallel_tool_calls"] is False
    assert sent["reasoning_effort"] == "low"
    assert sent["response_format"]["json_schema"]["name"] == "reply"
    assert all(tool["function"]["strict"] is True for tool in sent["tools"])


@requirement("model-settings.reach-anthropic")
@pytest.mark.parametrize("provider_type", ["anthropic", "moonshot_coding"])
def test_every_field_of_the_messages_dialect_that_is_set_is_in_the_request(
    client: Letta, make_agent: MakeAgent, messages_endpoint: AnthropicEndpoint, provider_type: str
) -> None:
    settings: Any = _shape(provider_type)
    agent = make_agent(model=f"{provider_type}/claude-sonnet-4-5", model_settings=settings)
    reply = send(client, "default", agent_id=agent.id)
    assert reply.stop_reason.stop_reason == "end_turn"
    sent = messages_endpoint.requests[0].body
    assert sent["temperature"] == settings["temperature"]
    assert sent["max_tokens"] == settings["max_output_tokens"]
    assert sent["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": False}
    assert sent["thinking"] == settings["thinking"]
    assert sent["output_config"] == {
        "effort": settings["effort"],
        "format": {"type": "json_schema", "schema": SCHEMA["json_schema"]},
    }
    assert all(tool["strict"] is True for tool in sent["tools"])


@requirement("model-settings.carried-over")
def test_what_another_model_takes_of_the_settings_is_carried_over_and_the_rest_is_named(
    client: Letta, http: httpx.Client, make_agent: MakeAgent, messages_endpoint: AnthropicEndpoint
) -> None:
    settings: Any = {
        "provider_type": "openai",
        "max_output_tokens": 123,
        "parallel_tool_calls": False,
        "reasoning": {"reasoning_effort": "low"},
    }
    agent = make_agent(model="openai/gpt-5-mini", model_settings=settings)
    conversation = client.conversations.create(agent_id=agent.id, model="openai/gpt-5-mini", model_settings=settings)
    for path in (f"/v1/agents/{agent.id}", f"/v1/conversations/{conversation.id}"):
        reply = http.patch(path, json={"model": "anthropic/claude-sonnet-4-5"})
        assert reply.status_code == 200, reply.text
        assert reply.headers["x-tertulia-dropped"] == "reasoning"
        shown = reply.json()["model_settings"]
        assert (shown["provider_type"], shown["max_output_tokens"]) == ("anthropic", 123)
    send(client, conversation.id)
    assert messages_endpoint.requests[0].body["max_tokens"] == 123


@requirement("model-settings.carried-over")
def test_settings_of_the_same_request_go_before_what_is_carried_over(http: httpx.Client, make_agent: MakeAgent) -> None:
    given: Any = {"provider_type": "openai", "max_output_tokens": 123}
    agent = make_agent(model="openai/gpt-4o", model_settings=given)

    def changed(**fields: Any) -> dict[str, Any]:
        return http.patch(f"/v1/agents/{agent.id}", json=fields).json()["model_settings"]

    assert changed(model="anthropic/claude-sonnet-4-5", max_tokens=77)["max_output_tokens"] == 77
    assert (
        changed(model="openai/gpt-4o", model_settings={"provider_type": "openai", "temperature": 0.5})["temperature"]
        == 0.5
    )


@requirement("model-settings.refuses-inexpressible")
@pytest.mark.parametrize("provider_type", ["anthropic", "moonshot_coding"])
@pytest.mark.parametrize("wrong", [{"verbosity": "low"}, {"response_format": OBJECT}, {"temperature": 1.5}])
def test_a_setting_the_provider_has_no_parameter_for_is_refused_when_it_is_set(
    client: Letta, make_agent: MakeAgent, provider_type: str, wrong: dict[str, Any]
) -> None:
    model, _ = SHAPES[provider_type]
    settings: Any = {"provider_type": provider_type} | wrong
    agent = make_agent(model=model)
    conversation = client.conversations.create(agent_id=agent.id)
    named = next(iter(wrong))
    assert named in detail(400, lambda: client.agents.update(agent.id, model_settings=settings))
    assert named in detail(400, lambda: client.agents.create(model=model, model_settings=settings))
    assert named in detail(400, lambda: client.conversations.update(conversation.id, model_settings=settings))


@requirement("model-settings.not-configured")
@pytest.mark.parametrize("provider_type", sorted(set(SHAPES) - {"openai", "anthropic", "moonshot_coding"}))
def test_a_model_of_a_provider_that_is_not_configured_is_refused_with_what_to_set(
    client: Letta, agent: AgentState, provider_type: str
) -> None:
    row = BY_PREFIX[provider_type]
    for request in (
        lambda: client.agents.create(model=f"{provider_type}/some-model"),
        lambda: client.agents.update(agent.id, model=f"{provider_type}/some-model"),
    ):
        assert (row.login or row.needs[0]) in detail(400, request)
