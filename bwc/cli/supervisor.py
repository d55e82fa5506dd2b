"""Keeps the product's processes running under one terminal: starts them, restarts what dies, stops all of it."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import structlog

from bwc.core.errors import ConfigError
from bwc.demonstration.film import missing
from bwc.settings import Settings

log = structlog.get_logger()

STOP_AFTER_S = 30.0
READY_WITHIN_S = 60.0
_PR_SET_PDEATHSIG = 1
_ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True)
class Child:
    """One process to keep running."""

    name: str
    command: tuple[str, ...]
    once: bool = False  # done when it ends well


def children(settings: Settings, *, emulated: bool) -> tuple[Child, ...]:
    """Web, worker, scheduler and docking of one installation."""
    python = sys.executable
    celery = (python, "-m", "celery", "-A", "bwc.tasks.worker")
    dock = (python, "-m", "bwc.cli", "dock", *(("--emulated",) if emulated else ()))
    web = (
        python, "-m", "gunicorn", "wsgi:app", "--worker-class", "gthread", "--threads", str(settings.web_threads),
        "--workers", "1", "--bind", f"{settings.host}:{settings.port}", "--graceful-timeout", "5", "--timeout", "120",
        "--log-level", "warning", "--no-control-socket",
    )  # fmt: skip
    film = Child("film", (python, "-m", "bwc.demonstration.film", str(settings.dock_folder)), once=True)
    return (
        Child("web", web),
        Child("worker", (*celery, "worker", "--concurrency", "1", "--loglevel", "WARNING", "--without-gossip")),
        Child("scheduler", (*celery, "beat", "--loglevel", "WARNING", "--pidfile", "")),
        Child("docking", dock),
        *((film,) if emulated and missing(settings.dock_folder) else ()),
    )


def environment(settings: Settings) -> dict[str, str]:
    """The environment that gives a child process exactly these settings."""
    mine = {f"BWC_{name.upper()}": str(value) for name, value in settings.model_dump().items()}
    for name in ("BWC_DATA", "BWC_ROOT_KEY_FILE", "BWC_TOWN"):
        mine[name] = str(Path(mine[name]).resolve())
    return {**os.environ, **mine}


@contextmanager
def alone(settings: Settings) -> Iterator[bool]:
    """Held by one `bwc up` from before it initialises until it stops; gives False when another holds the folder.

    Raises ConfigError when another program holds the port.
    """
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (settings.data / ".up").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        _check_port(settings)
        yield True


def _check_port(settings: Settings) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {settings.host}:{settings.port}: {error}",
                person=f"Le port {settings.port} est pris par un autre programme : choisissez-en un avec --port.",
            ) from error


class Supervisor:
    """Runs children until Ctrl-C or SIGTERM."""

    def __init__(self, settings: Settings, kept: tuple[Child, ...]) -> None:
        """Nothing is started yet."""
        self._settings = settings
        self._kept = kept
        self._stop = threading.Event()
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._logs = settings.data / "logs"

    def run(self, ready: Callable[[], None]) -> None:
        """Start everything, call `ready` once the web answers, keep everything running until told to stop."""
        self._logs.mkdir(parents=True, exist_ok=True, mode=0o700)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self._stop.set())
        try:
            for child in self._kept:
                self._start(child)
            if self._answers():
                ready()
            self._watch()
        finally:
            self._stop_all()

    def _start(self, child: Child) -> None:
        out: IO[bytes] = (self._logs / f"{child.name}.log").open("ab")
        with out:
            self._running[child.name] = subprocess.Popen(
                child.command,
                cwd=_ROOT,
                env=environment(self._settings),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )

    def _answers(self) -> bool:
        url = f"http://{self._settings.host}:{self._settings.port}/connexion"
        deadline = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < deadline and not self._stop.is_set():
            try:
                with urllib.request.urlopen(url, timeout=2):
                    return True
            except (urllib.error.URLError, OSError):
                self._stop.wait(0.2)
        if not self._stop.is_set():
            log.error("web.not_answering", log=str(self._logs / "web.log"))
        return False

    def _watch(self) -> None:
        """Restart what dies, more slowly each time it dies young."""
        pauses = {child.name: 1.0 for child in self._kept}
        started = {child.name: time.monotonic() for child in self._kept}
        while not self._stop.wait(0.5):
            for child in self._kept:
                code = self._running[child.name].poll()
                if code is None or (child.once and code == 0):
                    continue
                young = time.monotonic() - started[child.name] < 60
                pauses[child.name] = min(30.0, pauses[child.name] * 2) if young else 1.0
                log.error("child.died", child=child.name, code=code, restart_in_s=pauses[child.name])
                if self._stop.wait(pauses[child.name]):
                    return
                self._start(child)
                started[child.name] = time.monotonic()

    def _stop_all(self) -> None:
        for process in self._running.values():
            if process.poll() is None:
                process.terminate()
        deadline = time.monotonic() + STOP_AFTER_S
        for name, process in self._running.items():
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.warning("child.killed", child=name)
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _die_with_parent() -> None:
    """A child never outlives a supervisor that was killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
