from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.conformance.helpers import MakeAgent, answer, detail, of_type, send, unique
from tests.conformance.requirements import requirement
from tests.support.openai_endpoint import call, calls, text

if TYPE_CHECKING:
    import httpx
    from letta_client import Letta
    from letta_client.types import Tool

    from tests.support.openai_endpoint import OpenAIEndpoint

ROLL = '''
import random

def _die(sides):
    return random.Random(7).randint(1, sides)

def {name}(count: int, sides: "int | None" = 6, label: str = "dice"):
    """
    Roll dice.

    Args:
        count (int): How many.
        sides (int): Of each.
        label (str): What to call them.
    """
    print("rolling", label)
    return {"rolled": [_die(sides) for _ in range(count)], "label": label}
'''


def make(client: Letta, **fields: Any) -> Tool:
    return client.tools.create(source_code=source_of(new_name()), **fields)


def source_of(name: str) -> str:
    return ROLL.replace("{name}", name)


def new_name() -> str:
    return unique("f").replace("-", "_")


@requirement("tools.create.schema-from-source")
def test_a_tool_has_the_schema_of_the_last_function_of_its_source(client: Letta) -> None:
    name = new_name()
    tool = client.tools.create(
        source_code=source_of(name),
        tags=["games", "games"],
        pip_requirements=[{"name": "six", "version": "1.16.0"}, {"name": "idna"}],
        return_char_limit=100,
        enable_parallel_execution=True,
    )
    assert (tool.name, tool.tool_type, tool.source_type, tool.description) == (name, "custom", "python", "Roll dice.")
    schema: Any = tool.json_schema
    assert schema["parameters"]["required"] == ["count"]
    assert schema["parameters"]["properties"]["sides"]["description"] == "Of each."
    assert tool.tags == ["games", "games"]
    assert [each.version for each in tool.pip_requirements or ()] == ["1.16.0", None]
    assert (tool.return_char_limit, tool.enable_parallel_execution) == (100, True)
    assert client.tools.retrieve(tool.id) == tool
    assert [each.id for each in client.tools.list(name=name)] == [tool.id]
    assert next(iter(client.tools.list())).id == tool.id


@requirement("tools.create.refuses-what-it-cannot-read")
@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("def f(:\n  pass", "invalid syntax"),
        ("x = 1", "No functions found"),
        ('def f(a: int):\n  """D."""', "lacks a description"),
        ("def f(a: int):\n  pass", "missing docstring"),
        ('def f(a):\n  """D.\n\n  Args:\n    a: A.\n  """', "lacks a type annotation"),
        ("  ", "source_code"),
    ],
)
def test_a_source_that_cannot_be_understood_is_refused_with_the_reason(client: Letta, source: str, reason: str) -> None:
    before = [tool.id for tool in client.tools.list(tool_types=["custom"])]
    assert reason in detail(400, lambda: client.tools.create(source_code=source))
    assert [tool.id for tool in client.tools.list(tool_types=["custom"])] == before


@requirement("tools.create.is-an-upsert", "tools.upsert.keeps-tags")
def test_a_tool_of_the_same_name_is_replaced_and_keeps_its_id(client: Letta) -> None:
    name = new_name()
    first = client.tools.create(source_code=source_of(name), tags=["a"], return_char_limit=10)
    other = f'def {name}():\n    """Other."""\n    return 1\n'
    second = client.tools.upsert(source_code=other)
    assert (second.id, second.tags, second.return_char_limit, second.description) == (first.id, ["a"], 50_000, "Other.")
    assert client.tools.create(source_code=other, tags=[]).tags == []
    assert "built-in" in detail(409, lambda: client.tools.create(source_code='def memory():\n    """M."""\n'))


@requirement("tools.update.renews-the-schema")
def test_a_changed_source_changes_what_the_model_is_told(client: Letta) -> None:
    name, renamed = new_name(), new_name()
    tool = client.tools.create(source_code=source_of(name), tags=["kept"])
    source = f'def {renamed}(a: str):\n    """New.\n\n    Args:\n        a: A.\n    """\n    return a\n'
    changed = client.tools.update(tool.id, source_code=source)
    schema: Any = changed.json_schema
    assert (changed.id, changed.name, changed.description, changed.tags) == (tool.id, renamed, "New.", ["kept"])
    assert (schema["name"], list(schema["parameters"]["properties"])) == (renamed, ["a"])
    assert client.tools.update(tool.id, description="Said otherwise.").description == "Said otherwise."
    other = client.tools.create(source_code=source_of(name))
    assert renamed in detail(409, lambda: client.tools.update(other.id, source_code=source))
    built_in = next(iter(client.tools.list(name="memory")))
    assert "built-in" in detail(400, lambda: client.tools.update(built_in.id, tags=["x"]))


