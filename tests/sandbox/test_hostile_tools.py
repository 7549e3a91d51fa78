"""Tools that want to do harm. Each tells what it got; the next tool must not notice."""

import msgspec
import pytest

from tests.sandbox.conftest import SMALL, Machine, is_running

_GOOD = "def tool():\n    open('mine', 'x').write('kept')\n    return sorted(__import__('os').listdir('.'))\n"

_REFUSED = {
    "reads the shadow file": "open('/etc/shadow').read()",
    "reads the home of root": "os.listdir(os.path.expanduser('~root') + '/.ssh')",
    "lists the machine's private keys": "os.listdir('/etc/ssl/private')",
    "opens a file by its handle": "checked(libc.syscall(304 if os.uname().machine == 'x86_64' else 265, 3, b'', 0))",
    "reads the environment of its parent": "open(f'/proc/{os.getppid()}/environ').read()",
    "reads its parent's memory": "open(f'/proc/{os.getppid()}/mem', 'rb').read(10)",
    "lists the machine's directories": "os.listdir('/home')",
    "lists the machine's temporary files": "os.listdir('/var/tmp')",
    "reads the server's variables by path": "open('/proc/1/environ').read()",
    "climbs out by dots": "open('../' * 20 + 'etc/shadow').read()",
    "follows a link out": "os.symlink('/etc/shadow', 'link') or open('link').read()",
    "makes a hard link to a file outside": "os.link('/etc/ld.so.cache', 'link') or open('link', 'ab').write(b'x')",
    "writes to the system": "open('/usr/lib/x.py', 'w')",
    "writes into its own Python": "open(os.__file__, 'a')",
    "writes to the root": "open('/x', 'w')",
    "opens a TCP socket": "socket.create_connection(('127.0.0.1', 80), 1)",
    "asks for the metadata address": "socket.create_connection(('169.254.169.254', 80), 1)",
    "opens a UDP socket": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
    "opens a raw socket": "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)",
    "opens a netlink socket": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    "opens a packet socket": "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
    "opens a socket of the machine's programs": "socket.socket(socket.AF_UNIX).connect('/var/run/docker.sock')",
    "makes datagram sockets to aim elsewhere": "socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)",
    "listens": "socket.create_server(('0.0.0.0', 0))",
    "looks up a name": "socket.getaddrinfo('example.com', 80)",
    "signals every process": "[os.kill(p, 9) for p in range(3, 70000) if p != os.getpid()]",
    "signals its parent's group": "os.killpg(os.getpgid(os.getppid()), 9) if os.getppid() != 1 else os.kill(99999, 9)",
    "traces its parent": "checked(libc.ptrace(16, os.getppid(), 0, 0))",
    "reads its parent through the kernel": "checked(libc.process_vm_readv(os.getppid(), None, 0, None, 0, 0))",
    "makes a user namespace": "checked(libc.unshare(0x10000000))",
    "mounts": "checked(libc.mount(b'tmpfs', b'.', b'tmpfs', 0, None))",
    "changes its root": "os.chroot('.')",
    "becomes root": "os.setuid(0 if os.getuid() else 1)",
    "makes a device": "os.mknod('disk', 0o60600, os.makedev(8, 0))",
    "makes a ring that skips the filters": "checked(libc.syscall(425, 8, None))",
    "uses the keyring": "checked(libc.syscall(248 if os.uname().machine == 'x86_64' else 217, b'user', b'x', b'y', 1, -3))",  # noqa: E501 -- one deed, one line
    "loads a kernel program": "checked(libc.syscall(321 if os.uname().machine == 'x86_64' else 280, 0, None, 0))",
    "changes who may read a file of its user": "os.chmod(os.__file__, 0o777)",
    "changes the times of a file of its user": "os.utime(os.__file__, (0, 0))",
    "lowers the limits of its parent": "resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (0, 0))",
    "moves its parent to one core": "os.sched_setaffinity(os.getppid(), {0})",
    "lifts its limits": "resource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
    "finds descriptors of the server": "[os.fstat(n) and os.listdir(n) for n in range(3, 256) if open_directory(n)] or nothing()",  # noqa: E501 -- one deed, one line
}
_REFUSALS = (
    "PermissionError",
    "FileNotFoundError",
    "OSError",
    "ProcessLookupError",
    "ValueError",
    "socket.gaierror",
    "NotADirectoryError",
)
_PRELUDE = """
import ctypes, os, resource, socket, stat
libc = ctypes.CDLL(None, use_errno=True)
def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), 'refused')
def open_directory(n):
    try:
        return stat.S_ISDIR(os.fstat(n).st_mode)
    except OSError:
        return False
def nothing():
    raise OSError('nothing found')
def tool():
    return "got", repr("""


