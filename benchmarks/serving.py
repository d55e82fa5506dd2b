"""Showing a recording: ranges and the whole of it through the real application, against nginx's plain static file."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.house import furnish, provenance, settings_in
from benchmarks.machine import program, version
from benchmarks.measure import ROOT, Run, Subject, as_json, in_turn, median, process, table
from benchmarks.source import MIB, write_source
from bwc.cli.supervisor import children, environment
from bwc.demonstration.accounts import password_file
from bwc.ingest.intake import take_in
from bwc.settings import Settings

LOGIN = "responsable"
PATIENCE_S = 60.0
_TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')
LOADS = (  # name, bytes of a range or 0 for the whole, connections
    ("1 MiB ranges", MIB, 1),
    ("1 MiB ranges", MIB, 8),
    ("whole", 0, 1),
    ("whole", 0, 8),
)
NOTES = [
    "bwc: gunicorn as `bwc up` starts it (one process, gthread), a person signed in through the form, a motive "
    "declared; each range checks session, person, habilitation, consultation and term again, then decrypts and "
    "authenticates; ranges begin anywhere, so that one of 1 MiB decrypts up to 1.06 MiB.",
    "nginx: the same bytes in clear, sendfile, no check at all: the ceiling of this machine and client.",
    "The client is the same for both and runs on the same cores; container and file are in the page cache.",
    "CPU s/GB: of the server's processes alone. Peak RSS: of its processes together; shared pages count in each.",
]


@dataclass(frozen=True)
class Server:
    """A server that answers: where, what to ask, and the process at its head."""

    name: str
    port: int
    path: str
    headers: dict[str, str]
    pid: int


def bench(folder: Path, mib: int, rounds: int, seconds: float = 3.0) -> tuple[str, dict[str, Any]]:
    """The table, and every run."""
    plain = folder / "plain.bin"
    write_source(plain, mib * MIB)
    with ExitStack() as stack:
        servers = [stack.enter_context(_bwc(folder, plain))]
        if program("nginx"):
            servers.append(stack.enter_context(_nginx(folder, plain)))
        subjects = [
            Subject(_name(server, load), lambda server=server, load=load: _measure(server, load, mib * MIB, seconds))  # type: ignore[misc]
            for load in LOADS
            for server in servers
        ]
        runs = in_turn(subjects, rounds)
    rows = [_row(name, load, runs) for load in LOADS for name in ("bwc", "nginx, in clear")]
    header = ("server", "asked", "clients", "MB/s", "p50 ms", "p99 ms", "CPU s/GB", "peak RSS MB")
    title = f"Serving a recording of {mib} MiB, medians of {rounds} rounds of {seconds:.0f} s"
    server_versions = f"Versions: gunicorn {version(sys.executable, '-m', 'gunicorn', '--version')}, " + (
        f"nginx {version(program('nginx') or 'nginx', '-v') or 'absent'}"
    )
    return table(title, header, rows, [*NOTES, server_versions]), as_json(runs)


def _name(server: Server, load: tuple[str, int, int]) -> str:
    return f"{server.name}, {load[0]}, {load[2]}"


def _row(name: str, load: tuple[str, int, int], runs: dict[str, list[Run]]) -> tuple[str, ...]:
    mine = runs.get(f"{name}, {load[0]}, {load[2]}", [])
    if not mine:
        return name, load[0], str(load[2]), "absent", "", "", "", ""
    return (
        name,
        load[0],
        str(load[2]),
        f"{median(mine, lambda run: run.told['mb_s']):.0f}",
        f"{median(mine, lambda run: run.told['p50_ms']):.1f}",
        f"{median(mine, lambda run: run.told['p99_ms']):.1f}",
        f"{median(mine, lambda run: run.cpu_s / run.told['gb']):.2f}",
        f"{max(run.rss_mb for run in mine):.0f}",
    )


def _measure(server: Server, load: tuple[str, int, int], size: int, seconds: float) -> Run:
    asked = {
        "port": server.port,
        "path": server.path,
        "headers": server.headers,
        "size": size,
        "range_bytes": load[1],
        "clients": load[2],
        "seconds": seconds,
    }
    before = _cpu_s(server.pid)
    done = process((sys.executable, "-m", "benchmarks.client", json.dumps(asked)))
    spent = _cpu_s(server.pid) - before
    told = done.told
    if told["fault"]:
        raise RuntimeError(f"{server.name}: {told['fault']}")
    waits: list[float] = told["latencies_ms"]
    figures = {
        "mb_s": told["received"] / 1e6 / told["seconds"],
        "gb": told["received"] / 1e9,
        "p50_ms": waits[len(waits) // 2],
        "p99_ms": waits[min(len(waits) - 1, len(waits) * 99 // 100)],
        "requests": len(waits),
        "client_cpu_s": told["client_cpu_s"],
    }
    return Run(told["seconds"], spent, _peak_rss_mb(server.pid), figures)


@contextmanager
def _bwc(folder: Path, plain: Path) -> Iterator[Server]:
    """The real application over one recording, a consultation of it open."""
    settings = settings_in(folder, port=_free_port())
    house = furnish(settings)
    with plain.open("rb", buffering=0) as file:
        taken = take_in(house, file, provenance(house, plain.stat().st_size))
    house.close()
    command = next(child.command for child in children(settings, emulated=False) if child.name == "web")
    with _running(command, folder / "web.log", environment(settings)) as process_:
        _wait_for(settings.port, "/connexion")
        yield _signed_in(settings, taken.recording_id, process_.pid)


def _signed_in(settings: Settings, recording_id: str, pid: int) -> Server:
    browser = _Browser(settings.port)
    password = password_file(settings).read_text().strip()
    browser.send("/connexion", "/connexion", login=LOGIN, password=password)
    page = f"/enregistrements/{recording_id}"
    place = browser.send(page, f"{page}/consultation", motive="compte_rendu")
    path = urllib.parse.urlsplit(place).path + "/images/original"
    return Server("bwc", settings.port, path, {"Cookie": browser.cookie}, pid)


class _Browser:
    """Just enough of one to send two forms."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._cookies: dict[str, str] = {}

    @property
    def cookie(self) -> str:
        """What to send back."""
        return "; ".join(f"{name}={value}" for name, value in self._cookies.items() if value)

    def send(self, page: str, address: str, **form: str) -> str:
        """Open a page, send a form of it; returns where it leads. Raises RuntimeError when it leads nowhere."""
        token = _TOKEN.search(self._ask("GET", page)[1])
        if token is None:
            raise RuntimeError(f"no form on {page}")
        body = urllib.parse.urlencode({"csrf_token": token[1], **form})
        place, text = self._ask("POST", address, body)
        if not place:
            raise RuntimeError(f"{address} was refused: {text[:500]}")
        return place

    def _ask(self, method: str, path: str, body: str | None = None) -> tuple[str, str]:
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        headers = {"Cookie": self.cookie} if self.cookie else {}
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        line.request(method, path, body, headers)
        answer = line.getresponse()
        for value in answer.headers.get_all("Set-Cookie") or []:
            name, _, kept = value.split(";")[0].partition("=")
            self._cookies[name] = kept
        text = answer.read().decode(errors="replace")
        line.close()
        return answer.headers.get("Location", ""), text


