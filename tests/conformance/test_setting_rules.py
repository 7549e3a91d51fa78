"""Every setting of every provider type, sent through the API and looked for where docs/providers.md says."""

from __future__ import annotations

import contextlib
import json
from functools import partial
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import pytest
from letta_client import APIStatusError, Letta

from tertulia.domain.provider_types import PROVIDER_TYPES
from tertulia.providers.setting_rules import Implied, Refused, Sent, on_the_wire
from tests.conformance.helpers import detail, send, unique
from tests.conformance.make_provider_docs import DOCUMENT, document
from tests.conformance.provider_settings import VARIANTS, Variant, settings_of, values_of
from tests.conformance.requirements import requirement
from tests.support.capturing_server import CapturingServer
from tests.support.server_process import ForkedServer, ServerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
VALUES: dict[str, list[Any]] = {
    "max_output_tokens": [4321, 5432],
    "temperature": [1.0, 0.5],
    # Not the value in force first: to set that changes nothing, and is sent no other way than before.
    "parallel_tool_calls": [False, True],
    "strict": [True, False],
    "thinking.budget_tokens": [2048],
    "thinking.clear_thinking": [True, False],
    "thinking_config.include_thoughts": [True, False],
    "thinking_config.thinking_budget": [1024, 0],
    "tool_call_parser": ["glm47"],
}
# What grows and changes by itself from request to request.
CONVERSATION = {"messages", "system", "input", "instructions", "contents", "systemInstruction", "prompt_cache_key"}
# What is sent unasked, because the API takes no request without or does something else without.
INSISTED_ON = {"anthropic": ("max_tokens",), "openai": ("tools[].strict",), "chatgpt": ("tools[].strict",)}
TOKENS = json.dumps({"access_token": "a", "refresh_token": "r", "account_id": "account"})


