"""The system calls that tools may not make, as a seccomp program."""

import ctypes
import platform
import struct
from typing import Final

from tertulia.sandbox.kernel import SYSCALL_MACHINES, check, libc

_REFUSED: Final = (  # name, x86-64, arm64
    ("ptrace", 101, 117),
    ("process_vm_readv", 310, 270),
    ("process_vm_writev", 311, 271),
    ("mount", 165, 40),
    ("umount2", 166, 39),
    ("pivot_root", 155, 41),
    ("chroot", 161, 51),
    ("unshare", 272, 97),
    ("setns", 308, 268),
    ("keyctl", 250, 219),
    ("add_key", 248, 217),
    ("request_key", 249, 218),
    ("bpf", 321, 280),
    ("perf_event_open", 298, 241),
    ("io_uring_setup", 425, 425),
    ("io_uring_enter", 426, 426),
    ("io_uring_register", 427, 427),
    ("userfaultfd", 323, 282),
    ("kexec_load", 246, 104),
    ("init_module", 175, 105),
    ("finit_module", 313, 273),
    ("name_to_handle_at", 303, 264),
    ("open_by_handle_at", 304, 265),
    ("pidfd_getfd", 438, 438),
    ("memfd_secret", 447, 447),
    ("fsopen", 430, 430),
    ("open_tree", 428, 428),
    ("move_mount", 429, 429),
    ("mount_setattr", 442, 442),
    ("quotactl", 179, 60),
    ("reboot", 169, 142),
    ("swapon", 167, 224),
    ("acct", 163, 89),
    ("syslog", 103, 116),
    ("socket", 41, 198),  # no network, and no sockets of other programs in the file system
)
_OF_THE_SAME_USER: Final = (  # what Landlock lets a tool do to its user's other files and processes; -1: not there
    ("chmod", 90, -1),
    ("fchmod", 91, 52),
    ("fchmodat", 268, 53),
    ("fchmodat2", 452, 452),
    ("chown", 92, -1),
    ("fchown", 93, 55),
    ("lchown", 94, -1),
    ("fchownat", 260, 54),
    ("utime", 132, -1),
    ("utimes", 235, -1),
    ("futimesat", 261, -1),
    ("utimensat", 280, 88),
    ("setxattr", 188, 5),
    ("lsetxattr", 189, 6),
    ("fsetxattr", 190, 7),
    ("removexattr", 197, 14),
    ("lremovexattr", 198, 15),
    ("fremovexattr", 199, 16),
    ("shmget", 29, 194),
    ("shmat", 30, 196),
    ("shmctl", 31, 195),
    ("semget", 64, 190),
    ("semctl", 66, 191),
    ("semop", 65, 193),
    ("msgget", 68, 186),
    ("msgctl", 71, 187),
    ("msgrcv", 70, 188),
    ("msgsnd", 69, 189),
    ("mq_open", 240, 180),
    ("mq_unlink", 241, 181),
    ("setpriority", 141, 140),
    ("ioprio_set", 251, 30),
    ("migrate_pages", 256, 238),
    ("move_pages", 279, 239),
    ("kcmp", 312, 272),
    ("process_madvise", 440, 440),
)
_OF_ITSELF_ALONE: Final = (  # their first argument is a process; 0 is the caller
    ("prlimit64", 302, 261),
    ("sched_setaffinity", 203, 122),
    ("sched_setscheduler", 144, 119),
    ("sched_setparam", 142, 118),
    ("sched_setattr", 314, 274),
)
_CLONE: Final = (56, 220)
_CLONE3: Final = 435
_SOCKETPAIR: Final = (53, 199)
_NEW_NAMESPACES: Final = 0x7E020080
_ARCHITECTURES: Final = (0xC000003E, 0xC00000B7)
_EPERM, _EACCES, _ENOSYS = 1, 13, 38
_ALLOW, _KILL = 0x7FFF0000, 0x80000000


def _instruction(code: int, yes: int, no: int, value: int) -> bytes:
    return struct.pack("HBBI", code, yes, no, value)


def _load(offset: int) -> bytes:
    return _instruction(0x20, 0, 0, offset)


def _fail(errno: int) -> bytes:
    return _instruction(6, 0, 0, 0x50000 | errno)


def _end(value: int) -> bytes:
    return _instruction(6, 0, 0, value)


def program(*, landlock: bool) -> bytes:
    """The filter for this machine: another machine's system calls end the process.

    ``landlock``: nothing else keeps the tool from its user's other files and processes.
    """
    machine = SYSCALL_MACHINES.index(platform.machine())
    steps = [
        _load(4),
        _instruction(0x15, 1, 0, _ARCHITECTURES[machine]),
        _end(_KILL),
        _load(0),
        _instruction(0x35, 0, 1, 0x40000000),  # x32
        _end(_KILL),
    ]
    for name, *numbers in (*_REFUSED, *(_OF_THE_SAME_USER if landlock else ())):
        if numbers[machine] >= 0:
            steps += [_instruction(0x15, 0, 1, numbers[machine]), _fail(_EACCES if name == "socket" else _EPERM)]
    for _, *numbers in _OF_ITSELF_ALONE:
        steps += [
            _instruction(0x15, 0, 4, numbers[machine]),
            _load(16),
            _instruction(0x15, 1, 0, 0),
            _fail(_EPERM),
            _end(_ALLOW),
        ]
    # The C library falls back to clone, whose flags can be looked at.
    steps += [_instruction(0x15, 0, 1, _CLONE3), _fail(_ENOSYS)]
    steps += [
        _instruction(0x15, 0, 4, _CLONE[machine]),
        _load(16),
        _instruction(0x45, 0, 1, _NEW_NAMESPACES),
        _fail(_EPERM),
        _end(_ALLOW),
    ]
    # A pair of datagram sockets could be pointed at a socket of another program; a connected stream cannot.
    steps += [
        _instruction(0x15, 0, 5, _SOCKETPAIR[machine]),
        _load(24),
        _instruction(0x54, 0, 0, 0xF),
        _instruction(0x15, 1, 0, 1),
        _fail(_EACCES),
        _end(_ALLOW),
    ]
    return b"".join([*steps, _end(_ALLOW)])


def install(code: bytes) -> None:
    """Confine this thread and all it starts."""
    buffer = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("HxxxxxxQ", len(code) // 8, ctypes.addressof(buffer))
    check(libc.prctl(22, 2, header, 0, 0), "seccomp")
