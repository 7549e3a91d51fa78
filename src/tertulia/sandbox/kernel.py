"""What the standard library does not offer of Linux: namespaces, mounts, Landlock."""

import ctypes
import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Final

SYSCALL_MACHINES: Final = ("x86_64", "aarch64")
NEW_USER, NEW_PID, NEW_MOUNT, NEW_NETWORK, NEW_IPC = 0x10000000, 0x20000000, 0x20000, 0x40000000, 0x8000000
READ_ONLY, NO_SETUID, NO_DEVICES, REMOUNT, BIND, RECURSIVE, PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
_CREATE_RULESET, _ADD_RULE, _RESTRICT = 444, 445, 446
_SET_PARENT_DEATH_SIGNAL, _SET_DUMPABLE, _SET_SUBREAPER, _NO_NEW_PRIVILEGES = 1, 4, 36, 38
_KEEP_CAPABILITIES: Final = 8
READ_AND_SEARCH: Final = 1 << 2
"""CAP_DAC_READ_SEARCH."""
_EXECUTE, _READ_FILE, _READ_DIRECTORY = 1, 4, 8
_OF_FILES: Final = 1 | 2 | 4 | 1 << 14 | 1 << 15
_ALL_OF_V1: Final = (1 << 13) - 1
SCOPED_SIGNALS: Final = 6
"""The version of Landlock that keeps signals within."""

libc: Final = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def unshare(flags: int) -> None:
    check(libc.unshare(flags), "unshare")


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    words = (source.encode(), target.encode(), kind.encode())
    check(libc.mount(*words, ctypes.c_ulong(flags), options.encode()), f"mount {target}")


def pivot_root(new: str) -> None:
    """Make ``new`` the root, and let the old one go."""
    os.chdir(new)
    check(libc.syscall(155 if os.uname().machine == "x86_64" else 41, b".", b"."), "pivot_root")
    check(libc.umount2(b".", 2), "umount")
    os.chdir("/")


def die_with_parent() -> None:
    check(libc.prctl(_SET_PARENT_DEATH_SIGNAL, 9, 0, 0, 0), "pdeathsig")


def adopt_orphans() -> None:
    check(libc.prctl(_SET_SUBREAPER, 1, 0, 0, 0), "subreaper")


def no_new_privileges() -> None:
    check(libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0), "no_new_privs")


def undumpable() -> None:
    check(libc.prctl(_SET_DUMPABLE, 0, 0, 0, 0), "dumpable")


def keep_capabilities() -> None:
    """Across the next change of user."""
    check(libc.prctl(_KEEP_CAPABILITIES, 1, 0, 0, 0), "keepcaps")


def drop_capabilities(kept: int = 0) -> None:
    """All but the set ``kept``; with no_new_privs they do not come back, and a program that is executed has none."""
    header = struct.pack("Ii", 0x20080522, 0)
    check(libc.capset(header, struct.pack("6I", kept, kept, 0, 0, 0, 0)), "capset")


def landlock_version() -> int:
    return max(0, libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1))


def landlock(read: Iterable[str], write: Iterable[str], *, files: bool = True) -> int:
    """A ruleset: these paths alone (without ``files``: all), no TCP, no signals or abstract sockets outside."""
    version = landlock_version()
    access = _ALL_OF_V1 | (1 << 13 | 1 << 14) | (1 << 15 if version >= SCOPED_SIGNALS - 1 else 0)
    attributes = struct.pack("QQQ", access if files else 0, 3, 3)
    ruleset = check(libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(24), 0), "landlock")
    if files:
        for paths, allowed in ((read, _EXECUTE | _READ_FILE | _READ_DIRECTORY), (write, access)):
            for path in paths:
                _allow(ruleset, path, allowed)
    return ruleset


def _allow(ruleset: int, path: str, access: int) -> None:
    if not Path(path).exists():
        return
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    allowed = access if Path(path).is_dir() else access & _OF_FILES
    try:
        rule = struct.pack("=Qi", allowed, descriptor)
        check(libc.syscall(_ADD_RULE, ruleset, 1, rule, 0), f"landlock {path}")
    finally:
        os.close(descriptor)


def restrict(ruleset: int) -> None:
    check(libc.syscall(_RESTRICT, ruleset, 0), "landlock")
