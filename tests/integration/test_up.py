"""`bwc up` as its user runs it: all starts, a camera is docked, a killed process comes back, Ctrl-C stops all."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bwc.cli.supervisor import environment
from bwc.demonstration.cameras import PLANS, PRODUCT_ID, VENDOR_ID
from bwc.demonstration.footage import footage
from bwc.docking.card_maker import make_card
from bwc.docking.emulation import CameraSpec, describe, put
from bwc.settings import Settings
from docks import MIB, source
from factories import ROOT


@pytest.fixture
def ready(settings: Settings) -> Settings:
    """Settings on a free port, with small cards already in the emulated dock."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    chosen = settings.model_copy(update={"port": port})
    now = datetime.now(UTC)
    film = footage(now, 2, "CAM-07", width=320, height=180, fps=5)
    for number, plan in enumerate(PLANS):
        folder = chosen.dock_folder / "cameras"
        folder.mkdir(parents=True, exist_ok=True)
        path = f"DCIM/{now:%Y%m%d}/{plan.label.replace('-', '')}_{now:%Y%m%d_%H%M%S}_0001.MP4"
        data = film + bytes([number]) * 3000
        make_card(folder / f"{plan.label}.img", "fat32", 64 * MIB, [source(path, data)], label=plan.label)
        spec = CameraSpec(f"{plan.label}.img", VENDOR_ID, PRODUCT_ID, plan.serial, "Body camera", "bwc")
        describe(chosen.dock_folder, plan.label, spec)
    return chosen


class Up:
    """A running `bwc up --demo` and what it printed."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bwc.cli", "up", "--demo"],
            cwd=ROOT,
            env=environment(settings),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(iter(self.process.stdout.readline, ""))

    def wait_for(self, pattern: str, patience_s: float = 120) -> re.Match[str]:
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            for line in self.lines:
                if found := re.search(pattern, line):
                    return found
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        logs = "\n".join(path.read_text() for path in (self.settings.data / "logs").glob("*.log"))
        raise AssertionError("".join(self.lines) + logs[-4000:])

    def get(self, path: str) -> bytes:
        url = f"http://127.0.0.1:{self.settings.port}{path}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return bytes(answer.read())

    def children(self) -> dict[str, int]:
        """Process ids by a word of their command line."""
        found = {}
        for status in Path("/proc").glob("[0-9]*/stat"):
            try:
                parent = int(status.read_text().rpartition(")")[2].split()[1])
                command = (status.parent / "cmdline").read_text().split("\0")
            except OSError:
                continue
            if parent == self.process.pid:
                name = next(name for name in ("gunicorn", "beat", "worker", "dock") if name in command)
                found[name] = int(status.parent.name)
        return found

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(60)
        self.reader.join(5)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code


@contextmanager
def up(settings: Settings) -> Iterator[Up]:
    running = Up(settings)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.interrupt()


def recordings(settings: Settings) -> list[dict[str, object]]:
    done = subprocess.run(
        [sys.executable, "-m", "bwc.cli", "recordings", "--json"],
        cwd=ROOT,
        env=environment(settings),
        capture_output=True,
        text=True,
        check=True,
    )
    return list(json.loads(done.stdout))


def wait_for_recordings(settings: Settings, count: int) -> list[dict[str, object]]:
    deadline = time.monotonic() + 90
    while len(found := recordings(settings)) < count:
        assert time.monotonic() < deadline, found
        time.sleep(0.5)
    return found


def test_everything_starts_works_comes_back_and_stops(ready: Settings) -> None:
    with up(ready) as first:
        first.wait_for(rf"prêt : http://127\.0\.0\.1:{ready.port}")
        first.wait_for("DÉMONSTRATION")
        first.wait_for("Mot de passe de tous les comptes : .+-.+-")
        page = first.get("/station").decode()
        assert "démonstration" in page.lower()
        put(ready.dock_folder, 1, PLANS[0].label)
        wait_for_recordings(ready, 1)
        before = first.children()
        assert set(before) == {"gunicorn", "beat", "worker", "dock"}
        os.kill(before["dock"], signal.SIGKILL)
        put(ready.dock_folder, 2, PLANS[1].label)
        wait_for_recordings(ready, 2)
        assert first.children()["dock"] != before["dock"]
        after = first.children()
        assert first.interrupt() == 0
    for pid in after.values():
        assert not Path(f"/proc/{pid}").exists()
    with up(ready) as second:
        second.wait_for("prêt")
        assert len(recordings(ready)) == 2
        again = subprocess.run(
            [sys.executable, "-m", "bwc.cli", "up", "--demo"],
            cwd=ROOT,
            env=environment(ready),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert again.returncode == 0
        assert "Déjà démarré" in again.stdout


def test_a_port_taken_by_another_program_is_said_so(ready: Settings) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = ready.model_copy(update={"port": other.getsockname()[1]})
        done = subprocess.run(
            [sys.executable, "-m", "bwc.cli", "up", "--demo"],
            cwd=ROOT,
            env=environment(taken),
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 7
    assert "est pris par un autre programme" in done.stderr
