"""A server whose terminal goes away, whose output nobody reads, or that is started without standard streams."""

import io
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import TextIO, cast

import pytest

from tertulia.cli.streams import Forgiving
from tests.cli.server import TIMEOUT, serving

pytestmark = pytest.mark.slow


class Broken(io.StringIO):
    def write(self, text: str, /) -> int:
        raise BrokenPipeError

    def flush(self) -> None:
        raise OSError(5, "Input/output error")


def test_what_nobody_reads_is_no_failure() -> None:
    stream = Forgiving(cast("TextIO", Broken()))
    assert stream.write("a line\n") == 7
    stream.flush()
    closed = io.StringIO()
    closed.close()
    assert Forgiving(closed).write("x") == 1
    assert not Forgiving(closed).isatty()


def test_a_terminal_that_is_closed_stops_the_server_graciously(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # these tests may themselves run under `nohup`
    with serving(tmp_path) as (process, _):
        signal.signal(signal.SIGHUP, before)
        assert process.stderr is not None
        process.stderr.close()  # there is nobody to tell any more
        process.send_signal(signal.SIGHUP)
        assert process.wait(timeout=TIMEOUT) == 0


def test_a_server_without_standard_streams_serves_and_keeps_them_out_of_its_files(tmp_path: Path) -> None:
    script = (
        "import os, sys, urllib.request\n"
        "from tertulia.cli.streams import prepare_streams\n"
        "prepare_streams()\n"
        "print('ünheard'); print('unheard', file=sys.stderr)\n"
        f"descriptor = os.open({str(tmp_path / 'file')!r}, os.O_CREAT | os.O_WRONLY)\n"
        "sys.exit(0 if descriptor > 2 else 1)\n"
    )
    closed = f'exec "{sys.executable}" -c "$1" <&- >&- 2>&-'
    done = subprocess.run(["/bin/sh", "-c", closed, "sh", script], check=False, timeout=TIMEOUT)
    assert done.returncode == 0
    assert (tmp_path / "file").read_bytes() == b""


@pytest.mark.parametrize("encoding", ["ascii", "iso-8859-1"])
def test_a_locale_without_our_letters_is_no_traceback(tmp_path: Path, encoding: str) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "TERTULIA_DATA_DIR": str(tmp_path / "日本")}
    command = [sys.executable, "-m", "tertulia", "migrate", "up"]
    done = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=TIMEOUT)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"has the schema" in done.stdout


def test_a_server_whose_log_nobody_reads_answers_all_the_same(tmp_path: Path) -> None:
    with serving(tmp_path, TERTULIA_LOG_LEVEL="debug") as (process, url):
        assert process.stderr is not None
        process.stderr.close()
        for _ in range(3):
            with urllib.request.urlopen(f"{url}/v1/agents/", timeout=TIMEOUT) as reply:
                assert reply.status == 200
