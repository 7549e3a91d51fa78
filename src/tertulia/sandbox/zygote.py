"""A Python that has loaded what tools need and forks one confined process for each call.

The server sends a call's parameters with four descriptors: the call's own socket, stdout, stderr, and the supervisor's.
"""

import contextlib
import gc
import importlib
import json
import os
import select
import shutil
import signal
import socket
import sys
from typing import Any, Final, NoReturn

from tertulia.sandbox import filters, kernel, room, runner
from tertulia.sandbox.processes import Processes

_PRELOADED: Final = (
    "asyncio",
    "collections",
    "dataclasses",
    "datetime",
    "enum",
    "random",
    "re",
    "typing",
    "urllib.request",
)
_FIRST_USER: Final = 1_900_000_000
_USERS: Final = 10_000
_POLL_MS: Final = 40
_LARGEST: Final = 65_536
_dumps: Final = json.dumps
"""Kept, because a tool may put another function in its place."""


class Zygote:
    def __init__(self, control: socket.socket, tier: str, base: str) -> None:
        self._control = control
        self._tier = tier
        self._base = base
        self._calls = 0
        self._processes = Processes(os.open("/proc", os.O_PATH | os.O_DIRECTORY))
        self._in_use = 0 if tier == "namespaces" else self._processes.of_user(os.geteuid())
        self._filter = filters.program(landlock=tier == "landlock") if tier != "off" else b""
        self._reads_all = tier == "landlock" and os.geteuid() == 0 and room.closed_to_others()
        self._ruleset = -1
        if tier == "namespaces":
            room.move_in(base)
            if kernel.landlock_version() >= kernel.SCOPED_SIGNALS:
                self._ruleset = kernel.landlock((), (), files=False)

    def serve(self) -> None:
        """Until the server closes its end, or is gone."""
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        for number in (
            signal.SIGINT,
            signal.SIGTERM,
            signal.SIGHUP,
        ):  # supervisors end when the server does, not before
            signal.signal(number, signal.SIG_IGN)
        gc.collect()
        gc.freeze()
        self._control.send(b"ready")
        while True:
            message, descriptors, _, _ = socket.recv_fds(self._control, _LARGEST, 4)
            if not message:
                return
            self._calls += 1
            if os.fork() == 0:
                self._control.close()
                self._supervise(json.loads(message), descriptors)
            for descriptor in descriptors:
                os.close(descriptor)

    def _supervise(self, limits: dict[str, Any], descriptors: list[int]) -> NoReturn:
        """Start the call in a process of its own, watch it, and leave nothing of it."""
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        call, stdout, stderr, report = descriptors
        user = _FIRST_USER + self._calls % _USERS if os.geteuid() == 0 else os.geteuid()
        work = room.WORK
        try:
            if self._tier == "namespaces":
                kernel.die_with_parent()
                kernel.unshare(kernel.NEW_PID | kernel.NEW_MOUNT | kernel.NEW_IPC)
            else:
                kernel.adopt_orphans()
                work = f"{self._base}/{self._calls}"
                os.mkdir(work, 0o700)  # noqa: PTH102 -- no objects on the way of each call
                os.chown(work, user, -1)
            child = os.fork()
            if child == 0:
                os.close(report)
                self._enter((call, stdout, stderr), work, user, limits)
            for descriptor in (call, stdout, stderr):
                os.close(descriptor)
            verdict = self._watch(child, report, limits, work)
        except OSError as error:
            verdict = {"broken": str(error)}
        with contextlib.suppress(OSError):  # the server no longer listens
            os.write(report, json.dumps(verdict).encode())
        if self._tier != "namespaces":
            shutil.rmtree(work, ignore_errors=True)
        os._exit(0)

    def _watch(self, child: int, report: int, limits: dict[str, Any], work: str) -> dict[str, Any]:
        poll = select.poll()
        ended = os.pidfd_open(child)
        poll.register(ended, select.POLLIN)
        poll.register(report, select.POLLIN | select.POLLHUP)
        limit: str | None = None
        while limit is None:
            ready = dict(poll.poll(_POLL_MS))
            if ended in ready:
                break
            if report in ready:
                limit = "cancelled"
            else:
                limit = self._processes.passed(child, limits, None if self._tier == "namespaces" else work)
        return {"limit": limit, "exit": self._end(child)}

    def _end(self, child: int) -> int:
        """End the whole tree. The first process of a PID namespace takes all others with it."""
        os.kill(child, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        while self._tier != "namespaces":
            for process in self._processes.below(os.getpid()):
                try:
                    os.kill(process, signal.SIGKILL)
                except (ProcessLookupError, PermissionError):  # ended meanwhile
                    continue
            try:
                os.waitpid(-1, 0)
            except ChildProcessError:
                break
        return code

    def _enter(self, descriptors: tuple[int, int, int], work: str, user: int, limits: dict[str, Any]) -> NoReturn:
        call, stdout, stderr = descriptors
        try:
            os.setsid()
            for number in (signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._confine(stdout, stderr, work, user, limits)
            if self._tier == "namespaces":
                self._be_first(call)
            _run(call, work)
        except BaseException as error:  # noqa: BLE001 -- said to the server, whatever it is
            os.write(call, _dumps({"status": "broken", "error": f"the sandbox failed: {error}"}).encode())
        os._exit(97)

    def _confine(self, stdout: int, stderr: int, work: str, user: int, limits: dict[str, Any]) -> None:
        nothing = os.open("/dev/null", os.O_RDONLY)
        for source, target in ((nothing, 0), (stdout, 1), (stderr, 2)):
            os.dup2(source, target)
            if source > 2:  # noqa: PLR2004 -- the standard descriptors
                os.close(source)
        self._processes.close()
        if self._tier == "namespaces":
            room.own_work(limits, user)
        os.chdir(work)
        ruleset = self._ruleset
        if self._tier == "landlock":
            devices = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
            ruleset = kernel.landlock((*room.readable_paths(), *devices), (work, "/dev/null"))
        room.limit_resources(limits, own_user=os.geteuid() == 0, in_use=self._in_use)
        if self._tier == "off":
            return
        room.become(user, reads_all=self._reads_all)
        kernel.no_new_privileges()
        kernel.undumpable()
        kernel.die_with_parent()
        if ruleset >= 0:
            kernel.restrict(ruleset)
            os.close(ruleset)
        filters.install(self._filter)

    @staticmethod
    def _be_first(call: int) -> None:
        """Stay as the first process of the namespace, whom no signal from within reaches; the tool is its child."""
        tool = os.fork()
        if tool == 0:
            return
        os.closerange(0, call)
        os.closerange(call + 1, 256)
        os.close(call)
        while True:
            process, status = os.wait()
            if process == tool:
                code = os.waitstatus_to_exitcode(status)
                os._exit(code if code >= 0 else 128 - code)


def _run(call: int, work: str) -> NoReturn:
    with socket.socket(fileno=call) as channel:
        with channel.makefile("rb") as received:
            request: dict[str, Any] = json.loads(received.read())
        os.environ.clear()
        given = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": work, "TMPDIR": work, "LANG": "C.UTF-8"}
        os.environ.update(given | request["environment"])
        sys.path[:] = [work, *(entry for entry in sys.path if entry)]
        sys.argv[:] = ["tool"]
        answer = _dumps(runner.run(request)).encode()
        channel.sendall(answer)
    os._exit(0)


def main() -> None:
    """Run as ``python -c``, with the control socket as descriptor 3, the tier and the base directory as arguments."""
    control = socket.socket(fileno=int(sys.argv[3]))
    control.set_inheritable(False)
    try:
        zygote = Zygote(control, sys.argv[1], sys.argv[2])
    except OSError as error:
        control.send(f"cannot confine tools: {error}".encode())
        return
    sys.path.remove(sys.argv[4])
    for name in _PRELOADED:
        importlib.import_module(name)
    zygote.serve()
