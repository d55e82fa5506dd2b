"""Misbehaviour on command: what a hostile file could make the child do, so that its walls can be seen to hold.

Used by the tests, and by an installation that wants to check itself. Nothing here reads the source.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bwc.ingest.media_wire import MAX_FRAME, RemoteSource, Reporter


def drill(source: RemoteSource, size: int, options: Mapping[str, Any], reporter: Reporter) -> dict[str, Any]:
    """Do the act named in `options["act"]`; an empty report when nothing stopped it. Raises KeyError if unknown."""
    _ACTS[str(options["act"])](reporter)
    return {}


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
