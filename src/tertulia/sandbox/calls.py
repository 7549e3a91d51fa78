"""One call: what goes in, what comes out, and how it ended."""

import asyncio
import contextlib
import json
import signal
import socket
from collections.abc import Generator
from typing import Any, Final, Literal, cast

import msgspec

from tertulia.ports.sandbox import LimitName, SandboxLimits, SandboxOutcome, SandboxRequest
from tertulia.sandbox.nursery import ZygoteProcess

_CHUNK: Final = 65_536
_ENDED_WITHIN_S: Final = 2
_SIGNALLED: Final = 128


class _Answer(msgspec.Struct):
    """What the tool's process wrote. It is the tool's word, and may be anything."""

    status: Literal["success", "error", "broken"]
    result: Any = None
    error: str | None = None
    traceback: str | None = None
    limit: str | None = None
    agent_state: dict[str, Any] | None = None


class _Verdict(msgspec.Struct):
    """What the supervisor saw."""

    limit: str | None = None
    exit: int = 0
    broken: str | None = None


class _LimitPassed(Exception):
    def __init__(self, limit: LimitName) -> None:
        super().__init__(limit)
        self.limit: LimitName = limit


class _Streams:
    """The server's ends of a call's sockets, and what has come through them."""

    def __init__(self, ends: list[socket.socket]) -> None:
        self._ends = ends
        self.call, self.stdout, self.stderr, self.report = (bytearray() for _ in range(4))

    async def exchange(self, request: bytes, limits: SandboxLimits) -> None:
        call, stdout, stderr, report = self._ends
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_send(call, request))
            tasks.create_task(_collect(stdout, self.stdout, limits.output_bytes, "output"))
            tasks.create_task(_collect(stderr, self.stderr, limits.output_bytes, "output"))
            tasks.create_task(_collect(call, self.call, limits.result_bytes, "result"))
            tasks.create_task(_collect(report, self.report, _CHUNK, "result"))

    async def end(self) -> None:
        """Have the supervisor end the call, and wait until it has."""
        with contextlib.suppress(OSError, TimeoutError):
            self._ends[3].shutdown(socket.SHUT_WR)
            async with asyncio.timeout(_ENDED_WITHIN_S):
                await _collect(self._ends[3], self.report, _CHUNK, "result")


async def call(zygote: ZygoteProcess, request: SandboxRequest, limits: SandboxLimits) -> SandboxOutcome:
    """Run it to its end; a caller that is cancelled ends it."""
    with _opened() as (ends, theirs):
        zygote.fork(_numbers(limits), [end.fileno() for end in theirs])
        for end in theirs:
            end.close()
        streams = _Streams(ends)
        passed = await _within(streams, _encoded(request), limits)
        if passed is not None:
            await streams.end()
    return _outcome(streams, passed, limits)


async def _within(streams: _Streams, request: bytes, limits: SandboxLimits) -> LimitName | None:
    try:
        async with asyncio.timeout(limits.wall_time_s):
            await streams.exchange(request, limits)
    except TimeoutError:
        return "wall_time"
    except BaseExceptionGroup as group:
        passed = _first(group)
        if passed is None:
            raise
        return passed
    return None


@contextlib.contextmanager
def _opened() -> Generator[tuple[list[socket.socket], list[socket.socket]]]:
    """Closing ours is what ends a call that is still going on."""
    pairs: list[tuple[socket.socket, socket.socket]] = []
    try:
        for _ in range(4):
            pairs.append(socket.socketpair())
            pairs[-1][0].setblocking(False)  # noqa: FBT003 -- the standard library's
        yield [ours for ours, _ in pairs], [theirs for _, theirs in pairs]
    finally:
        for pair in pairs:
            for end in pair:
                end.close()


async def _send(call: socket.socket, request: bytes) -> None:
    with contextlib.suppress(OSError):  # it ended before it had read everything
        await asyncio.get_running_loop().sock_sendall(call, request)
        call.shutdown(socket.SHUT_WR)


