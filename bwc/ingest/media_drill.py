"""Misbehaviour on command: what a hostile file could make the child do, so that its walls can be seen to hold.

Used by the tests, and by an installation that wants to check itself. Nothing here reads the source.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from bwc.ingest.media_wire import MAX_FRAME, RemoteSource, Reporter


def drill(source: RemoteSource, size: int, options: Mapping[str, Any], reporter: Reporter) -> dict[str, Any]:
    """Do the act named in `options["act"]`; an empty report when nothing stopped it. Raises KeyError if unknown.

    The act `reach` tries every call of `REACHES` on the parent, which dies if one gets through, and every one of `OWN`
    on itself; it reports the error number of each (0: it was done) and the child's namespaces.
    """
    act = str(options["act"])
    if act == "reach":
        return _reach()
    _ACTS[act](reporter)
    return {}


PARENT: Final = -1
ITSELF: Final = -2
REACHES: Final[Mapping[str, tuple[int, int, tuple[int, ...]]]] = {
    "prlimit64 files": (302, 261, (PARENT, 7)),
    "prlimit64 size": (302, 261, (PARENT, 1)),
    "kill": (62, 129, (PARENT, 9)),
    "kill group": (62, 129, (0, 0)),
    "tkill": (200, 130, (PARENT, 9)),
    "tgkill": (234, 131, (PARENT, PARENT, 9)),
    "rt_sigqueueinfo": (129, 138, (PARENT, 9)),
    "rt_sigqueueinfo itself": (129, 138, (ITSELF, 0)),
    "rt_tgsigqueueinfo": (297, 240, (PARENT, PARENT, 9)),
    "pidfd_open": (434, 434, (PARENT, 0)),
    "pidfd_send_signal": (424, 424, (0, 9)),
    "pidfd_getfd": (438, 438, (0, 0)),
    "ptrace": (101, 117, (16, PARENT)),
    "process_vm_readv": (310, 270, (PARENT,)),
    "process_vm_writev": (311, 271, (PARENT,)),
    "process_madvise": (440, 440, (0,)),
    "process_mrelease": (448, 448, (0,)),
    "kcmp": (312, 272, (PARENT, PARENT)),
    "get_robust_list": (274, 100, (PARENT,)),
    "migrate_pages": (256, 238, (PARENT,)),
    "move_pages": (279, 239, (PARENT,)),
    "setpriority": (141, 140, (0, PARENT, 19)),
    "sched_setaffinity": (203, 122, (PARENT, 8)),
    "sched_setscheduler": (144, 119, (PARENT, 5)),
    "sched_setparam": (142, 118, (PARENT,)),
    "sched_setattr": (314, 274, (PARENT,)),
    "ioprio_set": (251, 30, (1, PARENT, 0x6000)),
    "fcntl F_SETOWN": (72, 25, (2, 8, PARENT)),
    "fcntl F_SETSIG": (72, 25, (2, 10, 9)),
    "fcntl F_SETOWN_EX": (72, 25, (2, 15)),
    "ioctl FIOSETOWN": (16, 29, (2, 0x8901)),
    "ioctl SIOCSPGRP": (16, 29, (2, 0x8902)),
    "shmget": (29, 194, (0, 4096, 0o1600)),
    "shmat": (30, 196, (-3,)),
    "shmctl": (31, 195, (-3,)),
    "shmdt": (67, 197, (1,)),
    "semget": (64, 190, (0, 1, 0o1600)),
    "semop": (65, 193, (-3,)),
    "semctl": (66, 191, (-3,)),
    "semtimedop": (220, 192, (-3,)),
    "msgget": (68, 186, (0, 0o1600)),
    "msgsnd": (69, 189, (-3,)),
    "msgrcv": (70, 188, (-3,)),
    "msgctl": (71, 187, (-3,)),
    "mq_open": (240, 180, ()),
    "mq_unlink": (241, 181, ()),
    "mq_timedsend": (242, 182, (-3,)),
    "mq_timedreceive": (243, 183, (-3,)),
    "mq_notify": (244, 184, (-3,)),
    "mq_getsetattr": (245, 185, (-3,)),
}
"""System calls that act on another process or outlast this one: number on x86-64, on arm64, and arguments."""

OWN: Final[Mapping[str, tuple[int, int, tuple[int, ...]]]] = {
    "tgkill itself": (234, 131, (ITSELF, ITSELF, 0)),
    "prlimit64 zero": (302, 261, (0, 7)),
    "prlimit64 itself": (302, 261, (ITSELF, 7)),
    "fcntl F_GETFL": (72, 25, (2, 3)),
    "ioctl FIONREAD": (16, 29, (2, 0x541B)),
}
"""What libraries do to their own process, and must be able to: abort, ask limits, ask a descriptor."""


def _reach() -> dict[str, Any]:
    return {
        "answers": {name: _call(*call) for name, call in REACHES.items()},
        "own": {name: _call(*call) for name, call in OWN.items()},
        "namespaces": {kind: str(Path("/proc/self/ns", kind).readlink()) for kind in ("net", "ipc")},
    }


def _call(x86_64: int, aarch64: int, arguments: tuple[int, ...]) -> int:
    """Error number of the call, 0 when it was done. Arguments not given point to 64 zeros."""
    zeros = ctypes.create_string_buffer(64)
    number = {"x86_64": x86_64, "aarch64": aarch64}[platform.machine()]
    known = {PARENT: os.getppid(), ITSELF: os.getpid()}
    values = [known.get(value, value) for value in arguments]
    values += [ctypes.addressof(zeros)] * (3 - len(values)) + [0, 0, 0]
    libc = ctypes.CDLL(None, use_errno=True)
    done = libc.syscall(ctypes.c_long(number), *(ctypes.c_long(value) for value in values[:6]))
    return 0 if done >= 0 else ctypes.get_errno()


def _nothing(_: Reporter) -> None:
    """Be good."""


def _allocate(_: Reporter) -> None:
    held = []
    while True:
        held.append(bytearray(64 << 20))


def _loop(_: Reporter) -> None:
    while True:
        pass


def _sleep(_: Reporter) -> None:
    while True:
        time.sleep(60)


def _write(_: Reporter) -> None:
    Path("/tmp/bwc-drill").write_bytes(b"plain")  # noqa: S108


def _read(_: Reporter) -> None:
    Path("/etc/hostname").read_bytes()


def _connect(_: Reporter) -> None:
    with socket.socket() as line:
        line.connect(("192.0.2.1", 9))


def _execute(_: Reporter) -> None:
    os.execv("/bin/true", ["true"])  # noqa: S606


def _fork(_: Reporter) -> None:
    os.fork()


def _spill(_: Reporter) -> None:
    """Write to the standard error more than is kept, then fail."""
    for _number in range(10_000):
        os.write(2, b"x" * 1000)
    raise RuntimeError("spilled")


def _signal(number: signal.Signals) -> Callable[[Reporter], None]:
    def die(_: Reporter) -> None:
        signal.raise_signal(number)

    return die


def _flood(reporter: Reporter) -> None:
    while True:
        reporter.chunk(bytes(1 << 16))


def _shout(reporter: Reporter) -> None:
    reporter.chunk(bytes(MAX_FRAME + 1))


_ACTS: dict[str, Callable[[Reporter], None]] = {
    "nothing": _nothing,
    "allocate": _allocate,
    "loop": _loop,
    "sleep": _sleep,
    "write": _write,
    "read": _read,
    "connect": _connect,
    "execute": _execute,
    "fork": _fork,
    "spill": _spill,
    "fault": _signal(signal.SIGSEGV),
    "kill": _signal(signal.SIGKILL),
    "flood": _flood,
    "shout": _shout,
}
