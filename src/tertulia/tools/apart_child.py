"""The child that works for ``apart.py``: one job after the other, each within the limits it was started with."""

import ctypes
import math
import os
import resource
import signal
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import msgspec

from tertulia.ports.apart import WorkName
from tertulia.tools.apart_protocol import Done, Limits, decode_job, encode_done, receive, send
from tertulia.tools.readable import readable
from tertulia.tools.source.schema import tool_schema

_WORK: Final[Mapping[WorkName, Callable[..., Any]]] = MappingProxyType(
    {"readable": readable, "tool_schema": tool_schema}
)

_PR_SET_PDEATHSIG: Final = 1
_NICER: Final = 10
_GROWN_BYTES: Final = 256 * 1024 * 1024
"""A child that has grown to this size does not wait for more work with it."""


def main() -> None:
    limits = msgspec.json.decode(sys.argv[1], type=Limits)
    jobs, answers = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # whatever is printed by mistake is no answer
    warnings.simplefilter("ignore")  # parsers complain of pages to their authors, who are not here
    _confine(limits)
    while (data := receive(jobs)) is not None:
        _allow_cpu(limits.cpu_seconds)
        job = decode_job(data)
        done = _do(_WORK[job.work], job.arguments)
        send(answers, encode_done(done))
        if done.last:
            return


def _do(work: Callable[..., Any], arguments: list[Any]) -> Done:
    try:
        value = work(*arguments)
    except MemoryError:
        return Done(failure="takes more memory than there is for it.", last=True)
    except Exception as error:  # noqa: BLE001  whatever strangers made of it is told to whoever asked
        return Done(failure=f"cannot be done: {type(error).__name__}: {error}"[:1000])
    return Done(value=value, last=_size() > _GROWN_BYTES)


def _confine(limits: Limits) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        resource.setrlimit(resource.RLIMIT_AS, (limits.memory, limits.memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(_NICER)  # the server that answers everybody goes first


def _allow_cpu(seconds: int) -> None:
    """So much more than was used until now; the system kills whoever takes more."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(used.ru_utime + used.ru_stime) + seconds, hard))


def _size() -> int:
    """The most memory it ever had."""
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # ru_maxrss is no less than what the server had when it began this process.
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    return int(status.partition("VmHWM:")[2].split(maxsplit=1)[0]) * 1024


if __name__ == "__main__":
    main()
