"""One call of one function, within the confined process."""

import asyncio
import errno
import inspect
import linecache
import os
import sys
import traceback
from json import dumps, loads
from types import TracebackType
from typing import Any, Final

from tertulia.sandbox.arguments import compiled, converted
from tertulia.sandbox.state import state_of

_SOURCE: Final = "<tool>"


def run(request: dict[str, Any]) -> dict[str, Any]:
    """What the call gave, as JSON can say it."""
    source: str = request["source"]
    process = os.getpid()
    linecache.cache[_SOURCE] = (len(source), None, source.splitlines(keepends=True), _SOURCE)
    try:
        answer = _call(source, request)
    except BaseException as error:  # noqa: BLE001 -- whatever a tool throws is its answer
        return {"status": "error", "error": _one_line(error), "traceback": _own_lines(error), "limit": _limit(error)}
    finally:
        _flush()
        if os.getpid() != process:
            os._exit(0)  # a copy of the tool, which is not asked
    return answer


def _call(source: str, request: dict[str, Any]) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "tool", "__file__": _SOURCE}
    exec(compiled(source, _SOURCE), names)  # noqa: S102 -- that is what the sandbox is for
    function = names.get(request["function"])
    if not callable(function):
        raise NameError(f"the source has no function {request['function']!r}")  # noqa: TRY004 -- as Python says it
    arguments = converted(function, request["arguments"], names)
    state = None if request.get("agent_state") is None else state_of(request["agent_state"])
    wants_state = "agent_state" in inspect.signature(function).parameters
    if wants_state:
        arguments["agent_state"] = state
    result = function(**arguments)
    if inspect.isawaitable(result):
        result = asyncio.run(_awaited(result))
    answer: dict[str, Any] = {"status": "success", "result": jsonable(result)}
    if wants_state:
        answer["agent_state"] = jsonable(state)
    return answer


async def _awaited(result: Any) -> Any:
    return await result


def jsonable(value: Any) -> Any:
    """The value, if JSON can say it, otherwise its ``repr``."""
    if hasattr(value, "model_dump"):
        value = value.model_dump(mode="json")
    try:
        said = dumps(value, allow_nan=False, ensure_ascii=False)
        said.encode()  # half a character is nothing that JSON can carry
        return loads(said)
    except (TypeError, ValueError, RecursionError):
        return repr(value)


def _one_line(error: BaseException) -> str:
    return "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]


def _limit(error: BaseException) -> str | None:
    """Which limit the kernel's refusal comes from."""
    if isinstance(error, MemoryError):
        return "memory"
    if isinstance(error, OSError):
        return {errno.EAGAIN: "processes", errno.ENOSPC: "disk", errno.EFBIG: "disk"}.get(error.errno or 0)
    return "processes" if "can't start new thread" in str(error) else None


def _own_lines(error: BaseException) -> str:
    """The traceback from the tool's first line on."""
    frame: TracebackType | None = error.__traceback__
    while frame is not None and frame.tb_frame.f_code.co_filename != _SOURCE:
        frame = frame.tb_next
    return "".join(traceback.format_exception(type(error), error, frame))


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):  # the tool closed or replaced it
            continue
