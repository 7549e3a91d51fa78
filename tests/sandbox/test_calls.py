"""What ordinary tools are given, and what comes back of them."""

import asyncio
import gc
import os
from types import MappingProxyType

import msgspec
import pytest

from tertulia.ports.sandbox import SandboxRequest, SandboxUnavailable
from tertulia.sandbox.service import ConfinedSandbox
from tertulia.tools.custom import tool_outcome
from tests.sandbox.conftest import SMALL, Machine, is_running


def test_json_comes_back_as_it_is_and_anything_else_as_its_repr(machine: Machine) -> None:
    value = {"a": "wörd", "n": [1, 2.5, None, True]}

    assert machine.run("def tool(x):\n    return x\n", x=value).result == value
    assert machine.run("def tool():\n    return {1, 2}\n").result == "{1, 2}"
    assert machine.run("def tool():\n    return '\\ud800'\n").result == "'\\ud800'"


def test_coroutines_are_awaited(machine: Machine) -> None:
    assert machine.run("import asyncio\nasync def tool():\n    await asyncio.sleep(0)\n    return 5\n").result == 5


def test_an_exception_comes_back_with_the_tools_own_lines(machine: Machine) -> None:
    outcome = machine.run("def helper():\n    raise KeyError('gone')\n\ndef tool():\n    helper()\n")

    assert outcome.error == "KeyError: 'gone'"
    assert outcome.traceback is not None
    assert outcome.traceback.splitlines()[1] == '  File "<tool>", line 5, in tool'
    assert "runner.py" not in outcome.traceback


def test_source_that_cannot_be_read_is_an_error_of_the_tool(machine: Machine) -> None:
    assert "SyntaxError" in (machine.run("def tool(:\n").error or "")


def test_output_of_the_tool_and_its_programs_comes_back(machine: Machine) -> None:
    outcome = machine.run(
        "import subprocess, sys\n"
        "def tool():\n"
        "    print('one', flush=True)\n"
        "    subprocess.run(['/bin/echo', 'two'], check=True)\n"
        "    print('three', file=sys.stderr)\n"
    )

    assert (outcome.status, outcome.stdout, outcome.stderr) == ("success", "one\ntwo\n", "three\n")


def test_a_tool_sees_the_environment_given_to_it_and_no_more(machine: Machine) -> None:
    source = "import os\ndef tool():\n    return dict(os.environ)\n"
    request = SandboxRequest(source=source, function="tool", arguments={}, environment=MappingProxyType({"KEY": "v"}))

    seen = machine.do(lambda sandbox: sandbox.run(request)).result

    assert seen.pop("KEY") == "v"
    assert set(seen) <= {"PATH", "HOME", "TMPDIR", "LANG", "LC_CTYPE"}


def test_changes_to_the_agents_state_come_back(machine: Machine) -> None:
    source = """
def tool(agent_state):
    block = agent_state.memory.get_block("human")
    agent_state.memory.update_block_value("human", value=block.value + "!")
    return agent_state.memory.list_block_labels() + [agent_state["name"]]
"""
    blocks = [{"label": "human", "value": "old"}, {"label": "persona", "value": "p"}]
    state = {"name": "Ada", "memory": {"blocks": blocks}}
    request = SandboxRequest(source=source, function="tool", arguments={}, agent_state=state)

    outcome = machine.do(lambda sandbox: sandbox.run(request))
    assert outcome.result == ["human", "persona", "Ada"]
    assert outcome.agent_state == {
        "name": "Ada",
        "memory": {"blocks": [{"label": "human", "value": "old!"}, {"label": "persona", "value": "p"}]},
    }


def test_a_call_that_takes_too_long_names_the_limit(machine: Machine) -> None:
    limits = msgspec.structs.replace(SMALL, wall_time_s=0.3)

    outcome = machine.run(
        "import time\ndef tool():\n    print('begun', flush=True)\n    time.sleep(60)\n", limits=limits
    )

    assert (outcome.limit, outcome.stdout) == ("wall_time", "begun\n")


def test_cancelling_a_call_ends_its_whole_tree(machine: Machine) -> None:
    source = "import subprocess\ndef tool():\n    subprocess.run(['/bin/sleep', '4712.5'])\n"

    async def cancelled(sandbox: ConfinedSandbox) -> None:
        task = asyncio.create_task(sandbox.run(SandboxRequest(source=source, function="tool", arguments={})))
        while not is_running("4712.5"):  # noqa: ASYNC110 -- another process sets no event
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(5):
            while is_running("4712.5"):  # noqa: ASYNC110
                await asyncio.sleep(0)

    machine.do(cancelled)


def test_fifty_calls_at_once_all_answer_and_leave_no_descriptors(machine: Machine) -> None:
    async def fifty(sandbox: ConfinedSandbox) -> list[object]:
        request = SandboxRequest(source="def tool():\n    return 1\n", function="tool", arguments={})
        return [outcome.result for outcome in await asyncio.gather(*(sandbox.run(request) for _ in range(50)))]

    machine.do(fifty)
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    assert machine.do(fifty) == [1] * 50
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_what_this_server_does_not_run_is_refused_with_the_reason(machine: Machine) -> None:
    request = SandboxRequest(source="x", function="tool", arguments={}, source_type="typescript")

    with pytest.raises(SandboxUnavailable, match="TypeScript"):
        machine.do(lambda sandbox: sandbox.run(request))


def test_a_failed_call_is_told_to_the_model_without_its_traceback(machine: Machine) -> None:
    told = tool_outcome("f", machine.run("def tool():\n    raise KeyError('gone')\n"))

    assert (told.content, told.status) == ("Error executing function f: KeyError: 'gone'", "error")
    assert "line 2, in tool" in told.stderr[0]
