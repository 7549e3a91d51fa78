"""Work on what strangers send, done apart: in a process that can be ended, where a thread cannot.

A parser that is slow for the wrong page holds the interpreter's lock, and with it every reader, for as long as it
likes. So what may take any length of time is done by a child with limits of processor time and memory, which is killed
when it is over time or when nobody waits any more. A child is started when it is first needed, does one piece of work
after the other, and ends when it has had none for a while. It cannot outlive this process: it ends at the end of its
input, and the system ends it while it works.
"""

import asyncio
import contextlib
import os
import subprocess
import sys
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeAlias

import msgspec

import tertulia
from tertulia.ports.apart import WorkFailed, WorkName
from tertulia.tools.apart_protocol import Done, Limits, decode_done, encode_job, receive, send

_PLACES: Final = 2
_IDLE_SECONDS: Final = 60.0
_KEPT_VARIABLES: Final = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "PYTHONHOME", "TZ", "TMPDIR")
"""What a child is told of the environment: it works on strangers' content, so no key is in its reach."""


@dataclass(slots=True, eq=False)
class _Job:
    work: WorkName
    data: bytes
    future: "Future[Any]"
    child: "_Child | None" = None
    given_up: bool = False

    def give_up(self) -> None:
        """Nobody waits for it any more."""
        self.given_up = True
        if self.child is not None:
            self.child.kill()

    def refuse(self) -> None:
        if self.future.set_running_or_notify_cancel():
            self.future.set_exception(WorkFailed("cannot be done: the server is stopping."))


_Jobs: TypeAlias = "SimpleQueue[_Job | None]"


class ChildProcesses:
    """Does work in at most ``places`` children at once; further work waits its turn. For any thread and any loop."""

    def __init__(
        self, limits: Limits | None = None, *, places: int = _PLACES, idle_seconds: float = _IDLE_SECONDS
    ) -> None:
        self._limits = limits or Limits()
        self._places = places
        self._idle_seconds = idle_seconds
        self._jobs: _Jobs = SimpleQueue()
        self._lock = threading.Lock()
        self._waiting = 0  # jobs that no thread has taken
        self._free = 0  # threads that wait for one
        self._threads: set[threading.Thread] = set()
        self._running: set[_Job] = set()
        self._closed = False

    async def run(self, work: WorkName, *arguments: str | bytes) -> Any:
        """As :meth:`tertulia.ports.apart.Apart.run` says."""
        try:
            job = _Job(work, encode_job(work, arguments), Future())
        except UnicodeEncodeError as error:  # half of a surrogate pair
            raise WorkFailed(f"cannot be done: {error}."[:1000]) from error
        self._add(job)
        try:
            return await asyncio.wrap_future(job.future)
        finally:
            job.give_up()

    def close(self) -> None:
        """End every child, whatever it does. Nothing can be run any more."""
        with self._lock:
            self._closed = True
            threads, running = list(self._threads), list(self._running)
        for _ in threads:
            self._jobs.put(None)
        for job in running:
            job.give_up()
        for thread in threads:
            thread.join()
        with contextlib.suppress(Empty):
            while True:
                if (job := self._jobs.get_nowait()) is not None:
                    job.refuse()

    def _add(self, job: _Job) -> None:
        with self._lock:
            if self._closed:
                raise WorkFailed("cannot be done: the server is stopping.")
            self._waiting += 1
            self._jobs.put(job)
            if self._waiting > self._free and len(self._threads) < self._places:
                thread = threading.Thread(target=self._serve, name="tertulia-apart", daemon=True)
                self._threads.add(thread)
                thread.start()

    def _serve(self) -> None:
        """Do job after job with a child of this thread's own, until there was none for a while."""
        child: _Child | None = None
        try:
            while (job := self._next()) is not None:
                child = self._do(job, child)
        finally:
            if child is not None:
                child.end()

    def _next(self) -> _Job | None:
        with self._lock:
            self._free += 1
        try:
            job = self._jobs.get(timeout=self._idle_seconds)
        except Empty:
            job = None
        with self._lock:
            self._free -= 1
            if job is None:
                with contextlib.suppress(Empty):  # one that came just now
                    job = self._jobs.get_nowait()
            if job is None or self._closed:
                self._threads.discard(threading.current_thread())
                if job is not None:
                    job.refuse()
                return None
            self._waiting -= 1
            self._running.add(job)
        return job

    def _do(self, job: _Job, child: "_Child | None") -> "_Child | None":
        """Do the job; the child, if it can do another."""
        try:
            if not job.future.set_running_or_notify_cancel():
                return child
            if child is not None and child.has_ended:  # somebody killed it while it had nothing to do
                child.end()
                child = None
            child = child or _Child(self._limits)
            done = _done(job, child, self._limits.seconds)
        except OSError as error:  # no process can be had
            job.future.set_exception(WorkFailed(f"cannot be done: {error}."))
            return child
        finally:
            with self._lock:
                self._running.discard(job)
        if done.failure is None:
            job.future.set_result(done.value)
        else:
            job.future.set_exception(WorkFailed(done.failure))
        if done.last:
            child.end()
            return None
        return child


class _Child:
    """A process that does one piece of work after the other."""

    def __init__(self, limits: Limits) -> None:
        package = str(Path(tertulia.__file__).parents[1])
        environment = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tertulia.tools.apart_child", msgspec.json.encode(limits).decode()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd="/",
            env=environment,
            start_new_session=True,  # signals to the server's terminal are not for it
        )
        assert self._process.stdin is not None  # noqa: S101  both are pipes
        assert self._process.stdout is not None  # noqa: S101
        self._input, self._output = self._process.stdin, self._process.stdout

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def ask(self, job: _Job) -> Done | None:
        """What it says of the job; None if it ended instead."""
        try:
            send(self._input, job.data)
            answer = receive(self._output)
        except OSError:
            return None
        return None if answer is None else decode_done(answer)

    def kill(self) -> None:
        self._process.kill()

    def end(self) -> int:
        """End it if it has not, and leave nothing of it. How it ended."""
        self._process.kill()
        for pipe in (self._input, self._output):
            with contextlib.suppress(OSError):  # what was not written yet is for nobody
                pipe.close()
        return self._process.wait()


def _done(job: _Job, child: _Child, seconds: float) -> Done:
    job.child = child
    if job.given_up:
        child.kill()
    over = threading.Timer(seconds, child.kill)
    over.daemon = True
    over.start()
    try:
        done = child.ask(job)
    finally:
        over.cancel()
        job.child = None
    return done or Done(failure="takes more time or memory than there is for it.", last=True)
