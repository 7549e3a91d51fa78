"""The memory tools: what they change, what they refuse, and that no edit of somebody else's is lost."""

import asyncio

import pytest

from tertulia.domain.blocks import new_block
from tertulia.domain.tools import ToolOutcome
from tertulia.engine.agents import AgentDraft
from tertulia.ports.tool import ToolContext
from tertulia.tools import BUILTIN_TOOLS
from tests.support.world import World

pytestmark = pytest.mark.anyio

TOOLS = {tool.spec.name: tool for tool in BUILTIN_TOOLS}


class Memory:
    """One agent with a block ``human`` of two lines (limit 40) and a read-only block ``rules``."""

    def __init__(self, world: World, context: ToolContext) -> None:
        self.world = world
        self.context = context

    async def call(self, tool: str, **arguments: object) -> ToolOutcome:
        return await TOOLS[tool].call(arguments, self.context)

    async def values(self) -> dict[str, str]:
        view = await self.world.services.agents.get(self.context.agent_id)
        return {block.label: block.value for block in view.blocks}

    async def human(self) -> str:
        return (await self.values())["human"]

    async def elsewhere(self) -> "Memory":
        """The same agent in a conversation of its own, shown the same memory."""
        conversation_id, agent_id = await self.world.conversation(self.context.agent_id), self.context.agent_id
        context = ToolContext(self.context.store, agent_id, conversation_id, "run-2", dict(self.context.seen_blocks))
        return Memory(self.world, context)


@pytest.fixture
async def memory(world: World) -> Memory:
    view = await world.agent(
        AgentDraft(
            memory_blocks=(
                new_block(label="human", value="Ann\nlikes tea", limit=40),
                new_block(label="rules", value="none", read_only=True),
            )
        )
    )
    seen = {block.id: block.version for block in view.blocks}
    return Memory(world, ToolContext(world.store, view.agent.id, view.agent.id, "run-1", seen))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (None, "Ann\nlikes tea\nnew"),
        (-1, "Ann\nlikes tea\nnew"),
        (0, "new\nAnn\nlikes tea"),
        (1, "Ann\nnew\nlikes tea"),
        (2, "Ann\nlikes tea\nnew"),
    ],
)
async def test_memory_insert_puts_text_after_a_line_or_at_the_end(
    memory: Memory, line: int | None, expected: str
) -> None:
    arguments: dict[str, object] = {} if line is None else {"insert_line": line}
    outcome = await memory.call("memory_insert", label="human", new_string="new", **arguments)
    assert outcome.status == "success"
    assert await memory.human() == expected
    assert expected in str(outcome.content)


async def test_memory_replace_wants_text_that_stands_there_once(memory: Memory) -> None:
    assert (await memory.call("memory_replace", label="human", old_string="tea", new_string="ale")).status == "success"
    assert await memory.human() == "Ann\nlikes ale"
    for old in ("tea", "l"):
        assert (await memory.call("memory_replace", label="human", old_string=old, new_string="")).status == "error"
    assert await memory.human() == "Ann\nlikes ale"


async def test_memory_rethink_writes_the_whole_block(memory: Memory) -> None:
    await memory.call("memory_rethink", label="human", new_memory="Bob")
    assert await memory.human() == "Bob"
    assert (await memory.call("memory_rethink", label="human", new_memory="Cy")).status == "success"


async def test_the_old_tools_append_and_replace(memory: Memory) -> None:
    await memory.call("core_memory_append", label="human", content="at noon")
    assert await memory.human() == "Ann\nlikes tea\nat noon"
    await memory.call("core_memory_replace", label="human", old_content="tea", new_content="ale")
    assert await memory.human() == "Ann\nlikes ale\nat noon"
    assert (
        await memory.call("core_memory_replace", label="human", old_content="tea", new_content="")
    ).status == "error"


