"""Taking one file in: ours against a hash alone, a copy alone, and tools that copy with a hash or encrypted."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.house import furnish, settings_in
from benchmarks.machine import program, version
from benchmarks.measure import Run, Subject, as_json, in_turn, median, process, ratio, table
from benchmarks.source import MIB, write_source

OURS = "bwc intake"
INSIDE = "bwc intake, already started"
OTHERS = (
    "bwc vault",
    "bwc vault, parts alone",
    "openssl dgst -sha256",
    "cp + sync",
    "restic backup",
    "borg create",
    "dc3dd hof= + sync",
)
NOTES = [
    "Source read from the page cache by everybody: a second of film, then random bytes. One process a run. One round "
    "before the others is not kept.",
    "bwc intake: start-up and imports, SHA-256, AES-256-GCM, direct durable write, read-back past the cache with "
    "decryption and a second SHA-256, media facts in a confined child, commit of row, key and ledger entry.",
    "already started: the same runs counted from the call of take_in, as in the service that runs all day.",
    "bwc vault: the same without media facts and commit; start-up included.",
    "parts alone: read, two SHA-256, encrypt, decrypt, direct write, direct read, one after the other on buffers that "
    "stay in the cache, in one thread: the least CPU this design can take.",
    "openssl: one SHA-256 and nothing else, the limit of one core. cp + sync: a copy made durable, nothing else.",
    "restic (compression off) and borg (repokey, no compression): encrypt, hash, also look for known chunks, which "
    "this job does not need; neither reads back what it wrote.",
    "dc3dd hof=: hashes, copies, reads the copy back (from the page cache) and hashes it; no encryption; then sync.",
    "wall and CPU ratios: the subject's divided by bwc intake's in the same round, median; above 1, bwc is better.",
]


class Bench:
    """The subjects over one source file in one work folder."""

    def __init__(self, folder: Path, mib: int) -> None:
        self.folder, self.size = folder, mib * MIB
        self.source = folder / "source.bin"
        self.out = folder / "out"
        self.template = folder / "template"

    def prepare(self) -> None:
        """Write the source and an installation to copy."""
        write_source(self.source, self.size)
        furnish(settings_in(self.template)).close()

    def subjects(self) -> list[Subject]:
        """Ours first."""
        return [self._subject(name, before, command, env) for name, before, command, env in self._plans()]

    def _plans(self) -> list[tuple[str, Callable[[], None], Sequence[str], Mapping[str, str]]]:
        source, out = str(self.source), str(self.out)
        ours = (sys.executable, "-m")
        copied = self.out / "copy.bin"
        restic = {"RESTIC_PASSWORD": "benchmark", "RESTIC_REPOSITORY": out + "/repo", "RESTIC_CACHE_DIR": out + "/c"}
        borg = {"BORG_PASSPHRASE": "benchmark", "BORG_BASE_DIR": out, "BORG_REPO": out + "/repo"}
        restic_init = ("restic", "init", "-q", "--repository-version", "2")
        borg_init = ("borg", "init", "-e", "repokey")
        plans: list[tuple[str, Callable[[], None], Sequence[str], Mapping[str, str]]] = [
            (OURS, self._copy_template, (*ours, "benchmarks.subjects", "intake", source, out), {}),
            ("bwc vault", self._nothing, (*ours, "benchmarks.copying", source, out), {}),
            ("bwc vault, parts alone", self._nothing, (*ours, "benchmarks.parts", source, out), {}),
            ("openssl dgst -sha256", self._nothing, ("openssl", "dgst", "-sha256", source), {}),
            ("cp + sync", self._nothing, ("sh", "-c", f"cp '{source}' '{copied}' && sync '{copied}'"), {}),
            (
                "restic backup",
                lambda: self._init(restic_init, restic),
                ("restic", "backup", "-q", "--compression", "off", source),
                restic,
            ),
            (
                "borg create",
                lambda: self._init(borg_init, borg),
                ("borg", "create", "--compression", "none", "::benchmark", source),
                borg,
            ),
            (
                "dc3dd hof= + sync",
                self._nothing,
                ("sh", "-c", f"dc3dd if='{source}' hof='{copied}' hash=sha256 log=/dev/null && sync '{copied}'"),
                {},
            ),
        ]
        return [plan for plan in plans if program(tool_of(plan[0])) or tool_of(plan[0]) == "bwc"]

    def _subject(
        self, name: str, before: Callable[[], None], command: Sequence[str], env: Mapping[str, str]
    ) -> Subject:
        def run() -> Run:
            shutil.rmtree(self.out, ignore_errors=True)
            self.out.mkdir()
            before()
            os.sync()
            self._read_source()
            done = process(command, env=env)
            shutil.rmtree(self.out)
            return done

        return Subject(name, run)

    def _nothing(self) -> None:
        """Nothing to prepare."""

    def _copy_template(self) -> None:
        shutil.copytree(self.template, self.out, dirs_exist_ok=True)

    def _init(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        process(command, env=env)

    def _read_source(self) -> None:
        with self.source.open("rb", buffering=0) as file:
            while file.read(MIB):
                pass


def tool_of(name: str) -> str:
    """The program a row is about."""
    return name.split(" ")[0]


def bench(folder: Path, mib: int, rounds: int) -> tuple[str, dict[str, Any]]:
    """The table, and every run."""
    work = Bench(folder, mib)
    work.prepare()
    runs = in_turn(work.subjects(), rounds)
    if len({run.told["sha256"] for name in (OURS, "bwc vault") for run in runs[name]}) != 1:
        raise RuntimeError("two digests of one file")
    inside = [replace(run, wall_s=run.told["act_wall_s"], cpu_s=run.told["act_cpu_s"]) for run in runs[OURS]]
    rows = [_row(OURS, runs[OURS], runs[OURS], work.size), _row(INSIDE, inside, runs[OURS], work.size)]
    rows += [_row(name, runs.get(name, []), runs[OURS], work.size) for name in OTHERS]
    header = ("subject", "GB/s", "CPU s/GB", "peak RSS MB", "wall / ours", "CPU / ours")
    title = f"Intake of one file of {mib} MiB, medians of {rounds} rounds"
    return table(title, header, rows, [*NOTES, _versions()]), as_json(runs)


def _row(name: str, runs: Sequence[Run], ours: Sequence[Run], size: int) -> tuple[str, ...]:
    if not runs:
        return name, "absent", "", "", "", ""
    return (
        name,
        f"{size / 1e9 / median(runs, lambda run: run.wall_s):.2f}",
        f"{median(runs, lambda run: run.cpu_s) / (size / 1e9):.2f}",
        f"{max(run.rss_mb for run in runs):.0f}",
        f"{ratio(runs, ours, lambda run: run.wall_s):.2f}",
        f"{ratio(runs, ours, lambda run: run.cpu_s):.2f}",
    )


def _versions() -> str:
    asked = {"restic": "version", "borg": "--version", "dc3dd": "--version", "openssl": "version", "cp": "--version"}
    return "Versions: " + ", ".join(f"{name} {version(name, option) or 'absent'}" for name, option in asked.items())
