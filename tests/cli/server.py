"""A `tertulia serve` in a process of its own."""

import os
import re
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

TIMEOUT: Final = 60
"""Seconds after which a process that should have ended, or answered, counts as stuck."""


@contextmanager
def serving(data_dir: Path, **variables: str) -> Generator[tuple[subprocess.Popen[str], str]]:
    """A `tertulia serve` that is ready, and its address."""
    process = start(data_dir, **variables)
    try:
        assert process.stdout is not None
        ready = process.stdout.readline()
        found = re.search(r"ready at (\S+)", ready)
        assert found, process.communicate()
        yield process, found.group(1)
    finally:
        process.kill()
        process.communicate()


def start(data_dir: Path, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tertulia", "serve", "--port", "0", "--data-dir", str(data_dir)],
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