@pytest.fixture(scope="module")
def captured() -> Iterator[CapturingServer]:
    with CapturingServer() as server:
        yield server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, captured: CapturingServer) -> Iterator[ServerProcess]:
    """A server with every provider there is, each below a path of its own of the one that captures."""
    environment = {"TERTULIA_MODEL_RETRIES": "0", "TERTULIA_DEFAULT_MODEL": "groq/some-model"}
    for row in PROVIDER_TYPES:
        environment[row.url_variables[0]] = f"{captured.url}/{row.name}"
        environment |= dict.fromkeys(row.key_variables[:1], "key")
    environment |= {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
    environment |= {"GOOGLE_CLOUD_PROJECT": "project"}
    environment["TERTULIA_ENDPOINTS"] = json.dumps({"lab": {"base_url": f"{captured.url}/lab"}})
    with ForkedServer(tmp_path_factory.mktemp("server") / "data", environment) as server:
        yield server


@pytest.fixture
def agent_id(client: Letta, http: httpx.Client, variant: Variant) -> str:
    if variant.row.login is not None and handle(variant).split("/")[0] not in str(http.get("/v1/providers/").json()):
        account = {"name": variant.row.name, "provider_type": variant.row.provider_type, "api_key": TOKENS}
        assert http.post("/v1/providers/", json=account).status_code == 200
    return client.agents.create(name=unique("agent"), model=handle(variant)).id


def handle(variant: Variant) -> str:
    return f"{variant.row.name or 'lab'}/{variant.model}"


def values(variant: Variant, name: str) -> list[Any]:
    if name.endswith("json_schema"):
        return [SCHEMA]
    if name.startswith(("response_format.", "response_schema.")):
        return [name.split(".")[1]]
    return VALUES.get(name) or values_of(variant.shape, name)


def settings(variant: Variant, given: dict[str, Any]) -> Any:
    """The settings as a client writes them, of values by their names."""
    found: dict[str, Any] = {"provider_type": variant.settings_type}
    for name, value in given.items():
        field, _, inner = name.partition(".")
        if field in {"response_format", "response_schema"}:
            found[field] = {"type": inner} | ({"json_schema": value} if inner == "json_schema" else {})
        elif inner:
            found.setdefault(field, {})[inner] = value
        else:
            found[field] = value
    return found


def rounds(variant: Variant) -> list[dict[str, Any]]:
    """Settings to give at once, so that every value of each that can be given is in one of them."""
    columns: dict[str, list[tuple[str, Any]]] = {}
    for name in settings_of(variant.shape):
        rule = variant.rules[name]
        if not isinstance(rule, Refused):
            column = columns.setdefault(name if not name.startswith("response_") else "format", [])
            column += [(name, value) for value in values(variant, name) if not _is_refused(rule.refused, value)]
    found = [dict(filter(None, row)) for row in zip_longest(*columns.values())]
    for given in found:
        if given.get("thinking.type") != "enabled":
            given.pop("thinking.budget_tokens", None)
    return found


def refusals(variant: Variant) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name in settings_of(variant.shape):
        rule = variant.rules[name]
        found += [
            (name, value)
            for value in values(variant, name)
            if isinstance(rule, Refused) or _is_refused(rule.refused, value)
        ]
    return found


def _is_refused(refused: Any, value: Any) -> bool:
    return not isinstance(value, dict) and value in refused


def body_of(client: Letta, captured: CapturingServer, variant: Variant, conversation_id: str) -> dict[str, Any]:
    """What a message of the conversation makes the provider be sent."""
    path = f"/{handle(variant).split('/')[0]}/"
    captured.taken(path)
    with contextlib.suppress(APIStatusError):  # most are answered with an error, once the body is kept
        send(client, conversation_id, "Hello.")
    (body,) = captured.taken(path)
    return body


def at(body: Any, path: str) -> list[Any]:
    """What is there: one value, or one of each element of a list."""
    if not path:
        return [body]
    name, _, rest = path.partition(".")
    if name.endswith("[]"):
        return [found for element in _field(body, name[:-2]) for found in at(element, rest)]
    inner = _field(body, name)
    return [] if inner is None else at(inner, rest)


def _field(body: Any, name: str) -> Any:
    fields = json.loads(body) if isinstance(body, str) else body
    # Google's tools are in a list of their own within the one element of another.
    return fields.get(name)


def assert_sent(variant: Variant, given: dict[str, Any], body: dict[str, Any], bare: dict[str, Any]) -> None:
    """Everything given is at its place, and nothing else is new."""
    expected: set[str] = set()
    for name, value in given.items():
        rule = variant.rules[name]
        if isinstance(rule, Implied):
            continue
        assert isinstance(rule, Sent)
        wire = on_the_wire(rule, value)
        if name == "thinking.type" and "thinking.budget_tokens" in given:
            wire = "enabled"
        found = at(body, rule.path)
        assert found, f"{name} is not at {rule.path} of {body}"
        assert all(wire in (one, _decoded(one)) for one in found), f"{name} is {found} at {rule.path}"
        expected.add(rule.path.split(".")[0].removesuffix("[]"))
    new = {key for key in body if key not in CONVERSATION and body[key] != bare.get(key)}
    assert new <= expected
    assert set(bare) - set(body) == set()


def _decoded(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value


@requirement("model-settings.on-the-wire")
@pytest.mark.parametrize("variant", VARIANTS, ids=handle)
def test_every_setting_arrives_where_the_page_says_and_nothing_else_does(
    client: Letta, captured: CapturingServer, variant: Variant, agent_id: str
) -> None:
    bare = body_of(client, captured, variant, client.conversations.create(agent_id=agent_id).id)
    for rule in variant.rules.values():
        if isinstance(rule, Sent) and rule.path not in INSISTED_ON.get(variant.row.dialect, ()):
            assert at(bare, rule.path) in ([], [None])
    for given in rounds(variant):
        conversation = client.conversations.create(agent_id=agent_id)
        client.conversations.update(conversation.id, model_settings=settings(variant, given))
        assert_sent(variant, given, body_of(client, captured, variant, conversation.id), bare)
    for given in rounds(variant):
        client.agents.update(agent_id, model_settings=settings(variant, given))
        conversation = client.conversations.create(agent_id=agent_id)
        assert_sent(variant, given, body_of(client, captured, variant, conversation.id), bare)


@requirement("model-settings.every-shape")
@pytest.mark.parametrize("variant", VARIANTS, ids=handle)
def test_every_shape_of_model_settings_is_stored_and_returned_whole(
    client: Letta, variant: Variant, agent_id: str
) -> None:
    given = settings(variant, rounds(variant)[0])
    created = client.agents.create(model=handle(variant), model_settings=given)
    conversation = client.conversations.create(agent_id=agent_id)
    client.conversations.update(conversation.id, model=handle(variant), model_settings=given)
    for shown in (client.agents.retrieve(created.id), client.conversations.retrieve(conversation.id)):
        assert shown.model == handle(variant)
        assert _that_are_set(shown.to_dict()["model_settings"]) == given


def _that_are_set(fields: Any) -> dict[str, Any]:
    """Without the fields that are null, which is how an answer shows what nobody set."""
    return {
        key: _that_are_set(value) if isinstance(value, dict) else value
        for key, value in fields.items()
        if value is not None
    }


@requirement("model-settings.refused-when-set")
@pytest.mark.parametrize("variant", VARIANTS, ids=handle)
def test_what_cannot_be_sent_is_refused_wherever_it_is_set(client: Letta, variant: Variant, agent_id: str) -> None:
    conversation = client.conversations.create(agent_id=agent_id)
    another = "groq" if variant.settings_type != "groq" else "xai"
    wrong = [(name.split(".")[0], settings(variant, {name: value})) for name, value in refusals(variant)]
    other: Any = {"provider_type": another}
    for named, given in [*wrong, (another, other)]:
        compaction: Any = {"model": handle(variant), "model_settings": given}
        for change in (
            partial(client.agents.update, agent_id, model_settings=given),
            partial(client.agents.create, model=handle(variant), model_settings=given),
            partial(client.conversations.update, conversation.id, model_settings=given),
            partial(client.agents.update, agent_id, compaction_settings=compaction),
        ):
            assert named in detail(400, change)


@requirement("model-settings.of-the-summarizer")
@pytest.mark.parametrize("variant", [row for row in VARIANTS if row.row.name == "groq"], ids=handle)
def test_the_settings_of_the_summarizer_go_the_same_way(
    client: Letta, captured: CapturingServer, variant: Variant, agent_id: str
) -> None:
    given = {"temperature": 0.25, "max_output_tokens": 777}
    conversation = client.conversations.create(agent_id=agent_id)
    bare, *_ = (body_of(client, captured, variant, conversation.id) for _ in range(4))
    compaction: Any = {"model": handle(variant), "model_settings": settings(variant, given)}
    client.conversations.messages.compact(conversation.id, compaction_settings=compaction)
    (body,) = captured.taken("/groq/")
    assert {key: body[key] for key in ("temperature", "max_completion_tokens")} == {
        "temperature": 0.25,
        "max_completion_tokens": 777,
    }
    assert set(body) - set(bare) <= {"temperature", "max_completion_tokens"}


@pytest.mark.parametrize("variant", VARIANTS, ids=handle)
def test_every_field_of_a_shape_has_a_rule(variant: Variant) -> None:
    assert set(settings_of(variant.shape)) <= set(variant.rules)


def test_the_page_is_the_one_the_tables_give() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(), "run: python -m tests.conformance.make_provider_docs"