async def test_the_omni_tool_creates_edits_renames_and_removes(memory: Memory) -> None:
    await memory.call("memory", command="create", path="/memories/work", description="Jobs", file_text="clerk")
    await memory.call("memory", command="str_replace", path="/memories/work", old_string="clerk", new_string="judge")
    await memory.call("memory", command="insert", path="/memories/work", insert_line=0, insert_text="now:")
    await memory.call("memory", command="rename", old_path="/memories/work", new_path="/memories/job")
    assert (await memory.values())["job"] == "now:\njudge"
    await memory.call("memory", command="delete", path="/memories/job")
    assert set(await memory.values()) == {"human", "rules"}


@pytest.mark.parametrize(
    "arguments",
    [
        {"command": "create", "path": "/memories/human", "file_text": "x"},
        {"command": "create", "file_text": "x"},
        {"command": "rename", "old_path": "/memories/human", "new_path": "/memories/rules"},
        {"command": "delete", "path": "/memories/rules"},
        {"command": "str_replace", "path": "/memories/nothing", "old_string": "a", "new_string": "b"},
        {"command": "sing"},
    ],
)
async def test_the_omni_tool_refuses_what_makes_no_sense(memory: Memory, arguments: dict[str, object]) -> None:
    before = await memory.values()
    assert (await memory.call("memory", **arguments)).status == "error"
    assert await memory.values() == before


async def test_an_edit_past_the_limit_is_refused_with_the_numbers(memory: Memory) -> None:
    outcome = await memory.call("memory_insert", label="human", new_string="x" * 40)
    assert outcome.status == "error"
    assert "54" in str(outcome.content)
    assert "40" in str(outcome.content)
    assert await memory.human() == "Ann\nlikes tea"


async def test_a_read_only_block_is_not_the_agents_to_edit(memory: Memory) -> None:
    for tool, arguments in (
        ("memory_insert", {"new_string": "x"}),
        ("memory_rethink", {"new_memory": "x"}),
        ("core_memory_append", {"content": "x"}),
    ):
        outcome = await memory.call(tool, label="rules", **arguments)
        assert outcome.status == "error"
        assert "read-only" in str(outcome.content)


async def test_an_unknown_label_is_answered_with_those_there_are(memory: Memory) -> None:
    outcome = await memory.call("memory_insert", label="humna", new_string="x")
    assert "human, rules" in str(outcome.content)


async def test_wrong_and_unknown_arguments_are_named(memory: Memory) -> None:
    assert "new_string" in str((await memory.call("memory_insert", label="human")).content)
    assert "shout" in str((await memory.call("memory_insert", label="human", new_string="x", shout=True)).content)


async def test_parts_edited_by_two_conversations_at_once_are_both_kept(memory: Memory) -> None:
    other = await memory.elsewhere()
    await asyncio.gather(
        memory.call("memory_insert", label="human", new_string="reads"),
        other.call("memory_insert", label="human", new_string="writes"),
    )
    assert {"reads", "writes"} <= set((await memory.human()).splitlines())


async def test_rewriting_a_block_that_somebody_else_changed_is_a_clash_and_no_loss(memory: Memory) -> None:
    other = await memory.elsewhere()
    await other.call("memory_insert", label="human", new_string="reads")
    outcome = await memory.call("memory_rethink", label="human", new_memory="Bob")
    assert outcome.status == "error"
    assert "changed by someone else" in str(outcome.content)
    assert "reads" in await memory.human()


async def test_conversation_search_finds_words_of_all_conversations_but_not_the_question(world: World) -> None:
    agent = (await world.agent()).agent
    conversation = await world.conversation(agent.id)
    await world.send(conversation, "the password is swordfish")
    await world.send(agent.id, "nothing of note")
    context = ToolContext(world.store, agent.id, agent.id, "run-1")
    found = await TOOLS["conversation_search"].call({"query": "swordfish"}, context)
    assert "the password is swordfish" in str(found.content)
    assert conversation in str(found.content)
    for arguments in (
        {"query": "swordfish", "roles": ["assistant"]},
        {"query": "swordfish", "end_date": "2020-01-01"},
        {"query": "absent"},
    ):
        assert (await TOOLS["conversation_search"].call(arguments, context)).content == "No messages found."
    wrong = await TOOLS["conversation_search"].call({"query": "x", "start_date": "soon"}, context)
    assert wrong.status == "error"
