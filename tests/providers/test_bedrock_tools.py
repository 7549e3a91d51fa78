"""Tools and settings in a Converse body."""

from typing import Any

import msgspec
import pytest
from msgspec import structs

from tertulia.domain.messages import Message
from tertulia.domain.models import ModelSettings
from tertulia.ports.provider import ModelRequest
from tertulia.providers.encoding.tool_names import tool_name
from tests.support.bedrock_bodies import CLAUDE, LLAMA, LOOK, MISTRAL, NOVA, body_of, encoder, written
from tests.support.histories import answer, call, message


def test_nothing_is_sent_that_nobody_asked_for() -> None:
    request = ModelRequest(model=LLAMA, system=" ", messages=[message("user", "hi")])
    assert encoder().encode(request) == b'{"messages":[{"role":"user","content":[{"text":"hi"}]}]}'


def test_tools_are_described_as_far_as_they_are() -> None:
    bare = structs.replace(LOOK, name="bare one", description=" ", parameters={})
    specs = [tool["toolSpec"] for tool in body_of(message("user", "hi"), tools=(LOOK, bare))["toolConfig"]["tools"]]
    assert specs == [
        {"name": "look", "description": "Looks.", "inputSchema": {"json": LOOK.parameters}},
        {"name": tool_name("bare one"), "inputSchema": {"json": {"type": "object", "properties": {}}}},
    ]


HISTORY = (message("user", "go"), written(call("a")), answer("a"))
STUB = [{"toolSpec": {"name": "look", "inputSchema": {"json": {"type": "object"}}}}]


def test_tools_of_the_past_are_declared_where_none_is_on_offer() -> None:
    body = body_of(*HISTORY, tools=())
    assert body["toolConfig"] == {"tools": STUB}
    assert body["additionalModelRequestFields"] == {"tool_choice": {"type": "none"}}
    assert body_of(*HISTORY, tools=(), model=NOVA)["toolConfig"] == {"tools": STUB}
    assert "toolConfig" not in body_of(message("user", "hi"), tools=())


def choice_of(model: str, *messages: Message, **fields: Any) -> tuple[Any, Any]:
    """Converse's own choice of a tool, and Anthropic's beside it."""
    body = body_of(*(messages or (message("user", "hi"),)), model=model, **fields)
    config, extra = body.get("toolConfig", {}), body.get("additionalModelRequestFields", {})
    return config.get("toolChoice"), extra.get("tool_choice")


CHOICES: list[tuple[str, str, tuple[Any, Any]]] = [
    (CLAUDE, "auto", (None, None)),
    (CLAUDE, "required", ({"any": {}}, None)),
    (CLAUDE, "look", ({"tool": {"name": "look"}}, None)),
    (CLAUDE, "none", (None, {"type": "none"})),
    (NOVA, "look", ({"tool": {"name": "look"}}, None)),
    (MISTRAL, "look", ({"any": {}}, None)),
    (LLAMA, "required", (None, None)),
]


@pytest.mark.parametrize(("model", "choice", "sent"), CHOICES)
def test_a_choice_of_tools_is_told_as_the_model_takes_it(model: str, choice: str, sent: tuple[Any, Any]) -> None:
    assert choice_of(model, tool_choice=choice) == sent


def test_models_that_cannot_be_forbidden_tools_are_offered_none() -> None:
    assert "toolConfig" not in body_of(message("user", "hi"), model=NOVA, tool_choice="none")
    assert body_of(*HISTORY, model=NOVA, tool_choice="none")["toolConfig"] == {"tools": STUB}


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("auto", (None, {"disable_parallel_tool_use": True, "type": "auto"})),
        ("look", ({"tool": {"name": "look"}}, {"disable_parallel_tool_use": True})),
        ("none", (None, {"type": "none"})),
    ],
)
def test_parallel_calls_are_turned_off_in_the_choice(choice: str, sent: tuple[Any, Any]) -> None:
    wanted = ModelSettings(provider_type="bedrock", parallel_tool_calls=False)
    assert choice_of(CLAUDE, tool_choice=choice, settings=wanted) == sent
    assert choice_of(CLAUDE, tool_choice=choice, parallel_tool_calls=False) == sent
    assert choice_of(CLAUDE, tool_choice=choice, settings=wanted, tools=()) == (None, None)


def test_settings_are_sent_at_their_places() -> None:
    wanted = ModelSettings(provider_type="bedrock", max_output_tokens=100, temperature=0.5)
    body = body_of(message("user", "hi"), settings=wanted)
    assert body["inferenceConfig"] == {"maxTokens": 100, "temperature": 0.5}
    assert "outputConfig" not in body


SCHEMA = {"type": "object", "properties": {"é": {"type": "string"}}}


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (SCHEMA, {}),
        ({"name": "reply", "schema": SCHEMA, "strict": True}, {"name": "reply"}),
        ({"schema": SCHEMA, "name": "r", "description": "What to say."}, {"name": "r", "description": "What to say."}),
    ],
)
def test_a_schema_for_replies_is_sent_as_text(given: dict[str, Any], named: dict[str, Any]) -> None:
    wanted = ModelSettings(
        provider_type="bedrock", response_format={"type": "json_schema", "json_schema": given}, max_output_tokens=9
    )
    body = body_of(message("user", "hi"), settings=wanted)
    form = body["outputConfig"]["textFormat"]
    assert form["type"] == "json_schema"
    described = form["structure"]["jsonSchema"]
    assert msgspec.json.decode(described.pop("schema")) == SCHEMA
    assert described == named
    assert body["inferenceConfig"] == {"maxTokens": 9}