@requirement("tools.delete.takes-it-from-its-agents")
def test_a_deleted_tool_is_gone_from_its_agents(client: Letta, make_agent: MakeAgent, endpoint: OpenAIEndpoint) -> None:
    tool = make(client)
    agent = make_agent(tool_ids=[tool.id], include_base_tools=False)
    assert [each.name for each in client.agents.tools.list(agent.id)] == [tool.name]
    client.tools.delete(tool.id)
    assert client.agents.retrieve(agent.id).tools == []
    assert tool.id in detail(404, lambda: client.tools.delete(tool.id))
    assert tool.id in detail(404, lambda: client.agents.tools.attach(tool.id, agent_id=agent.id))
    endpoint.script(text("fine"))
    assert answer(send(client, "default", agent_id=agent.id)) == "fine"
    assert endpoint.wait_for_requests(1)[0].tool_names == []
    built_in = next(iter(client.tools.list(name="memory")))
    assert "built-in" in detail(400, lambda: client.tools.delete(built_in.id))


@requirement("tools.search.by-words")
def test_tools_are_found_by_the_words_of_what_they_do(client: Letta) -> None:
    word = unique("w").replace("-", "")
    named = client.tools.create(source_code=f'def {word}_fetch():\n    """Get it."""\n')
    told = client.tools.create(source_code=f'def {new_name()}():\n    """Looks at {word} closely."""\n', tags=["t"])
    found = client.tools.search(query=word)
    assert [each.tool.id for each in found] == [named.id, told.id]
    assert found[0].combined_score > found[1].combined_score
    assert [each.tool.id for each in client.tools.search(query=word, tags=["t"])] == [told.id]
    assert client.tools.search(query=word, tool_types=["letta_core"]) == []
    assert len(client.tools.search(limit=3)) == 3


@requirement("tools.custom.runs-in-a-message")
def test_a_call_of_a_custom_tool_is_run_and_shown(
    client: Letta, make_agent: MakeAgent, endpoint: OpenAIEndpoint
) -> None:
    tool = make(client)
    agent = make_agent(tool_ids=[tool.id], include_base_tools=False)
    endpoint.script(calls(call(str(tool.name), {"count": 2}, "call_a")), text("done"))
    response = send(client, "default", agent_id=agent.id)
    (returned,) = of_type(response.messages, "tool_return_message")
    assert (returned.status, returned.stdout) == ("success", ["rolling dice\n"])
    assert returned.tool_return == "{'rolled': [3, 3], 'label': 'dice'}"
    first, second = endpoint.wait_for_requests(2)
    assert first.tool_names == [tool.name]
    assert second.tool_results["call_a"]
    assert answer(response) == "done"


@requirement("tools.custom.runs-in-a-message")
def test_a_custom_tool_that_fails_is_an_error_that_the_model_reads(
    client: Letta, make_agent: MakeAgent, endpoint: OpenAIEndpoint
) -> None:
    name = new_name()
    tool = client.tools.create(source_code=f'def {name}():\n    """F."""\n    raise KeyError("gone")\n')
    agent = make_agent(tool_ids=[tool.id], include_base_tools=False)
    endpoint.script(calls(call(name, {}, "call_a")), text("sorry"))
    response = send(client, "default", agent_id=agent.id)
    (returned,) = of_type(response.messages, "tool_return_message")
    assert returned.status == "error"
    assert returned.tool_return == f"Error executing function {name}: KeyError: 'gone'"
    assert "line 3" in returned.stderr[0]
    assert answer(response) == "sorry"


