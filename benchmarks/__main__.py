"""`python -m benchmarks [intake|serving|ledger|all]`: tables on the terminal, every run with --json."""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import intake, ledger, machine, serving
from benchmarks.measure import ROOT

NAMES = ("intake", "serving", "ledger")


def main() -> None:
    """Command line."""
    options = _options()
    subprocess.run([str(Path(__file__).parent / "packages.sh")], check=True)
    options.work.mkdir(parents=True, exist_ok=True)
    result: dict[str, Any] = {"machine": machine.facts(options.work), "load": {}}
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC")
    print(*(f"* {name}: {value}" for name, value in result["machine"].items()), "", sep="\n")
    acts: dict[str, Callable[[Path], tuple[str, dict[str, Any]]]] = {
        "intake": lambda folder: intake.bench(folder, options.mib, options.rounds),
        "serving": lambda folder: serving.bench(folder, min(options.mib, 256), options.rounds),
        "ledger": lambda folder: ledger.bench(folder, options.entries, options.rounds),
    }
    for name in NAMES if options.what == "all" else (options.what,):
        before = machine.load()
        folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=options.work)).resolve()
        try:
            text, result[name] = acts[name](folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        result["load"][name] = [before, machine.load()]
        print(f"{text}* Load averages before: {before}; after: {machine.load()}\n", flush=True)
    with contextlib.suppress(OSError):  # somebody else measures there too
        options.work.rmdir()
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("what", nargs="?", choices=(*NAMES, "all"), default="all")
    parser.add_argument("--mib", type=int, default=1024, help="size of the file taken in (serving: at most 256)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds kept; one more is run first")
    parser.add_argument("--entries", type=int, default=1_000_000, help="entries of the ledger that is verified")
    parser.add_argument("--work", type=Path, default=ROOT / "var" / "bench", help="folder for work files")
    parser.add_argument("--json", type=Path, help="file for every run")
    return parser.parse_args()


if __name__ == "__main__":
    main()
