"""The compiled system prompt: what it holds, and that its bytes change only when its sources do."""

from datetime import timedelta

from msgspec.structs import replace

from tertulia.context.compiler import compile_system, is_timezone
from tertulia.domain.agents import Agent
from tertulia.domain.blocks import Block
from tests.support.histories import NOON

AGENT = Agent(
    id="agent-1",
    name="Ada",
    agent_type="letta_v1_agent",
    system="Be kind.",
    model="m/x",
    created_at=NOON,
    updated_at=NOON,
)
HUMAN = Block(
    id="block-1", label="human", value="Her name is Ann.", description="Who", created_at=NOON, updated_at=NOON
)


def test_it_holds_instructions_blocks_and_metadata() -> None:
    prompt = compile_system(AGENT, [HUMAN], "conv-1", NOON)
    assert prompt.startswith("Be kind.\n\n<memory_blocks>")
    assert "<human>\n<description>\nWho\n</description>" in prompt
    assert "<value>\nHer name is Ann.\n</value>" in prompt
    assert "- chars_current=16\n- chars_limit=100000" in prompt
    for line in ("- AGENT_ID: agent-1", "- CONVERSATION_ID: conv-1", "- System prompt last recompiled: 2026-11-21"):
        assert line in prompt.split("<memory_metadata>")[1]


def test_the_same_sources_give_the_same_bytes() -> None:
    assert compile_system(AGENT, [HUMAN], "conv-1", NOON) == compile_system(AGENT, [HUMAN], "conv-1", NOON)


def test_every_source_changes_it() -> None:
    prompts = {
        compile_system(AGENT, [HUMAN], "conv-1", NOON),
        compile_system(replace(AGENT, system="Be brief."), [HUMAN], "conv-1", NOON),
        compile_system(AGENT, [replace(HUMAN, value="Bob")], "conv-1", NOON),
        compile_system(AGENT, [replace(HUMAN, read_only=True)], "conv-1", NOON),
        compile_system(AGENT, [], "conv-1", NOON),
        compile_system(AGENT, [HUMAN], "default", NOON),
        compile_system(AGENT, [HUMAN], "conv-1", NOON + timedelta(minutes=1)),
        compile_system(replace(AGENT, timezone="Europe/Madrid"), [HUMAN], "conv-1", NOON),
    }
    assert len(prompts) == 8


def test_instructions_may_say_where_the_memory_goes() -> None:
    agent = replace(AGENT, system="Before. {CORE_MEMORY} After.")
    prompt = compile_system(agent, [HUMAN], "conv-1", NOON)
    assert prompt.startswith("Before. <memory_blocks>")
    assert prompt.endswith("</memory_metadata> After.")


def test_times_are_shown_in_the_agents_timezone() -> None:
    assert "01:00:00 PM CET+0100" in compile_system(replace(AGENT, timezone="Europe/Madrid"), [], "conv-1", NOON)


def test_a_timezone_is_an_iana_name() -> None:
    assert is_timezone("America/New_York")
    assert not is_timezone("Mars/Olympus")
    assert not is_timezone("../etc/passwd")