@pytest.mark.parametrize("deed", _REFUSED)
def test_a_hostile_tool_is_refused_by_the_kernel(machine: Machine, deed: str) -> None:
    outcome = machine.run(f"{_PRELUDE}{_REFUSED[deed]})\n")

    assert outcome.status == "error", outcome
    assert outcome.error is not None
    assert outcome.error.startswith(_REFUSALS), outcome


_BOMBS = {
    "memory": ("b = []\n    while True: b.append(bytearray(10_000_000))", {"memory"}),
    "one_block_of_memory": ("bytearray(700_000_000)", {"memory"}),
    "memory_in_many_processes": (
        "import os\n    for _ in range(10):\n        if os.fork() == 0: break\n    b = bytearray(b'x' * 60_000_000)\n    while True: pass",  # noqa: E501 -- one deed, one line
        {"memory", "cpu_time"},
    ),
    "forks": ("import os\n    while True: os.fork()", {"processes"}),
    "threads": (
        "import threading, time\n    while True: threading.Thread(target=time.sleep, args=(9,)).start()",
        {"processes", "memory"},
    ),
    "disk": ("f = open('big', 'wb')\n    while True: f.write(b'x' * 1_000_000)", {"disk"}),
    "disk_in_many_files": (
        "n = 0\n    while True:\n        n += 1; open(str(n), 'wb').write(b'x' * 1_000_000)",
        {"disk"},
    ),
    "output": ("while True: print('x' * 1000)", {"output"}),
    "output_without_newline": ("import os\n    while True: os.write(2, b'x' * 1000)", {"output"}),
    "cpu": ("while True: pass", {"cpu_time"}),
    "result": ("return 'x' * 2_000_000", {"result"}),
}


@pytest.mark.parametrize("bomb", _BOMBS)
def test_a_bomb_ends_with_the_name_of_the_limit_it_went_over(machine: Machine, bomb: str) -> None:
    body, limits = _BOMBS[bomb]

    small = msgspec.structs.replace(SMALL, result_bytes=1_000_000, cpu_time_s=1)
    outcome = machine.run(f"def tool():\n    {body}\n", limits=small)

    assert outcome.status == "error"
    assert outcome.limit in limits, outcome
    assert outcome.error is not None
    assert "limit" in outcome.error


_WAYS_TO_LEAVE = {
    "sys.exit": ("import sys; sys.exit(3)", "SystemExit: 3"),
    "os._exit": ("import os; os._exit(7)", "exit code 7"),
    "segfault": ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
    "abort": ("import os; os.abort()", "SIGABRT"),
    "kills itself": ("import os; os.kill(os.getpid(), 9)", "SIGKILL"),
    "endless recursion": ("tool()", "RecursionError"),
    "breaks json": ("import json; json.dumps = None; raise KeyError('gone')", "KeyError: 'gone'"),
    "breaks builtins": ("import builtins; builtins.len = None; raise KeyError('gone')", ""),
    "closes everything": ("import os; os.closerange(0, 256)", ""),
    "writes a made-up answer": (
        "import os\n    for n in range(3, 20):\n        try: os.write(n, b'{\"status\": 7}')\n        except OSError: pass\n    os._exit(0)",  # noqa: E501 -- one deed, one line
        "result that can be read",
    ),
}


@pytest.mark.parametrize("way", _WAYS_TO_LEAVE)
def test_however_a_tool_leaves_there_is_a_typed_outcome(machine: Machine, way: str) -> None:
    body, said = _WAYS_TO_LEAVE[way]

    outcome = machine.run(f"def tool():\n    {body}\n")

    assert outcome.status == "error"
    assert said in (outcome.error or ""), outcome
    assert machine.run(_GOOD).result == ["mine"]


def test_processes_that_a_tool_leaves_behind_end_with_it(machine: Machine) -> None:
    outcome = machine.run(
        "import os, subprocess, time\n"
        "def tool():\n"
        "    if os.fork() == 0:\n"
        "        os.setsid()\n"
        "        if os.fork() == 0:\n"
        "            os.execv('/bin/sleep', ['sleep', '4711.25'])\n"
        "        os._exit(0)\n"
        "    return 'left'\n"
    )

    assert outcome.result == "left"
    assert not is_running("4711.25")


def test_a_tool_sees_the_files_of_no_other_call(machine: Machine) -> None:
    machine.run("def tool():\n    open('secret', 'w').write('x')")

    assert machine.run(_GOOD).result == ["mine"]