@contextmanager
def _nginx(folder: Path, plain: Path) -> Iterator[Server]:
    port = _free_port()
    user = "user root;" if os.geteuid() == 0 else ""
    configuration = folder / "nginx.conf"
    configuration.write_text(
        f"{user} daemon off; worker_processes auto; pid {folder}/nginx.pid; error_log {folder}/nginx.log;\n"
        f"events {{ worker_connections 64; }}\n"
        f"http {{ access_log off; sendfile on; server {{ listen 127.0.0.1:{port}; root {folder}; }} }}\n"
    )
    command = (program("nginx") or "nginx", "-p", str(folder), "-c", str(configuration))
    with _running(command, folder / "nginx.out", dict(os.environ)) as process_:
        _wait_for(port, f"/{plain.name}", method="HEAD")
        yield Server("nginx, in clear", port, f"/{plain.name}", {}, process_.pid)


@contextmanager
def _running(command: Sequence[str], log: Path, env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as out:
        server = subprocess.Popen(command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        yield server
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait_for(port: int, path: str, method: str = "GET") -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            line = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            line.request(method, path)
            line.getresponse().read()
            line.close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"no server on port {port}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _family(pid: int) -> list[int]:
    """A process and its children."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += _family(int(child))
    return found


def _cpu_s(pid: int) -> float:
    ticks = 0
    for one in _family(pid):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(") ")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _peak_rss_mb(pid: int) -> float:
    total = 0
    for one in _family(pid):
        found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{one}/status").read_text())
        total += int(found[1]) if found else 0
    return total / 1024
