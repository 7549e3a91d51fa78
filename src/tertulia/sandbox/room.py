"""What a tool can see of the machine: a file system of its own, and its place in it."""

import os
import resource
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from tertulia.sandbox import kernel

WORK: Final = "/work"
_SYSTEM: Final = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64"),
    *("/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/ld.so.cache", "/etc/localtime"),
)
_DEVICES: Final = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
_MEGABYTE: Final = 1024 * 1024
_SPARE_PROCESSES: Final = 512
"""Where all calls share one user, the kernel counts them together; the supervisor counts each call's own."""


def readable_paths() -> list[str]:
    """The system's programs and libraries, and this Python's environment."""
    return [*_SYSTEM, *dict.fromkeys((sys.base_prefix, sys.base_exec_prefix, sys.prefix))]


def closed_to_others() -> bool:
    """Whether this Python is in a directory that other users cannot enter, such as root's home."""
    places = [Path(sys.base_prefix), Path(sys.base_exec_prefix), Path(sys.prefix)]
    return any(not each.stat().st_mode & 0o001 for place in places for each in (place, *place.parents))


def move_in(base: str) -> None:
    """Give this process namespaces, and a root with nothing but ``readable_paths`` in it."""
    user, group, root = os.geteuid(), os.getegid(), os.geteuid() == 0
    shared = kernel.NEW_MOUNT | kernel.NEW_NETWORK | kernel.NEW_IPC
    kernel.unshare(shared if root else shared | kernel.NEW_USER)
    if not root:
        Path("/proc/self/setgroups").write_text("deny", "ascii")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1", "ascii")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1", "ascii")
    kernel.mount("none", "/", flags=kernel.RECURSIVE | kernel.PRIVATE)
    kernel.mount("tmpfs", base, "tmpfs", kernel.NO_SETUID | kernel.NO_DEVICES, "size=1m,mode=755")
    for path in outermost(readable_paths()):
        _show(base, path)
    for path in _DEVICES:
        _show(base, path, devices=True)
    Path(base + WORK).mkdir()
    if not Path(base + "/tmp").exists():  # noqa: S108 -- the room's own
        Path(base + "/tmp").symlink_to(WORK)  # noqa: S108
    etc = Path(base + "/etc")
    etc.mkdir(exist_ok=True)
    (etc / "passwd").write_text("tool:x:65534:65534::/work:/bin/sh\n", "ascii")
    kernel.mount("none", base, flags=kernel.REMOUNT | kernel.READ_ONLY | kernel.NO_SETUID | kernel.NO_DEVICES)
    kernel.pivot_root(base)


def outermost(paths: Iterable[str]) -> list[str]:
    """Those that are not within another one."""
    kept: list[str] = []
    for path in sorted({os.path.normpath(path) for path in paths}):
        if not any(Path(path).is_relative_to(other) for other in kept if not Path(other).is_symlink()):
            kept.append(path)
    return kept


def _show(base: str, path: str, *, devices: bool = False) -> None:
    source, target = Path(path), Path(base + path)
    if not source.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_symlink() and source.parent == Path("/"):
        target.symlink_to(source.readlink())
        return
    if source.is_dir():
        target.mkdir(exist_ok=True)
    else:
        target.touch()
    kernel.mount(path, str(target), flags=kernel.BIND)
    # Flags of the mount above must stay where a user namespace made this one.
    kept = os.statvfs(path).f_flag & (2 | 4 | 8 | 1024 | 2048)
    wanted = kernel.READ_ONLY | kernel.NO_SETUID | (0 if devices else kernel.NO_DEVICES)
    kept &= ~kernel.NO_DEVICES if devices and os.geteuid() == 0 else ~0
    atime = (kept & 1024) | (kept & 2048) | (1 << 21 if kept & 4096 else 0)
    kernel.mount("none", str(target), flags=kernel.REMOUNT | kernel.BIND | wanted | (kept & 14) | atime)


def own_work(limits: dict[str, Any], user: int) -> None:
    """A private working directory in memory, of the size that the call may fill."""
    options = f"size={limits['disk_mb']}m,nr_inodes=20000,mode=700,uid={user},gid={user}"
    if os.geteuid() != 0:
        options = f"size={limits['disk_mb']}m,nr_inodes=20000,mode=700"
    kernel.mount("tmpfs", WORK, "tmpfs", kernel.NO_SETUID | kernel.NO_DEVICES, options)


def limit_resources(limits: dict[str, Any], *, own_user: bool, in_use: int) -> None:
    processes = limits["processes"] + (2 if own_user else in_use + _SPARE_PROCESSES)
    wanted = {
        resource.RLIMIT_AS: limits["memory_mb"] * _MEGABYTE,
        resource.RLIMIT_FSIZE: limits["disk_mb"] * _MEGABYTE,
        resource.RLIMIT_NOFILE: 256,
        resource.RLIMIT_NPROC: processes,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 65536,
    }
    for kind, value in wanted.items():
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)  # noqa: PLW2901
        resource.setrlimit(kind, (value, value))
    resource.setrlimit(resource.RLIMIT_CPU, (limits["cpu_time_s"], limits["cpu_time_s"] + 1))


def become(user: int, *, reads_all: bool = False) -> None:
    """The user of this call alone where the server is root; otherwise the same user. No capabilities are left.

    With ``reads_all`` modes keep no file from being read: only where Landlock says which files there are at all.
    """
    if os.geteuid() != 0:
        kernel.drop_capabilities()
        return
    if reads_all:
        kernel.keep_capabilities()
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    if reads_all:
        kernel.drop_capabilities(kept=kernel.READ_AND_SEARCH)
