"""Throw-away servers for tests, started from the machine's installed programs and gone at the end."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

POSTGRES = Path("/usr/lib/postgresql")
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "60",
    "timezone": "UTC",
}


def _program(name: str) -> str:
    found = sorted(POSTGRES.glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    if not found:
        pytest.fail(f"{name} is not installed; type: apt-get install -y postgresql", pytrace=False)
    return str(found[-1])


def _as_owner() -> list[str]:
    """How to run as the owner of a cluster: initdb refuses root, so root steps down to `postgres`."""
    return ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []


def _run(folder: Path, *command: str) -> None:
    done = subprocess.run(
        [*_as_owner(), *command], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120
    )
    if done.returncode:
        log = folder / "log"
        tail = log.read_text(errors="replace")[-2000:] if log.exists() else ""
        pytest.fail(f"{command[0]} failed: {done.stdout}{done.stderr}{tail}", pytrace=False)


@contextmanager
def throwaway_postgres(tmp: Path | None = None) -> Iterator[str]:
    """A fresh PostgreSQL cluster on a Unix socket only; yields the SQLAlchemy URL of its `postgres` database.

    Made under `tmp` when given and its owner can be the server's, else under the machine's temporary folder (a
    socket's path is at most 107 bytes, and pytest's folders are closed to `postgres`).
    """
    initdb, pg_ctl = _program("initdb"), _program("pg_ctl")
    parent = str(tmp) if tmp is not None and os.geteuid() != 0 and len(str(tmp)) < 70 else None
    folder = Path(tempfile.mkdtemp(prefix="bwc-pg-", dir=parent))
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
        data = folder / "data"
        _run(folder, initdb, "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
        options = " ".join(f"-c {name}='{value}'" for name, value in _SETTINGS.items())
        _run(folder, pg_ctl, "-D", str(data), "-w", "-l", str(folder / "log"), "-o", f"{options} -k {folder}", "start")
        with _stopped_at_the_end(folder, pg_ctl, "-D", str(data), "-m", "immediate", "-w", "stop"):
            yield f"postgresql+psycopg://postgres@/postgres?host={folder}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _stopped_at_the_end(folder: Path, *stop: str) -> Iterator[None]:
    """Run `stop` and remove `folder` on leaving, or when this process dies: a watcher waits for our end of a pipe."""
    script = 'read -r _; folder=$1; shift; "$@" >/dev/null 2>&1; rm -rf "$folder"'
    command = ["sh", "-c", script, "watcher", str(folder), *_as_owner(), *stop]
    watcher = subprocess.Popen(command, stdin=subprocess.PIPE, cwd="/", start_new_session=True)
    try:
        yield
    finally:
        assert watcher.stdin is not None
        watcher.stdin.close()
        watcher.wait(timeout=60)
