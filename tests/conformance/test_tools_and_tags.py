from typing import Any

from letta_client import Letta

from tests.conformance.helpers import MakeAgent, detail, unique
from tests.conformance.requirements import requirement

BUILT_IN = {
    "memory",
    "memory_insert",
    "memory_replace",
    "memory_rethink",
    "core_memory_append",
    "core_memory_replace",
    "conversation_search",
    "send_message",
}


@requirement("tools.list.has-the-built-in-tools")
def test_every_built_in_tool_is_listed_with_its_schema(client: Letta) -> None:
    tools = {tool.name: tool for tool in client.tools.list()}
    assert set(tools) >= BUILT_IN
    for name in BUILT_IN:
        schema: Any = tools[name].json_schema
        assert schema is not None
        assert schema["name"] == name
        assert schema["parameters"]["type"] == "object"
        assert tools[name].description
        assert str(tools[name].tool_type).startswith("letta_")


@requirement("tools.list.filters")
def test_tools_are_found_by_name_type_and_text(client: Letta) -> None:
    every = {tool.name: tool for tool in client.tools.list()}

    def found(**query: Any) -> set[Any]:
        return {tool.name for tool in client.tools.list(**query)}

    kind = str(every["memory_insert"].tool_type)
    assert found(name="memory_insert") == {"memory_insert"}
    assert found(names=["memory_insert", "send_message", "nothing"]) == {"memory_insert", "send_message"}
    assert found(tool_ids=[every["memory"].id]) == {"memory"}
    assert found(search="conversation_sea") == {"conversation_search"}
    assert found(tool_types=[kind]) == {name for name, tool in every.items() if tool.tool_type == kind}
    assert found(exclude_tool_types=[kind]) == {name for name, tool in every.items() if tool.tool_type != kind}
    assert found(return_only_letta_tools=True) >= BUILT_IN
    assert found(name="nothing") == set()


@requirement("tools.list.order-and-cursors")
def test_tools_come_page_by_page(client: Letta) -> None:
    every = [tool.id for tool in client.tools.list(order="asc").items]
    assert [tool.id for tool in client.tools.list(order="desc").items] == every[::-1]
    assert [tool.id for tool in client.tools.list(order="asc", limit=3, after=every[1]).items] == every[2:5]
    assert [tool.id for tool in client.tools.list(order="asc", limit=3)] == every


@requirement("tools.retrieve.unknown-is-404")
def test_a_tool_is_retrieved_by_id(client: Letta) -> None:
    tool = client.tools.list(name="memory_insert").items[0]
    assert client.tools.retrieve(tool.id) == tool
    missing = "tool-00000000-0000-4000-8000-000000000000"
    assert missing in detail(404, lambda: client.tools.retrieve(missing))


@requirement("tags.list.names-every-tag-once")
def test_tags_are_listed_once_in_order_and_page_by_page(client: Letta, make_agent: MakeAgent) -> None:
    base = unique("tag")
    names = [f"{base}-{letter}" for letter in "abc"]
    make_agent(tags=names)
    make_agent(tags=names[:1])
    assert client.tags.list(query_text=base) == names
    assert client.tags.list(query_text=base, order="desc") == names[::-1]
    assert client.tags.list(query_text=base, limit=2) == names[:2]
    assert client.tags.list(query_text=base, after=names[0]) == names[1:]
    assert client.tags.list(query_text=base, before=names[2]) == names[:2]
    assert client.tags.list(name=names[1]) == [names[1]]
