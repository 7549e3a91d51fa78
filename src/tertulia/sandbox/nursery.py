"""Starting zygotes, handing calls to them, and ending them."""

import asyncio
import contextlib
import json
import shutil
import socket
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tertulia.ports.sandbox import SandboxTier, SandboxUnavailable

_SOURCES: Final = str(Path(__file__).parents[2])
_PROGRAM: Final = "import sys; sys.path.insert(0, sys.argv[4]); from tertulia.sandbox.zygote import main; main()"
_STARTS_WITHIN_S: Final = 20
_ENDS_WITHIN_S: Final = 2


class ZygoteProcess:
    def __init__(self, process: Process, control: socket.socket, tier: SandboxTier, base: Path) -> None:
        self.tier: SandboxTier = tier
        self._process = process
        self._control = control
        self._base = base

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    @property
    def pid(self) -> int:
        return self._process.pid

    def fork(self, limits: dict[str, Any], descriptors: Sequence[int]) -> None:
        """Have a process made for a call that holds these descriptors."""
        try:
            socket.send_fds(self._control, [json.dumps(limits).encode()], descriptors)
        except OSError as error:
            raise SandboxUnavailable(f"the process that starts tools is gone: {error}") from error

    async def close(self) -> None:
        self._control.close()
        try:
            await asyncio.wait_for(self._process.wait(), _ENDS_WITHIN_S)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        await asyncio.to_thread(shutil.rmtree, self._base, ignore_errors=True)


async def start_zygote(python: str, tier: SandboxTier, base: Path) -> ZygoteProcess:
    """A zygote that is confined as far as it is itself to be.

    :raises SandboxUnavailable: saying why, if this tier does not work here.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)  # noqa: FBT003 -- the standard library's
    with theirs:
        descriptor = theirs.fileno()
        arguments = (python, "-I", "-c", _PROGRAM, tier, str(base), str(descriptor), _SOURCES)
        process = await asyncio.create_subprocess_exec(
            *arguments,
            pass_fds=(descriptor,),
            env={},
            stdin=DEVNULL,
            stdout=DEVNULL,
            stderr=PIPE,
            cwd="/",
            start_new_session=True,  # signals to the server's group are the server's
        )
    zygote = ZygoteProcess(process, ours, tier, base)
    try:
        async with asyncio.timeout(_STARTS_WITHIN_S):
            word = await asyncio.get_running_loop().sock_recv(ours, 4096)
            if not word and process.stderr is not None:
                word = (await process.stderr.read())[-500:]
    except TimeoutError:
        word = b"it did not start in time"
    except BaseException:
        await zygote.close()
        raise
    if word != b"ready":
        await zygote.close()
        raise SandboxUnavailable(word.decode(errors="replace"))
    return zygote
