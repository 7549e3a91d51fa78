"""How often one streamed reply goes from one file of the engine to another: what a reader of the code has to follow.

    .venv/bin/python -m bench.hops            # the figures
    .venv/bin/python -m bench.hops --calls    # and every call

The third message of a conversation is sent over ASGI in this process, to a model that answers at once. Each call that
begins in ``engine/`` is noted, in the order of its task or thread; a hop is a call into another file than the call
before it, or into another room, where a wing such as ``lifecycle/`` is one. That a coroutine goes on is no call.
"""

import asyncio
import inspect
import sys
import tempfile
import threading
from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Final

import httpx

import tertulia
from tertulia.api.router import build_api
from tertulia.store.sqlite.store import open_sqlite
from tests.support.scripted import ScriptedCatalogue, say
from tests.support.services import services_over

_OURS: Final = Path(tertulia.__file__).parent
_RESUMABLE: Final = inspect.CO_COROUTINE | inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR
_MESSAGES: Final = 3


class Calls:
    """The calls of the engine while it is ``on``, by task or thread, and all the files that were visited."""

    def __init__(self) -> None:
        self.on = False
        self.files: set[str] = set()
        self.calls: dict[object, list[tuple[str, str]]] = defaultdict(list)

    def look(self, frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if not self.on or event != "call" or not code.co_filename.startswith(f"{_OURS}/"):
            return
        self.files.add(code.co_filename)
        # The argument of the instruction says whether a frame begins, or goes on after an await.
        resumed = code.co_flags & _RESUMABLE and frame.f_lasti >= 0 and code.co_code[frame.f_lasti + 1]
        if resumed or not code.co_filename.startswith(f"{_OURS}/engine/"):
            return
        try:
            who: object = asyncio.current_task() or threading.get_ident()
        except RuntimeError:
            who = threading.get_ident()
        self.calls[who].append((code.co_filename.removeprefix(f"{_OURS}/"), code.co_name))

    def hops(self, place: Callable[[str], str] = str) -> int:
        """How often the next call is in another place; ``place`` says of a file which it is."""
        return sum(
            place(before[0]) != place(after[0]) for calls in self.calls.values() for before, after in pairwise(calls)
        )


def room(file: str) -> str:
    """A wing as a whole; a file of the engine that is in none by itself."""
    parts = file.split("/")
    return "/".join(parts[:2])


async def measure() -> Calls:
    calls = Calls()
    threading.setprofile(calls.look)  # before the store's threads begin
    sys.setprofile(calls.look)
    with tempfile.TemporaryDirectory(prefix="tertulia-bench-") as folder:
        store, catalogue = await open_sqlite(Path(folder) / "bench.db"), ScriptedCatalogue()
        services = services_over(store, catalogue)
        await services.runs.open()
        transport = httpx.ASGITransport(build_api(services))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            agent = (await client.post("/v1/agents/", json={"name": "Ada", "model": catalogue.default_model})).json()
            resting = asyncio.all_tasks()
            for number in range(1, _MESSAGES + 1):
                catalogue.provider.scripts.append(say("Hello there"))
                calls.on = number == _MESSAGES
                body = {"messages": [{"role": "user", "content": "hi"}], "stream_tokens": True}
                (await client.post(f"/v1/agents/{agent['id']}/messages/stream", json=body)).raise_for_status()
                while others := asyncio.all_tasks() - resting:
                    await asyncio.wait(others)
                calls.on = False
        sys.setprofile(None)
        threading.setprofile(None)
        await services.runs.close()
        await store.close()
    return calls


def main() -> None:
    calls = asyncio.run(measure())
    if "--calls" in sys.argv:
        for task in calls.calls.values():
            for before, (file, name) in pairwise([("", ""), *task]):
                print(f"{'  ' if before[0] == file else '* '}{file} {name}")
            print()
    print(f"files visited: {len(calls.files)}, hops within engine/: {calls.hops()} by file, {calls.hops(room)} by room")


if __name__ == "__main__":
    main()
