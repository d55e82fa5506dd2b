"""How the media child locks itself in before it looks at one hostile byte.

Two steps, because libraries must be loaded in between: `confine` sets limits, leaves the network and gives up every
privilege; `seal` then forbids, by a system-call filter, opening any file, making any socket, process or program,
acting on any process but itself, and any memory or queue that outlasts it (System V and POSIX IPC).
Both layers are best effort where the kernel lacks them, and say so: the limits of `setrlimit` always hold.
Linux only; x86-64 and arm64 have the filter.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import signal
import struct
from typing import Any, Final, NamedTuple

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38
_CLONE_NEWIPC: Final = 0x08000000
_CLONE_NEWUSER: Final = 0x10000000
_CLONE_NEWNET: Final = 0x40000000
_CLONE_THREAD: Final = 0x00010000
_CAPABILITY_VERSION_3: Final = 0x20080522
_FILTER_MODE: Final = 1
_ALL_THREADS: Final = 1
_F_SETOWN, _F_SETSIG, _F_SETOWN_EX = 8, 10, 15
_FIOSETOWN, _SIOCSPGRP = 0x8901, 0x8902

_ALLOW: Final = 0x7FFF0000
_FAIL: Final = 0x00050000
_KILL: Final = 0x80000000
_LOAD: Final = 0x20
_JUMP_EQUAL: Final = 0x15
_JUMP_AT_LEAST: Final = 0x35
_JUMP_ANY_BIT: Final = 0x45
_RETURN: Final = 0x06


class _Machine(NamedTuple):
    """Numbers of one kind of processor: audit architecture, then system calls.

    `denied` fail with EACCES: open*, creat, socket*, bind, listen, accept*, connect, exec*, fork, vfork, ptrace,
    process_vm_*, kill and pidfd_*, unlink*, rename*, mkdir*, link*, symlink*, mknod*, chmod*, chown*, truncate, mount*,
    chroot, unshare, setns, bpf, io_uring_setup, perf_event_open, the keyring, userfaultfd, memfd_create,
    name_to_handle and open_by_handle.
    `denied_others`, likewise: tkill, rt_sigqueueinfo, rt_tgsigqueueinfo, kcmp, get_robust_list, process_madvise,
    process_mrelease, migrate_pages, move_pages, setpriority, sched_setaffinity, sched_setscheduler, sched_setparam,
    sched_setattr and ioprio_set (they act on other processes); shm*, sem*, msg* and mq_* (they outlast the child).
    """

    architecture: int
    seccomp: int
    clone: int
    clone3: int
    tgkill: int
    prlimit64: int
    fcntl: int
    ioctl: int
    denied: tuple[int, ...]
    denied_others: tuple[int, ...]


_X86_64: Final = _Machine(
    0xC000003E, 317, 56, 435, 234, 302, 72, 16,
    (2, 257, 437, 85, 41, 53, 49, 50, 43, 288, 42, 59, 322, 57, 58, 101, 310, 311, 62, 424, 434, 438, 87, 263, 82,
     264, 316, 83, 258, 86, 265, 88, 266, 133, 259, 90, 268, 92, 94, 260, 76, 165, 166, 155, 161, 272, 308, 321,
     425, 298, 248, 249, 250, 323, 319, 303, 304),
    (200, 129, 297, 312, 274, 440, 448, 256, 279, 141, 203, 144, 142, 314, 251,
     29, 30, 31, 67, 64, 65, 66, 220, 68, 69, 70, 71, 240, 241, 242, 243, 244, 245),
)  # fmt: skip
_AARCH64: Final = _Machine(
    0xC00000B7, 277, 220, 435, 131, 261, 25, 29,
    (56, 437, 198, 199, 200, 201, 202, 242, 203, 221, 281, 117, 270, 271, 129, 424, 434, 438, 35, 38, 276, 34, 37,
     36, 33, 53, 54, 45, 40, 39, 41, 51, 97, 268, 280, 425, 241, 217, 218, 219, 282, 279, 264, 265),
    (130, 138, 240, 272, 100, 440, 448, 238, 239, 140, 122, 119, 118, 274, 30,
     194, 196, 195, 197, 190, 193, 191, 192, 186, 189, 188, 187, 180, 181, 182, 183, 184, 185),
)  # fmt: skip
_MACHINES: Final = {"x86_64": _X86_64, "aarch64": _AARCH64}


def confine(*, memory: int, cpu_s: int, file_bytes: int, open_files: int, niceness: int, parent: int) -> bool:
    """Set the limits, die with the parent, drop privileges; whether the network was left too.

    `memory` and `file_bytes` in bytes, `cpu_s` in seconds of processor. Call it before any thread exists.
    Raises OSError when a limit cannot be set, and exits when `parent` (its process number) is gone already.
    """
    for kind, limit in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_NOFILE, open_files),
        (resource.RLIMIT_AS, memory),
    ):
        resource.setrlimit(kind, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 2))
    os.nice(niceness)
    libc = ctypes.CDLL(None, use_errno=True)
    network_left = _leave(libc)
    _drop_capabilities(libc)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
    return network_left


def seal() -> bool:
    """Forbid files, sockets, programs and other processes to every thread from now on; whether the kernel accepted.

    Only the process that calls it may signal itself and ask its own limits: a process forked later could not.
    """
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        return False
    program = _program(machine, os.getpid())
    code = ctypes.create_string_buffer(program, len(program))
    header = ctypes.create_string_buffer(
        struct.pack("@HxxxxxxQ", len(program) // 8, ctypes.addressof(code)), struct.calcsize("@HxxxxxxQ")
    )
    libc = ctypes.CDLL(None, use_errno=True)
    answer: int = libc.syscall(machine.seccomp, _FILTER_MODE, _ALL_THREADS, ctypes.byref(header))
    return answer == 0


def _leave(libc: Any) -> bool:
    """Leave the network, and System V and POSIX IPC where the kernel can; whether the network was left."""
    spaces = _CLONE_NEWUSER | _CLONE_NEWNET
    return any(libc.unshare(flags) == 0 for flags in (spaces | _CLONE_NEWIPC, spaces))


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    libc.capset(ctypes.create_string_buffer(header, 8), ctypes.create_string_buffer(24))


def _program(machine: _Machine, pid: int) -> bytes:
    """The filter as BPF instructions (linux/seccomp.h): a wrong architecture dies, listed calls fail, others pass.

    `pid` is the process it is for, the only one that tgkill and prlimit64 may name. Arguments are compared by their
    low 32 bits, which are all that the kernel reads of a process number or a command.
    """
    refuse = (_RETURN, 0, 0, _FAIL | errno.EACCES)
    allow = (_RETURN, 0, 0, _ALLOW)
    lines = [
        (_LOAD, 0, 0, 4),
        (_JUMP_EQUAL, 1, 0, machine.architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),
        (_JUMP_AT_LEAST, 0, 1, 0x40000000),
        refuse,
        (_JUMP_EQUAL, 0, 1, machine.clone3),
        (_RETURN, 0, 0, _FAIL | errno.ENOSYS),
    ]
    for number in machine.denied + machine.denied_others:
        lines += [(_JUMP_EQUAL, 0, 1, number), refuse]
    for number, argument, values, then, otherwise in (
        (machine.tgkill, 0, (pid,), allow, refuse),
        (machine.prlimit64, 0, (0, pid), allow, refuse),
        (machine.fcntl, 1, (_F_SETOWN, _F_SETSIG, _F_SETOWN_EX), refuse, allow),
        (machine.ioctl, 1, (_FIOSETOWN, _SIOCSPGRP), refuse, allow),
    ):
        block = [(_LOAD, 0, 0, 16 + 8 * argument)]
        for value in values:
            block += [(_JUMP_EQUAL, 0, 1, value), then]
        block.append(otherwise)
        lines += [(_JUMP_EQUAL, 0, len(block), number), *block]
    lines += [
        (_JUMP_EQUAL, 0, 3, machine.clone),
        (_LOAD, 0, 0, 16),
        (_JUMP_ANY_BIT, 1, 0, _CLONE_THREAD),
        refuse,
        allow,
    ]
    return b"".join(struct.pack("=HBBI", *line) for line in lines)
