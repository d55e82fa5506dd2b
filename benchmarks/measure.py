"""Running subjects in turn, each as a process of its own, and printing what they took."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Run:
    """One run of a subject: seconds of wall, seconds of CPU of it and its children, peak RSS in MB, what it told."""

    wall_s: float
    cpu_s: float
    rss_mb: float
    told: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Subject:
    """Something to measure. `run` does what is not measured around what is, and returns the measure."""

    name: str
    run: Callable[[], Run]


def process(command: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path = ROOT) -> Run:
    """Run a command to its end; raises RuntimeError when it fails. Its last line, if JSON, is what it told."""
    launcher = (sys.executable, "-I", "-S", str(Path(__file__).parent / "launch.py"))
    done = subprocess.run(
        (*launcher, *command),
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stderr[-2000:]}")
    *said, took = [line for line in done.stdout.splitlines() if line.strip()]
    told = json.loads(said[-1]) if said and said[-1].startswith("{") else {}
    return Run(**json.loads(took), told=told)


def in_turn(subjects: Sequence[Subject], rounds: int) -> dict[str, list[Run]]:
    """Each subject once a round, the first of a round another each time, after a round that is not kept.

    That one warms memory, which in a virtual machine is far slower at its first touch.
    """
    runs: dict[str, list[Run]] = {subject.name: [] for subject in subjects}
    for number in range(-1, rounds):
        start = max(number, 0) % len(subjects)
        for subject in (*subjects[start:], *subjects[:start]):
            run = subject.run()
            if number >= 0:
                runs[subject.name].append(run)
    return runs


def median(runs: Sequence[Run], value: Callable[[Run], float]) -> float:
    """Median of a value over runs."""
    return statistics.median(value(run) for run in runs)


def ratio(runs: Sequence[Run], ours: Sequence[Run], value: Callable[[Run], float]) -> float:
    """Median over rounds of a subject's value divided by ours of the same round."""
    return statistics.median(value(other) / value(mine) for other, mine in zip(runs, ours, strict=True))


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str]) -> str:
    """A Markdown table with its title and notes."""
    widths = [max(len(line[column]) for line in (header, *rows)) for column in range(len(header))]
    rule = ["-" * width for width in widths]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in (header, rule, *rows)
    ]
    return "\n".join([f"## {title}", "", *lines, "", *(f"* {note}" for note in notes), ""])


def as_json(runs: Mapping[str, Sequence[Run]]) -> dict[str, Any]:
    """Every single run, for --json."""
    return {
        name: [{"wall_s": run.wall_s, "cpu_s": run.cpu_s, "rss_mb": run.rss_mb, **run.told} for run in each]
        for name, each in runs.items()
    }
