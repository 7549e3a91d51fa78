"""The built-in tools, called by a scripted model."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from letta_client import Letta
from letta_client.types import AgentState

from tests.conformance.helpers import MakeAgent, of_type, send
from tests.conformance.requirements import requirement
from tests.support.openai_endpoint import TIMEOUT, ChatRequest, Gate, OpenAIEndpoint, Pause, Reply, call, calls, text

ALL_TOOLS = [
    "memory",
    "memory_insert",
    "memory_replace",
    "memory_rethink",
    "core_memory_append",
    "core_memory_replace",
    "conversation_search",
]
NOTES = "line one\nline two\nline three"

# Calls a tool once and gives its status, what the model was told, and the blocks afterwards.
Use = Callable[[str, dict[str, Any]], tuple[str, str, dict[str, str]]]


@pytest.fixture
def keeper(make_agent: MakeAgent) -> AgentState:
    return make_agent(
        tools=ALL_TOOLS,
        include_base_tools=False,
        memory_blocks=[
            {"label": "notes", "value": NOTES, "limit": 60},
            {"label": "fixed", "value": "never changes", "read_only": True},
        ],
    )


@pytest.fixture
def use(client: Letta, keeper: AgentState, endpoint: OpenAIEndpoint) -> Use:
    def use_tool(name: str, arguments: dict[str, Any]) -> tuple[str, str, dict[str, str]]:
        endpoint.reset()
        endpoint.script(calls(call(name, arguments, "call_t")), text("done"))
        (returned,) = of_type(send(client, "default", agent_id=keeper.id).messages, "tool_return_message")
        told = list(endpoint.wait_for_requests(2)[1].tool_results.values())[-1]
        blocks = {str(block.label): block.value for block in client.agents.blocks.list(keeper.id)}
        return returned.status, told, blocks

    return use_tool


@requirement("memory-tools.edit")
@pytest.mark.parametrize(
    ("name", "arguments", "notes"),
    [
        ("memory_insert", {"label": "notes", "new_string": "zero", "insert_line": 0}, f"zero\n{NOTES}"),
        (
            "memory_insert",
            {"label": "notes", "new_string": "1b", "insert_line": 1},
            "line one\n1b\nline two\nline three",
        ),
        ("memory_insert", {"label": "notes", "new_string": "end", "insert_line": -1}, f"{NOTES}\nend"),
        ("memory_insert", {"label": "notes", "new_string": "end"}, f"{NOTES}\nend"),
        (
            "memory_replace",
            {"label": "notes", "old_string": "line two", "new_string": "line 2"},
            "line one\nline 2\nline three",
        ),
        ("memory_replace", {"label": "notes", "old_string": "line two\n", "new_string": ""}, "line one\nline three"),
        ("memory_rethink", {"label": "notes", "new_memory": "all new"}, "all new"),
        ("core_memory_append", {"label": "notes", "content": "more"}, f"{NOTES}\nmore"),
        (
            "core_memory_replace",
            {"label": "notes", "old_content": "three", "new_content": "3"},
            "line one\nline two\nline 3",
        ),
    ],
)
def test_a_memory_tool_edits_its_block(use: Use, name: str, arguments: dict[str, Any], notes: str) -> None:
    status, _, blocks = use(name, arguments)
    assert status == "success"
    assert blocks == {"notes": notes, "fixed": "never changes"}


@requirement("memory-tools.omni-tool")
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            {"command": "create", "path": "/memories/plans", "description": "What comes next.", "file_text": "rest"},
            {"notes": NOTES, "plans": "rest"},
        ),
        (
            {"command": "str_replace", "path": "/memories/notes", "old_string": "two", "new_string": "2"},
            {"notes": "line one\nline 2\nline three"},
        ),
        (
            {"command": "insert", "path": "/memories/notes", "insert_line": 1, "insert_text": "1b"},
            {"notes": "line one\n1b\nline two\nline three"},
        ),
        ({"command": "delete", "path": "/memories/notes"}, {}),
        ({"command": "rename", "old_path": "/memories/notes", "new_path": "/memories/facts"}, {"facts": NOTES}),
    ],
    ids=["create", "str_replace", "insert", "delete", "rename"],
)
def test_the_omni_tool_creates_edits_renames_and_deletes_blocks(
    use: Use, arguments: dict[str, Any], expected: dict[str, str]
) -> None:
    status, told, blocks = use("memory", arguments)
    assert status == "success", told
    assert blocks == expected | {"fixed": "never changes"}


@requirement("memory-tools.refuse")
@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("memory_replace", {"label": "notes", "old_string": "line four", "new_string": "x"}, "old_string"),
        ("memory_replace", {"label": "notes", "old_string": "line", "new_string": "x"}, "3 times"),
        ("memory_insert", {"label": "notes", "new_string": "x", "insert_line": 99}, "99"),
        ("core_memory_append", {"label": "notes", "content": "x" * 60}, "60"),
        ("core_memory_append", {"label": "fixed", "content": "x"}, "read"),
        ("memory_rethink", {"label": "fixed", "new_memory": "x"}, "read"),
        ("core_memory_replace", {"label": "notes", "old_content": "nowhere", "new_content": "x"}, "old_content"),
        ("memory_replace", {"label": "absent", "old_string": "a", "new_string": "b"}, "absent"),
        (
            "memory",
            {"command": "str_replace", "path": "/memories/notes", "old_string": "nowhere", "new_string": "x"},
            "old_string",
        ),
        ("memory", {"command": "explode", "path": "/memories/notes"}, "explode"),
        ("memory", {"command": "delete", "path": "/memories/absent"}, "absent"),
    ],
)
def test_an_impossible_edit_changes_nothing_and_tells_the_model_why(
    use: Use, name: str, arguments: dict[str, Any], says: str
) -> None:
    status, told, blocks = use(name, arguments)
    assert status == "error"
    assert says in told
    assert blocks == {"notes": NOTES, "fixed": "never changes"}


@requirement("memory-tools.recompiled-within-the-run")
def test_an_edit_is_in_the_system_prompt_of_the_next_message(
    client: Letta, keeper: AgentState, endpoint: OpenAIEndpoint
) -> None:
    endpoint.script(calls(call("memory_rethink", {"label": "notes", "new_memory": "a new thought"})), text("done"))
    send(client, "default", agent_id=keeper.id)
    send(client, "default", agent_id=keeper.id)
    assert "a new thought" in endpoint.wait_for_requests(3)[2].system


@requirement("conversation-search.finds-the-agents-messages")
def test_conversation_search_finds_words_of_every_conversation_of_the_agent(
    client: Letta, keeper: AgentState, make_agent: MakeAgent, endpoint: OpenAIEndpoint
) -> None:
    other = client.conversations.create(agent_id=keeper.id)
    send(client, other.id, "My aubergine won a prize.")
    stranger = make_agent()
    send(client, "default", "Nobody else's aubergine counts.", agent_id=stranger.id)
    endpoint.reset()
    endpoint.script(calls(call("conversation_search", {"query": "aubergine"}, "call_s")), text("done"))
    send(client, "default", "What did I grow?", agent_id=keeper.id)
    found = endpoint.wait_for_requests(2)[1].tool_results["call_s"]
    assert "My aubergine won a prize." in found
    assert "Nobody else" not in found


@requirement("conversation-search.any-query")
@pytest.mark.parametrize("query", ['"', "AND", "a OR", "x*", "(", "-", "", "NEAR(a b)", "col:x", "日本", "'; DROP"])
def test_conversation_search_takes_any_query(use: Use, query: str) -> None:
    _, told, _ = use("conversation_search", {"query": query})
    assert "syntax" not in told.lower()
    assert "fts5" not in told.lower()


@requirement("conversation-search.roles-limit-and-dates")
def test_conversation_search_narrows_by_role_limit_and_date(use: Use, client: Letta, keeper: AgentState) -> None:
    for number in range(3):
        send(client, "default", f"walnut number {number}", agent_id=keeper.id)
    status, told, _ = use("conversation_search", {"query": "walnut", "limit": 1, "roles": ["user"]})
    assert status == "success"
    assert told.count("walnut number") == 1
    _, told, _ = use("conversation_search", {"query": "walnut", "roles": ["assistant"]})
    assert "walnut number" not in told
    _, told, _ = use("conversation_search", {"query": "walnut", "end_date": "2020-01-01"})
    assert "walnut number" not in told
    _, told, _ = use("conversation_search", {"query": "walnut", "start_date": "2020-01-01"})
    assert "walnut number" in told


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


@requirement("memory.edits-of-two-conversations-are-both-kept")
def test_edits_that_two_conversations_make_at_once_are_both_kept(
    client: Letta, keeper: AgentState, endpoint: OpenAIEndpoint, pool: ThreadPoolExecutor
) -> None:
    gate = Gate()
    wanted = {"first": "apple", "second": "pear"}

    def reply(request: ChatRequest) -> Reply:
        edit = calls(call("core_memory_append", {"label": "notes", "content": wanted[request.last_user_text]}))
        last = request.messages[-1]
        if last["role"] == "user":
            return [Pause(gate), *edit]
        # A model that is told of a clash looks again and repeats its edit.
        return edit if "changed" in last["content"] else text("done")

    endpoint.answer_with(reply)
    talks = [client.conversations.create(agent_id=keeper.id).id for _ in wanted]
    sends = [pool.submit(send, client, talk, said) for talk, said in zip(talks, wanted, strict=True)]
    endpoint.wait_for_requests(2)
    gate.open()
    for outcome in sends:
        returned = of_type(outcome.result(TIMEOUT).messages, "tool_return_message")[-1]
        assert returned.status == "success", returned.tool_return
    notes = client.agents.blocks.retrieve("notes", agent_id=keeper.id).value
    assert notes.startswith(NOTES)
    assert sorted(notes.removeprefix(NOTES).split()) == ["apple", "pear"]


@requirement("memory.clash-goes-back-to-the-model")
def test_of_two_rewrites_of_one_line_the_second_learns_that_it_came_too_late(
    client: Letta, keeper: AgentState, endpoint: OpenAIEndpoint, pool: ThreadPoolExecutor
) -> None:
    gate = Gate()

    def reply(request: ChatRequest) -> Reply:
        if request.tool_results:
            return text("done")
        edit = {"label": "notes", "old_string": "line two", "new_string": request.last_user_text}
        return [Pause(gate), *calls(call("memory_replace", edit))]

    endpoint.answer_with(reply)
    talks = [client.conversations.create(agent_id=keeper.id).id for _ in range(2)]
    sends = [pool.submit(send, client, talk, said) for talk, said in zip(talks, ("mine", "yours"), strict=True)]
    endpoint.wait_for_requests(2)
    gate.open()
    returns = [of_type(outcome.result(TIMEOUT).messages, "tool_return_message")[0] for outcome in sends]
    assert sorted(returned.status for returned in returns) == ["error", "success"]
    winner = ("mine", "yours")[[returned.status for returned in returns].index("success")]
    assert client.agents.blocks.retrieve("notes", agent_id=keeper.id).value == f"line one\n{winner}\nline three"


@requirement("memory.rewrite-against-a-newer-block-is-refused")
def test_a_rewrite_of_a_block_the_model_has_not_seen_is_refused(
    client: Letta, keeper: AgentState, endpoint: OpenAIEndpoint, pool: ThreadPoolExecutor
) -> None:
    gate = Gate()
    rewrite = calls(call("memory_rethink", {"label": "notes", "new_memory": "my view of it"}, "call_r"))
    endpoint.script([Pause(gate), *rewrite], text("I see."))
    outcome = pool.submit(send, client, "default", agent_id=keeper.id)
    gate.wait_reached()
    client.agents.blocks.update("notes", agent_id=keeper.id, value="a fact the model has not seen")
    gate.open()
    (returned,) = of_type(outcome.result(TIMEOUT).messages, "tool_return_message")
    assert returned.status == "error"
    assert "changed" in endpoint.requests[1].tool_results["call_r"]
    assert client.agents.blocks.retrieve("notes", agent_id=keeper.id).value == "a fact the model has not seen"
