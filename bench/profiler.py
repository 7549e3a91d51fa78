"""Samples the server with py-spy while it is under load, and sums up where the time went."""

import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

_FORMATS = {".svg": "flamegraph", ".json": "speedscope", ".txt": "raw"}
_RATE = "500"  # samples a second

# py-spy takes a thread that waits in C code without telling the system for a busy one; these only wait for work.
_WAITING = ("_worker (concurrent/futures/thread.py)", "Writer._take (tertulia/store/writer.py)")
_LINE = re.compile(r":\d+\)$")


class ProfilerMissing(Exception):
    """py-spy is not installed, or the file's ending names no format of it."""


def command(pid: int, output: Path) -> list[str]:
    """The py-spy call that samples `pid` until it is interrupted.

    Raises:
        ProfilerMissing: if there is no py-spy, or `output` ends in none of .svg, .json and .txt.
    """
    beside_python = Path(sys.executable).parent / "py-spy"
    found = str(beside_python) if beside_python.exists() else shutil.which("py-spy")
    if found is None:
        raise ProfilerMissing("py-spy was not found: pip install py-spy")
    if output.suffix not in _FORMATS:
        raise ProfilerMissing(f"'{output}' must end in one of {', '.join(_FORMATS)}")
    output_format = _FORMATS[output.suffix]
    return [found, "record", "--pid", str(pid), "--output", str(output), "--format", output_format, "--rate", _RATE]


@contextmanager
def recording(pid: int, output: Path) -> Generator[None]:
    """Record while the block runs."""
    with subprocess.Popen(command(pid, output), stdout=sys.stderr, stderr=sys.stderr) as process:
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)
            _ = process.wait(30)


def summary(collapsed: str, top: int = 25) -> str:
    """The functions most often running, and those most often on the stack, from py-spy's raw format.

    Lines of one function count as one; threads that wait for work do not count.
    """
    running: Counter[str] = Counter()
    on_stack: Counter[str] = Counter()
    for line in collapsed.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = [_LINE.sub(")", frame) for frame in stack.split(";")]
        if frames[-1] in _WAITING:
            continue
        running[frames[-1]] += int(count)
        for frame in set(frames):
            on_stack[frame] += int(count)
    samples = running.total()
    return "\n".join(
        [
            f"{samples} samples",
            *_rows("running", running, samples, top),
            *_rows("on the stack", on_stack, samples, top),
        ]
    )


def _rows(title: str, counts: Counter[str], samples: int, top: int) -> list[str]:
    return [f"most often {title}:"] + [f"  {count / samples:6.1%}  {name}" for name, count in counts.most_common(top)]
