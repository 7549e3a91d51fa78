"""Work on strangers' content: done by a child process with limits, of which nothing is ever left."""

import asyncio
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tertulia.ports.apart import WorkFailed
from tertulia.tools.apart import ChildProcesses
from tertulia.tools.apart_protocol import Limits

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]

HTML = "text/html"
SLOW = b"<b>" * 300_000
"""Seconds of work for the parser."""


@pytest.fixture
def apart() -> Iterator[ChildProcesses]:
    processes = ChildProcesses(places=1)
    yield processes
    processes.close()


@pytest.fixture(scope="module")
def quick() -> Iterator[ChildProcesses]:
    """One for all pages, each of which has a few seconds of processor time."""
    processes = ChildProcesses(Limits(cpu_seconds=5), places=1)
    yield processes
    processes.close()


def children() -> set[int]:
    """This process's children that work apart; those that are ending are over by then or have no command line."""
    # Not by /proc/self/task/*/children, which leaves some out while others end.
    found = set[int]()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() and b"apart_child" in (process / "cmdline").read_bytes():
                found.add(int(process.name))
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while it was looked at
    return found


def environment_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


async def begun() -> set[int]:
    """The children, as soon as there is one."""
    while not (pids := children()):  # noqa: ASYNC110  the kernel tells nobody
        await asyncio.sleep(0)
    return pids


async def test_one_child_does_one_piece_of_work_after_the_other(apart: ChildProcesses) -> None:
    assert await apart.run("readable", b"<p>one</p>", HTML) == "one"
    first = children()
    assert await apart.run("readable", b"<p>two</p>", HTML) == "two"
    assert children() == first
    assert len(first) == 1


async def test_a_large_server_keeps_its_child_as_well(apart: ChildProcesses) -> None:
    memory = bytearray(os.urandom(1) * 400_000_000)  # all of it written, so that it is resident
    assert await apart.run("readable", b"<p>one</p>", HTML) == "one"
    first = children()
    assert await apart.run("readable", b"<p>two</p>", HTML) == "two"
    assert memory
    assert len(first) == 1
    assert children() == first


async def test_no_process_is_started_before_there_is_work() -> None:
    ChildProcesses().close()
    assert not children()


async def test_work_that_takes_too_much_processor_time_is_ended_and_the_next_is_done() -> None:
    apart = ChildProcesses(Limits(cpu_seconds=1), places=1)
    with pytest.raises(WorkFailed, match="more time or memory"):
        await apart.run("readable", SLOW, HTML)
    assert await apart.run("readable", b"<p>next</p>", HTML) == "next"
    apart.close()


async def test_work_that_takes_too_long_by_the_clock_is_ended() -> None:
    apart = ChildProcesses(Limits(seconds=0.5), places=1)
    with pytest.raises(WorkFailed, match="more time or memory"):
        await apart.run("readable", SLOW, HTML)
    apart.close()


async def test_work_that_takes_too_much_memory_is_ended() -> None:
    apart = ChildProcesses(Limits(memory=160 * 1024 * 1024), places=1)
    with pytest.raises(WorkFailed, match="memory"):
        await apart.run("readable", SLOW, HTML)
    apart.close()


async def test_a_caller_that_is_cancelled_ends_its_work(apart: ChildProcesses) -> None:
    work = asyncio.create_task(apart.run("readable", SLOW, HTML))
    (pid,) = await begun()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert await apart.run("readable", b"<p>next</p>", HTML) == "next"
    assert pid not in children()


async def test_closing_ends_what_is_being_done_and_refuses_what_waits() -> None:
    apart = ChildProcesses(places=1)
    works = [asyncio.create_task(apart.run("readable", SLOW, HTML)) for _ in range(3)]
    await begun()
    await asyncio.to_thread(apart.close)
    outcomes = await asyncio.gather(*works, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [WorkFailed] * 3
    assert not children()
    with pytest.raises(WorkFailed, match="stopping"):
        await apart.run("readable", b"<p>late</p>", HTML)


async def test_a_child_without_work_ends() -> None:
    apart = ChildProcesses(places=1, idle_seconds=0.01)
    assert await apart.run("readable", b"<p>one</p>", HTML) == "one"
    for thread in threading.enumerate():
        if thread.name == "tertulia-apart":
            await asyncio.to_thread(thread.join)
    assert not children()
    assert await apart.run("readable", b"<p>two</p>", HTML) == "two"
    apart.close()


async def test_a_child_that_is_killed_while_it_waits_is_replaced(apart: ChildProcesses) -> None:
    await apart.run("readable", b"<p>one</p>", HTML)
    (pid,) = children()
    watched = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    await asyncio.to_thread(select.select, [watched], [], [])
    os.close(watched)
    assert await apart.run("readable", b"<p>next</p>", HTML) == "next"


_PARENT = """
import asyncio
from tertulia.tools.apart import ChildProcesses
async def main():
    apart = ChildProcesses(places=2)
    await apart.run("readable", b"<p>warm</p>", "text/html")
    work = asyncio.create_task(apart.run("readable", b"<b>" * 300_000, "text/html"))
    await asyncio.sleep(0.1)
    print("working", flush=True)
    await work
asyncio.run(main())
"""


def test_nothing_is_left_of_a_server_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", _PARENT], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        pids = [
            int(pid)
            for task in Path(f"/proc/{parent.pid}/task").iterdir()
            for pid in (task / "children").read_text().split()
        ]
        watched = [os.pidfd_open(pid) for pid in pids]
        parent.kill()
    assert watched
    for descriptor in watched:
        assert select.select([descriptor], [], [], 30)[0]  # readable once it has ended
        os.close(descriptor)


async def test_no_key_of_the_server_is_in_reach_of_a_child(
    apart: ChildProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERTULIA_API_KEY", "sk-secret")
    await apart.run("readable", b"<p>one</p>", HTML)
    (pid,) = children()
    assert b"sk-secret" not in environment_of(pid)


@pytest.mark.parametrize(
    "page",
    [
        b"<pre>a" + b" " * 900_000 + b"b</pre>",
        b"<pre>a" + b" \n" * 400_000 + b"b</pre>",
        b"<pre>" + (b"a" + b" " * 150) * 6_000 + b"b</pre>",
        b"<a " * 300_000,
        b"<a b='" * 150_000,
        b"<!--" * 200_000,
        b"<![" * 300_000,
        b"</" * 400_000,
        b"&" * 900_000,
        b"<?xml " + b"?" * 900_000,
    ],
    ids=[
        "spaces",
        "line-ends",
        "runs",
        "tags",
        "attributes",
        "comments",
        "sections",
        "ends",
        "entities",
        "declaration",
    ],
)
async def test_a_page_made_to_take_long_is_read_in_the_time_there_is(quick: ChildProcesses, page: bytes) -> None:
    assert await quick.run("readable", page, HTML) is not None


async def test_a_tool_source_is_read_apart(apart: ChildProcesses) -> None:
    assert "problem" in await apart.run("tool_schema", "(" * 1_000_000, "", "")
    assert "schema" in await apart.run("tool_schema", "def f():\n    '''Do.'''", "", "")


async def test_half_a_character_is_refused_and_the_next_work_is_done(apart: ChildProcesses) -> None:
    with pytest.raises(WorkFailed, match="surrogates"):
        await apart.run("tool_schema", "def f():\n    '''\ud800'''", "", "")
    assert "schema" in await apart.run("tool_schema", "def f():\n    '''Do.'''", "", "")
