"""Writing and verifying the ledger, against SQLite and SHA-256 with nothing checked."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.house import furnish, settings_in
from benchmarks.measure import ROOT, Run, Subject, as_json, in_turn, median, process, ratio, table
from benchmarks.subjects import fill

EACH, THOUSANDS = 400, 20_000
CHECKPOINT_EVERY = 50_000
APPENDS = (  # name, module, act, entries; each of ours after its limit
    ("SQLite, a row a transaction", "benchmarks.limits", "raw_each", EACH),
    ("bwc, an entry a transaction", "benchmarks.subjects", "append_each", EACH),
    ("SQLite, 1000 rows a transaction", "benchmarks.limits", "raw_thousands", THOUSANDS),
    ("bwc, 1000 entries a transaction", "benchmarks.subjects", "append_thousands", THOUSANDS),
)
APPEND_NOTES = [
    "Every transaction is durable (WAL, synchronous=FULL): one writer can do no more than one fsync at a time.",
    "SQLite rows have the size of an entry with its record and salt, in one table; bwc writes the entry, its journal "
    "row with its two indexes, and the head, and reads the last entry before, so that a crack is seen.",
    "Counted from the first append, without start-up. Ratio: the limit's seconds divided by ours in the same round.",
]
VERIFY_NOTES = [
    "limit: bodies, salts and records read from SQLite and hashed once each, nothing compared.",
    "bwc ledger verify and tools/verify_ledger.py: form of every body and record, commitment, every column, clock, "
    "leaf hash, tree, every checkpoint's root; the first verifies all signatures, the second the latest 200.",
    "Whole processes, start-up included; the database is in the page cache.",
]


def bench(folder: Path, entries: int, rounds: int) -> tuple[str, dict[str, Any]]:
    """Both tables, and every run."""
    appended, append_runs = _appends(folder / "appends", rounds)
    verified, verify_runs = _verification(folder / "verification", entries, rounds)
    return f"{appended}\n{verified}", {"appends": append_runs, "verification": verify_runs}


def _appends(folder: Path, rounds: int) -> tuple[str, dict[str, Any]]:
    template, out = folder / "template", folder / "out"
    furnish(settings_in(template)).close()

    def subject(name: str, module: str, act: str, count: int) -> Subject:
        def run() -> Run:
            shutil.rmtree(out, ignore_errors=True)
            shutil.copytree(template, out)
            done = process((sys.executable, "-m", module, act, str(out), str(count)))
            return replace(done, wall_s=done.told["act_wall_s"], cpu_s=done.told["act_cpu_s"])

        return Subject(name, run)

    runs = in_turn([subject(*each) for each in APPENDS], rounds)
    rows = []
    for position, (name, _, _, count) in enumerate(APPENDS):
        limit = runs[APPENDS[position - position % 2][0]]
        rows.append(
            (
                name,
                f"{median(runs[name], lambda run, count=count: count / run.wall_s):,.0f}",  # type: ignore[misc]
                f"{median(runs[name], lambda run: run.cpu_s) / count * 1e6:.0f}",
                f"{1 / ratio(runs[name], limit, lambda run: run.wall_s):.2f}",
            )
        )
    header = ("subject", "entries/s", "CPU µs/entry", "speed / limit")
    return table(f"Appending, medians of {rounds} rounds", header, rows, APPEND_NOTES), as_json(runs)


def _verification(folder: Path, entries: int, rounds: int) -> tuple[str, dict[str, Any]]:
    settings = settings_in(folder)
    house = furnish(settings)
    written = 1  # entry 0 says whose ledger it is
    while written < entries:
        count = min(CHECKPOINT_EVERY, entries - written)
        fill(house, written, count)
        house.publish_checkpoint()
        written += count
    house.close()
    database = settings.data / "bwc.db"
    tool = ROOT / "tools" / "verify_ledger.py"
    commands: tuple[tuple[str, Sequence[str]], ...] = (
        ("limit: read and hash", (sys.executable, "-m", "benchmarks.limits", "hash_bodies", str(database))),
        ("bwc ledger verify", (sys.executable, "-m", "benchmarks.subjects", "verify", str(folder))),
        (
            "tools/verify_ledger.py",
            (sys.executable, str(tool), "--database", str(database), "--checkpoints", str(settings.checkpoint_folder)),
        ),
    )

    def subject(name: str, command: Sequence[str]) -> Subject:
        return Subject(name, lambda: process(command))

    runs = in_turn([subject(*each) for each in commands], rounds)
    limit = runs[commands[0][0]]
    header = ("subject", "entries/s", "CPU s per million", "peak RSS MB", "CPU / limit")
    rows = [_verify_row(name, runs[name], limit, entries) for name, _ in commands]
    size = database.stat().st_size / 1e6
    title = f"Verifying {entries:,} entries ({size:.0f} MB), medians of {rounds} rounds"
    return table(title, header, rows, VERIFY_NOTES), as_json(runs)


def _verify_row(name: str, runs: Sequence[Run], limit: Sequence[Run], entries: int) -> tuple[str, ...]:
    if not all(run.told.get("ok", True) for run in runs):
        raise RuntimeError(f"{name} found the benchmark's ledger wrong")
    cpu: Callable[[Run], float] = lambda run: run.cpu_s  # noqa: E731
    return (
        name,
        f"{entries / median(runs, lambda run: run.wall_s):,.0f}",
        f"{median(runs, cpu) / entries * 1e6:.1f}",
        f"{max(run.rss_mb for run in runs):.0f}",
        f"{ratio(runs, limit, cpu):.1f}",
    )