async def _collect(source: socket.socket, into: bytearray, most: int, limit: LimitName) -> None:
    loop = asyncio.get_running_loop()
    with contextlib.suppress(ConnectionError):
        while chunk := await loop.sock_recv(source, _CHUNK):
            into += chunk[: most - len(into)]
            if len(into) >= most:
                raise _LimitPassed(limit)


def _first(group: BaseExceptionGroup[BaseException]) -> LimitName | None:
    limits: list[LimitName] = [error.limit for error in group.exceptions if isinstance(error, _LimitPassed)]
    return limits[0] if limits else None


def _numbers(limits: SandboxLimits) -> dict[str, Any]:
    names = ("cpu_time_s", "memory_mb", "processes", "disk_mb")
    return {name: getattr(limits, name) for name in names}


def _encoded(request: SandboxRequest) -> bytes:
    return json.dumps(
        {
            "source": request.source,
            "function": request.function,
            "arguments": request.arguments,
            "environment": dict(request.environment),
            "agent_state": request.agent_state,
        }
    ).encode()


def _outcome(streams: _Streams, passed: LimitName | None, limits: SandboxLimits) -> SandboxOutcome:
    out, err = (part.decode(errors="replace") for part in (streams.stdout, streams.stderr))
    verdict = _verdict(streams.report)
    limit = passed or _known(verdict.limit) or (None if streams.call else _by_signal(verdict.exit))
    if limit is not None:
        said = f"The tool was ended: it went over its limit of {_described(limit, limits)}."
        return SandboxOutcome(status="error", error=said, limit=limit, stdout=out, stderr=err)
    if verdict.broken is not None:
        said = f"The sandbox could not start the tool: {verdict.broken}"
        return SandboxOutcome(status="error", error=said, stdout=out, stderr=err)
    answer = _answer(streams.call, verdict.exit)
    hit = _known(answer.limit)
    error = answer.error
    if hit is not None and error is not None:
        error = f"{error} (the tool's limit is {_described(hit, limits)})"
    return SandboxOutcome(
        status="success" if answer.status == "success" else "error",
        result=answer.result,
        error=error,
        traceback=answer.traceback,
        stdout=out,
        stderr=err,
        limit=hit,
        agent_state=answer.agent_state,
    )


def _verdict(report: bytearray) -> _Verdict:
    try:
        return msgspec.json.decode(report, type=_Verdict)
    except msgspec.DecodeError:
        return _Verdict(broken="its supervisor is gone")


def _answer(said: bytearray, code: int) -> _Answer:
    if not said:
        return _Answer("error", error=_how_it_left(code))
    try:
        return msgspec.json.decode(said, type=_Answer)
    except (msgspec.DecodeError, RecursionError) as error:
        return _Answer("error", error=f"The tool's process did not give a result that can be read: {error}")


def _how_it_left(code: int) -> str:
    number = _signal_of(code)
    if number is None:
        return f"The tool ended its process with exit code {code} before it returned."
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = str(number)
    return f"The tool's process was ended by {name} before it returned."


def _signal_of(code: int) -> int | None:
    if code < 0:
        return -code
    return code - _SIGNALLED if code > _SIGNALLED else None


def _by_signal(code: int) -> LimitName | None:
    return "cpu_time" if _signal_of(code) == signal.SIGXCPU else None


def _known(limit: str | None) -> LimitName | None:
    try:
        return cast("LimitName", msgspec.convert(limit, LimitName))
    except msgspec.ValidationError:
        return None


def _described(limit: LimitName, limits: SandboxLimits) -> str:
    return {
        "wall_time": f"{limits.wall_time_s:g} s of time",
        "cpu_time": f"{limits.cpu_time_s} s of CPU time",
        "memory": f"{limits.memory_mb} MB of memory",
        "processes": f"{limits.processes} processes",
        "disk": f"{limits.disk_mb} MB of files",
        "output": f"{limits.output_bytes} bytes of output",
        "result": f"{limits.result_bytes} bytes of result",
    }[limit]