@requirement("agents.tools.run.json")
def test_a_tool_that_is_run_by_a_client_returns_json(client: Letta, make_agent: MakeAgent) -> None:
    tool = make(client)
    agent = make_agent(tool_ids=[tool.id], memory_blocks=[{"label": "human", "value": ""}])
    result = client.agents.tools.run(str(tool.name), agent_id=agent.id, args={"count": 1, "label": "w"})
    assert (result.status, result.func_return, result.stdout) == (
        "success",
        {"rolled": [3], "label": "w"},
        ["rolling w\n"],
    )
    failed = client.agents.tools.run(str(tool.name), agent_id=agent.id)
    assert (failed.status, failed.func_return) == ("error", None)
    assert "missing 1 required positional argument: 'count'" in (failed.stderr or [""])[0]
    assert "nope" in detail(404, lambda: client.agents.tools.run("nope", agent_id=agent.id))
    inserted = client.agents.tools.run(
        "memory_insert", agent_id=agent.id, args={"label": "human", "new_string": "Likes tea."}
    )
    assert inserted.status == "success", inserted.stderr


@requirement("tools.custom.agent-state")
def test_a_tool_reads_and_changes_the_memory_of_its_agent(client: Letta, make_agent: MakeAgent) -> None:
    name = new_name()
    source = f'''
def {name}(agent_state: "AgentState", note: str) -> str:
    """Remember.

    Args:
        note: What.
    """
    before = agent_state.memory.get_block("human").value
    agent_state.memory.update_block_value(label="human", value=before + note)
    return agent_state.name
'''
    tool = client.tools.create(source_code=source)
    schema: Any = tool.json_schema
    assert list(schema["parameters"]["properties"]) == ["note"]
    agent = make_agent(tool_ids=[tool.id], name="Ada", memory_blocks=[{"label": "human", "value": "Chad. "}])
    assert client.agents.tools.run(name, agent_id=agent.id, args={"note": "Tea."}).func_return == "Ada"
    assert client.agents.blocks.retrieve("human", agent_id=agent.id).value == "Chad. Tea."


@requirement("tools.custom.typed-arguments")
def test_arguments_arrive_as_the_annotations_say(client: Letta, make_agent: MakeAgent) -> None:
    name = new_name()
    source = f'''
from dataclasses import dataclass
from datetime import date
from enum import Enum

@dataclass
class Item:
    sku: str
    price: float

@dataclass
class Place:
    city: str

class Colour(Enum):
    RED = "red"

def {name}(items: list[Item], place: Place, colour: Colour, day: date, unknown: "Nowhere" = None) -> str:
    """Count.

    Args:
        items: I.
        place: P.
        colour: C.
        day: D.
    """
    return f"{{sum(item.price for item in items)}} {{place.city}} {{colour.name}} {{day.year}}"
'''
    args_json_schema: Any = {"type": "object", "properties": {"items": {"type": "array"}}}
    tool = client.tools.upsert(source_code=source, args_json_schema=args_json_schema)
    assert tool.args_json_schema == args_json_schema
    agent = make_agent(tool_ids=[tool.id])
    result = client.agents.tools.run(
        name,
        agent_id=agent.id,
        args={
            "items": [{"sku": "a", "price": 1.5}, {"sku": "b", "price": 2}],
            "place": {"city": "Cádiz"},
            "colour": "red",
            "day": "2026-12-01",
        },
    )
    assert (result.func_return, result.stderr) == ("3.5 Cádiz RED 2026", [])


@requirement("tools.custom.default-approval")
def test_a_tool_that_asks_for_approval_by_default_brings_its_rule(client: Letta, make_agent: MakeAgent) -> None:
    tool = make(client, default_requires_approval=True)
    rule = ("requires_approval", tool.name)
    created = make_agent(tool_ids=[tool.id])
    attached = make_agent()
    client.agents.tools.attach(tool.id, agent_id=attached.id)
    for agent_id in (created.id, attached.id):
        rules: Any = client.agents.retrieve(agent_id).tool_rules
        assert rule in {(each.type, each.tool_name) for each in rules}


@requirement("tools.create.schema-from-source")
def test_a_schema_can_be_asked_for_and_a_source_run_without_keeping_either(http: httpx.Client) -> None:
    name = new_name()
    before = http.get("/v1/tools/").json()
    schema = http.post("/v1/tools/generate-schema", json={"code": source_of(name)}).json()
    assert schema["name"] == name
    body = {"source_code": source_of(name), "args": {"count": 1}, "env_vars": {"A": "b"}}
    assert http.post("/v1/tools/run", json=body).json()["func_return"] == {"rolled": [3], "label": "dice"}
    assert http.get("/v1/tools/").json() == before
