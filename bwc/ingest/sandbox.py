"""Runs one media task in a child that holds no key, no database and no network, and survives whatever it does.

The child asks for bytes of the source; the parent reads them (from the vault, decrypting) and sends them. What comes
back is believed only as far as its size: one bounded JSON report, and a bounded stream for a derivative. A hostile
file gives a `Failed`, never an exception; only the caller's own source and sink may raise, and that stops the child.
The confinement itself is in `bwc.ingest.media_confine`. Custody reference W11, F15.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Literal, Protocol, Self

import structlog

from bwc.ingest import media_wire as wire
from bwc.ingest.spool import disk_bytes, open_unlinked

log = structlog.get_logger(__name__)

Reason = Literal["timeout", "killed", "memory", "crashed", "refused"]

_STDERR_KEPT: Final = 8 * 1024
_GRACE_S: Final = 5.0
_ENVIRONMENT: Final = {
    "PATH": "/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",
}


class Source(Protocol):
    """What is examined: a seekable binary file, such as the vault's reader."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move to a position in bytes."""

    def read(self, size: int = -1, /) -> bytes | None:
        """At most `size` bytes from the position; none at the end."""


@dataclass(frozen=True)
class Limits:
    """What a child may take: bytes of address space, seconds of processor and of wall clock, open files, bytes of
    derivative sent back, bytes of spool on disk (0: it may not write a file at all), and its niceness (0 to 19).
    """

    memory: int = 2 << 30
    cpu_s: int = 60
    wall_s: float = 60.0
    open_files: int = 64
    output: int = 0
    spool: int = 0
    niceness: int = 0


@dataclass(frozen=True)
class Done:
    """The child finished; `report` is what it says, untrusted: read it with a checking constructor."""

    report: dict[str, Any]


@dataclass(frozen=True)
class Failed:
    """The child did not finish. `detail` is an English line for the log, bounded and printable.

    Reasons: `timeout` (wall or processor), `killed` (a signal from outside, such as the kernel short of memory),
    `memory` (its own limit), `crashed` (fault, abort or error), `refused` (it tried what it may not).
    """

    reason: Reason
    detail: str


Result = Done | Failed


def run(
    task: str,
    source: Source,
    size: int,
    limits: Limits,
    *,
    sink: Callable[[bytes], None] | None = None,
    progress: Callable[[int], None] | None = None,
    options: Mapping[str, Any] | None = None,
    spool_folder: Path | None = None,
) -> Result:
    """Result of `task` (a name of `bwc.ingest.media_child.TASKS`) on the `size` first bytes of `source`.

    `sink` receives a derivative's bytes in order, `progress` thousandths (0 to 1000, rising). `spool_folder`, needed
    when `limits.spool` is not 0, receives a nameless encrypted file. Memory in this process stays below about 8 MiB.
    Raises only what `source`, `sink` or `progress` raise (the child is killed first), and OSError when no process
    or spool can be made.
    """
    with _Child(task, size, limits, dict(options or {}), spool_folder) as child:
        conversation = _Conversation(child, source, size, limits, sink, progress)
        try:
            breach = conversation.hold()
        except _BreachError as error:
            breach = Failed("refused", str(error))
        result = breach or child.verdict(conversation.report)
    if isinstance(result, Failed):
        log.warning("media task failed", task=task, size=size, reason=result.reason, detail=result.detail)
    elif not child.sealed(result):
        _say_once(str(result.report.get("confinement"))[:100])
    return result


@lru_cache(maxsize=8)
def _say_once(layers: str) -> None:
    log.warning("this kernel does not give the media child every layer of its confinement", layers=layers)


class _BreachError(Exception):
    """The child broke the protocol."""


class _Child:
    """The process, its descriptors, and its certain end."""

    def __init__(
        self, task: str, size: int, limits: Limits, options: dict[str, Any], spool_folder: Path | None
    ) -> None:
        self._deadline = time.monotonic() + limits.wall_s
        self.stderr = bytearray()
        with contextlib.ExitStack() as opened:
            self.line, theirs = socket.socketpair()
            opened.callback(theirs.close)
            guard = opened.enter_context(contextlib.ExitStack())
            guard.callback(self.line.close)
            self.results, out = os.pipe()
            opened.callback(os.close, out)
            guard.callback(os.close, self.results)
            passed = [theirs.fileno(), out]
            if limits.spool:
                if spool_folder is None:
                    raise ValueError("a task with a spool needs a folder")
                spool = open_unlinked(spool_folder)
                opened.callback(os.close, spool)
                passed.append(spool)
            settings = self._settings(task, size, limits, options, passed)
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-m", "bwc.ingest.media_child", json.dumps(settings)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=passed,
                env=_ENVIRONMENT,
                cwd="/",
                start_new_session=True,
            )
            guard.callback(self._end)
            self.exit = os.pidfd_open(self._process.pid)
            guard.pop_all()

    @staticmethod
    def _settings(task: str, size: int, limits: Limits, options: dict[str, Any], passed: list[int]) -> dict[str, Any]:
        return {
            "task": task,
            "size": size,
            "options": options,
            "line": passed[0],
            "out": passed[1],
            "spool": passed[2] if limits.spool else None,
            "spool_bytes": limits.spool,
            "confine": {
                "memory": limits.memory,
                "cpu_s": limits.cpu_s,
                "file_bytes": disk_bytes(limits.spool) if limits.spool else 0,
                "open_files": limits.open_files,
                "niceness": limits.niceness,
                "parent": os.getpid(),
            },
        }

    @property
    def errors(self) -> IO[bytes]:
        """Its standard error, unread part."""
        stream = self._process.stderr
        if stream is None:
            raise AssertionError("standard error is always a pipe")
        return stream

    def left(self) -> float:
        """Seconds before the wall limit, never negative."""
        return max(0.0, self._deadline - time.monotonic())

    def keep_errors(self, data: bytes) -> None:
        """Remember the last bytes of its standard error."""
        self.stderr += data
        del self.stderr[:-_STDERR_KEPT]

    def verdict(self, report: dict[str, Any] | None) -> Result:
        """What its end means, once it has ended by itself."""
        self._process.wait(_GRACE_S)
        code = self._process.returncode
        if code == 0 and report is not None:
            return Done(report)
        return Failed(self._reason(code), self._detail(code))

    def _reason(self, code: int) -> Reason:
        if code == wire.EXIT_MEMORY or (code < 0 and b"bad_alloc" in self.stderr):
            return "memory"
        if code in (wire.EXIT_REFUSED, -signal.SIGSYS, -signal.SIGXFSZ):
            return "refused"
        if code == -signal.SIGXCPU:
            return "timeout"
        return "killed" if code in (-signal.SIGKILL, -signal.SIGTERM) else "crashed"

    def _detail(self, code: int) -> str:
        last = bytes(self.stderr).decode("utf-8", "replace").strip().rpartition("\n")[2]
        return f"exit {code}: {''.join(c if c.isprintable() else '?' for c in last)[:200]}"

    @staticmethod
    def sealed(done: Done) -> bool:
        """Whether every layer of the confinement was in place, as the child reported it."""
        layers = done.report.get("confinement")
        return isinstance(layers, dict) and all(layers.get(name) is True for name in ("network", "calls"))

    def _end(self) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self.errors.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
        self.line.close()
        os.close(self.results)
        os.close(self.exit)


@dataclass
class _Conversation:
    """Serves the source and takes the results until the child has ended or the time is up."""

    child: _Child
    source: Source
    size: int
    limits: Limits
    sink: Callable[[bytes], None] | None
    progress: Callable[[int], None] | None
    report: dict[str, Any] | None = None
    _requests: bytearray = field(default_factory=bytearray)
    _frames: bytearray = field(default_factory=bytearray)
    _sent: int = 0

    def hold(self) -> Failed | None:
        """None once the child has ended by itself, or the time-out; raises as `run`."""
        os.set_blocking(self.child.results, False)
        with selectors.DefaultSelector() as selector:
            selector.register(self.child.line, selectors.EVENT_READ, self._serve)
            selector.register(self.child.results, selectors.EVENT_READ, self._listen)
            selector.register(self.child.errors, selectors.EVENT_READ, self._overhear)
            selector.register(self.child.exit, selectors.EVENT_READ, None)
            while True:
                ready = selector.select(self.child.left())
                if not self.child.left():
                    return Failed("timeout", f"wall limit of {self.limits.wall_s:g} s")
                for key, _ in ready:
                    if key.data is not None and not key.data():
                        selector.unregister(key.fileobj)
                if any(key.data is None for key, _ in ready):
                    while self._listen():
                        pass
                    self._overhear()
                    return None

    def _serve(self) -> bool:
        try:
            data = self.child.line.recv(64 * wire.REQUEST.size)
        except OSError:
            data = b""
        self._requests += data
        while len(self._requests) >= wire.REQUEST.size:
            offset, length = wire.REQUEST.unpack_from(self._requests)
            del self._requests[: wire.REQUEST.size]
            if length > wire.MAX_REQUEST or offset + length > self.size:
                raise _BreachError("asked for bytes outside the source")
            if not self._answer(self._read(offset, length)):
                return False
        return bool(data)

    def _read(self, offset: int, length: int) -> bytes:
        self.source.seek(offset)
        parts = bytearray()
        while len(parts) < length:
            part = self.source.read(length - len(parts))
            if not part:
                break
            parts += part
        return bytes(parts)

    def _answer(self, data: bytes) -> bool:
        self.child.line.settimeout(max(0.001, self.child.left()))
        try:
            self.child.line.sendall(wire.ANSWER.pack(len(data)) + data)
        except OSError:  # the child has gone, or does not take its answer within the wall limit
            return False
        return True

    def _listen(self) -> bool:
        try:
            data = os.read(self.child.results, 1 << 18)
        except BlockingIOError:
            return False
        self._frames += data
        for kind, payload in self._complete():
            self._take(kind, payload)
        return bool(data)

    def _complete(self) -> Iterator[tuple[bytes, bytes]]:
        while len(self._frames) >= wire.FRAME.size:
            kind, length = wire.FRAME.unpack_from(self._frames)
            if length > wire.MAX_FRAME:
                raise _BreachError("sent a frame past its limit")
            end = wire.FRAME.size + length
            if len(self._frames) < end:
                return
            payload = bytes(memoryview(self._frames)[wire.FRAME.size : end])
            del self._frames[:end]
            yield kind, payload

    def _take(self, kind: bytes, payload: bytes) -> None:
        if kind == wire.CHUNK and self.report is None:
            self._sent += len(payload)
            if self._sent > self.limits.output or self.sink is None:
                raise _BreachError("sent more than its task may give")
            self.sink(payload)
        elif kind == wire.PROGRESS and len(payload) <= 4 and payload.isdigit():
            if self.progress is not None:
                self.progress(min(1000, int(payload)))
        elif kind == wire.REPORT and self.report is None:
            self.report = _report(payload)
        else:
            raise _BreachError("sent an unknown frame")

    def _overhear(self) -> bool:
        data = os.read(self.child.errors.fileno(), 1 << 14)
        self.child.keep_errors(data)
        return bool(data)


def _report(payload: bytes) -> dict[str, Any]:
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise _BreachError("sent a report that is not JSON") from error
    if not isinstance(value, dict):
        raise _BreachError("sent a report that is not an object")
    return value
