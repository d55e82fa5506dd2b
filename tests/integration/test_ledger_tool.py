"""The stand-alone verifier as an expert meets it: files, keys, options, exit statuses, and the golden ledger."""

from __future__ import annotations

import ast
import io
import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from bwc.chain_of_custody import ledger as ledger_module
from bwc.chain_of_custody.export import export_ledger
from bwc.chain_of_custody.ledger import Ledger
from bwc.core.clock import SystemClock
from bwc.core.digests import sha256
from bwc.db.engine import Database
from tests.integration.ledger_helpers import (
    PERSON,
    SIGNED,
    SIGNER,
    SIZE,
    TOOL,
    build,
    disarm,
    event,
    execute,
    run_tool,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "ledger"
VKEY = SIGNER.verifier.vkey()


def verdict(*arguments: str) -> dict:
    done = run_tool(*arguments, "--json")
    assert done.returncode in (0, 4), done.stderr
    found: dict = json.loads(done.stdout)
    assert found["ok"] is (done.returncode == 0)
    return found


def listing(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def names(folder: Path) -> list[str]:
    """File names only: reading a live database's files in this process would drop SQLite's POSIX locks on them."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_it_shares_no_code_and_needs_nothing_installed() -> None:
    tree = ast.parse(TOOL.read_text(encoding="utf-8"), feature_version=(3, 9))
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
    assert names <= sys.stdlib_module_names
    assert "bwc" not in names
    assert not {"socket", "subprocess", "urllib", "http"} & names


def test_it_reads_beside_the_running_product_and_creates_nothing(sqlite_database: Database, tmp_path: Path) -> None:
    build(sqlite_database, tmp_path / "checkpoints")
    before = names(tmp_path)
    assert "bwc.db-wal" in before
    with sqlite_database.write() as session:  # a writer at work
        ledger_module.take_head(session)
        assert verdict("--database", str(sqlite_database.file))["entries"] == SIZE
    assert names(tmp_path) == before
    with sqlite_database.write() as session:
        assert Ledger(SystemClock()).append(session, event(0)) == SIZE
    assert verdict("--database", str(sqlite_database.file))["entries"] == SIZE + 1


def test_it_reads_a_database_at_rest_and_creates_nothing(sqlite_database: Database, tmp_path: Path) -> None:
    build(sqlite_database, tmp_path / "checkpoints")
    sqlite_database.close()
    before = listing(tmp_path)
    assert "bwc.db-wal" not in before
    found = verdict("--database", str(tmp_path / "bwc.db"), "--checkpoints", str(tmp_path / "checkpoints"))
    assert (found["ok"], found["entries"]) == (True, SIZE)
    assert listing(tmp_path) == before


@pytest.mark.parametrize("parts", [("bwc.db", "bwc.db-wal"), ("bwc.db", "bwc.db-wal", "bwc.db-shm")], ids=len)
def test_it_reads_what_a_power_cut_left(sqlite_database: Database, tmp_path: Path, parts: tuple[str, ...]) -> None:
    build(sqlite_database, tmp_path / "checkpoints")
    exhibit = tmp_path / "pièce à conviction ?#%"
    exhibit.mkdir()
    for name in parts:
        subprocess.run(["cp", str(tmp_path / name), str(exhibit / name)], check=True)
    before = listing(exhibit)
    assert verdict("--database", str(exhibit / "bwc.db"))["entries"] == SIZE
    after = listing(exhibit)
    assert after.keys() == before.keys()
    assert all(after[name] == before[name] for name in ("bwc.db", "bwc.db-wal"))


def test_it_finds_the_key_in_the_folder_and_says_what_that_is_worth(sqlite_database: Database, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    build(sqlite_database, folder)
    source = ("--database", str(sqlite_database.file), "--checkpoints", str(folder))
    (tmp_path / "key").write_text(VKEY + "\n")
    for key in (VKEY, str(tmp_path / "key")):
        found = verdict(*source, "--vkey", key)
        assert (found["ok"], found["vkey"], found["remarks"]) == (True, VKEY, [])
    beside = verdict(*source)
    assert (beside["ok"], beside["signatures_verified"]) == (True, 2)
    assert "elsewhere" in beside["remarks"][0]["en"]
    (folder / "vkey").unlink()
    without = verdict(*source)
    assert (without["ok"], without["signatures_verified"]) == (True, 0)
    assert "NOT verified" in without["remarks"][0]["en"]


def test_it_says_when_no_checkpoint_vouches(sqlite_database: Database) -> None:
    found = verdict("--database", str(sqlite_database.file), "--vkey", VKEY)
    assert found["ok"]
    assert "no checkpoint" in found["remarks"][0]["en"]


def test_the_latest_200_signatures_unless_all_are_asked(sqlite_database: Database) -> None:
    disarm(sqlite_database)
    root = sha256(b"")
    for size in range(230):
        note = SIGNER.sign(f"{SIGNER.name}\n{size}\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n").format()
        if size == 3:
            note = note[:-12] + "AAAAAAAAAA=\n"
        execute(
            sqlite_database,
            "INSERT INTO checkpoint VALUES (:size, :root, :note, '2026-11-22 18:32:07.000000')",
            size=size,
            root=root,
            note=note,
        )
    source = ("--database", str(sqlite_database.file), "--vkey", VKEY)
    found = verdict(*source)
    assert (found["signatures"], found["signatures_verified"]) == (230, 200)
    assert "200 of 230" in found["remarks"][0]["en"]
    assert {fault["code"] for fault in found["faults"]} == {"truncated"}
    every = verdict(*source, "--all-signatures")
    assert (every["signatures"], every["signatures_verified"]) == (230, 230)
    assert ("checkpoint_signature", 3) in {(fault["code"], fault["seq"]) for fault in every["faults"]}


def test_an_export_without_records_shows_no_person_and_still_verifies(database: Database, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    build(database, folder)
    out = io.BytesIO()
    assert export_ledger(database, out, records=False) == SIZE
    assert PERSON.encode() not in out.getvalue()
    assert b"Dupont" not in out.getvalue()
    export = tmp_path / "ledger.jsonl"
    export.write_bytes(out.getvalue())
    found = verdict("--export", str(export), "--checkpoints", str(folder), "--vkey", VKEY)
    assert (found["ok"], found["records_withheld"], found["checkpoints"]) == (True, SIZE, 2)
    alone = verdict("--export", str(export), "--vkey", VKEY)
    assert (alone["ok"], alone["signatures_verified"]) == (True, 2)


@pytest.mark.parametrize("keep", [0, 1, 6, SIZE, SIZE + 1, SIZE + 2])
def test_a_cut_export_is_found(sqlite_database: Database, tmp_path: Path, keep: int) -> None:
    build(sqlite_database, tmp_path / "checkpoints")
    out = io.BytesIO()
    export_ledger(sqlite_database, out)
    lines = out.getvalue().splitlines(keepends=True)
    assert len(lines) == SIZE + len(SIGNED) + 1
    export = tmp_path / "cut.jsonl"
    export.write_bytes(b"".join(lines[:keep]))
    found = verdict("--export", str(export), "--checkpoints", str(tmp_path / "checkpoints"), "--vkey", VKEY)
    assert "export_end" in {fault["code"] for fault in found["faults"]}


HOSTILE_LINES = {
    "not JSON": b"{",
    "a list": b"[]",
    "a number": b"1",
    "an unknown object": b"{}",
    "body not base64": b'{"body":"*","leaf":"","record":null,"salt":null,"seq":0}',
    "leaf not hexadecimal": b'{"body":"","leaf":"zz","record":null,"salt":null,"seq":0}',
    "seq as text": b'{"body":"","leaf":"","record":null,"salt":null,"seq":"0"}',
    "salt missing": b'{"body":"","leaf":"","record":"","seq":0}',
    "record as number": b'{"body":"","leaf":"","record":1,"salt":"","seq":0}',
    "duplicate member": b'{"body":"","body":"","leaf":"","record":null,"salt":null,"seq":0}',
    "not UTF-8": b"\xff",
    "very deep": b"[" * 200000,
    "checkpoint as number": b'{"checkpoint":1,"size":1}',
    "size as text": b'{"checkpoint":"x","size":"y"}',
}


@pytest.mark.parametrize("name", HOSTILE_LINES)
def test_an_unreadable_export_is_said_unreadable(tmp_path: Path, name: str) -> None:
    export = tmp_path / "bad.jsonl"
    export.write_bytes(HOSTILE_LINES[name] + b"\n")
    done = run_tool("--export", str(export))
    assert (done.returncode, done.stdout) == (2, "")
    assert "ILLISIBLE / UNREADABLE" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--database", "/nowhere/bwc.db"],
        ["--export", "/nowhere/ledger.jsonl"],
        ["--database", "a", "--export", "b"],
        ["--database", str(TOOL)],
        ["--export", str(GOLDEN / "ledger.jsonl"), "--checkpoints", "/nowhere"],
        ["--export", str(GOLDEN / "ledger.jsonl"), "--vkey", "nonsense"],
        ["--export", str(GOLDEN / "ledger.jsonl"), "--vkey", VKEY.replace("+ae", "+ea")],
    ],
    ids=str,
)
def test_usage_and_unreadable_files_exit_with_2(arguments: list[str]) -> None:
    done = run_tool(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_database_of_something_else_is_unreadable(tmp_path: Path) -> None:
    Database(f"sqlite:///{tmp_path / 'other.db'}").engine.connect().close()
    (tmp_path / "other.db").write_bytes(b"")
    done = run_tool("--database", str(tmp_path / "other.db"))
    assert done.returncode == 2
    assert "ledger_entry" in done.stderr


def test_a_view_in_place_of_the_table_is_refused(sqlite_database: Database, tmp_path: Path) -> None:
    build(sqlite_database, tmp_path / "checkpoints")
    disarm(sqlite_database)
    execute(sqlite_database, "ALTER TABLE ledger_entry RENAME TO hidden")
    execute(sqlite_database, "CREATE VIEW ledger_entry AS SELECT * FROM hidden")
    assert run_tool("--database", str(sqlite_database.file)).returncode == 2


def test_terminal_controls_in_a_record_are_not_obeyed(sqlite_database: Database, tmp_path: Path) -> None:
    build(sqlite_database, tmp_path / "checkpoints")
    disarm(sqlite_database)
    execute(sqlite_database, "UPDATE journal_entry SET action = :a WHERE seq = 3", a="\x1b[2J\x07é")
    done = run_tool("--database", str(sqlite_database.file))
    assert done.returncode == 4
    assert "\x1b" not in done.stdout
    assert "\\x1b[2J" in done.stdout


def test_the_golden_ledger_is_written_today_as_it_was(
    sqlite_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bodies, records, tree, checkpoints and export, byte for byte: a change of format is a new version."""
    salts = iter(range(1000))
    monkeypatch.setattr(ledger_module.secrets, "token_bytes", lambda size: bytes([next(salts)]) * size)
    folder = tmp_path / "checkpoints"
    build(sqlite_database, folder)
    out = io.BytesIO()
    export_ledger(sqlite_database, out)
    assert out.getvalue() == (GOLDEN / "ledger.jsonl").read_bytes()
    assert listing(folder) == listing(GOLDEN / "checkpoints")


def test_the_golden_ledger_verifies() -> None:
    expected = json.loads((GOLDEN / "expected.json").read_text())
    found = verdict(
        "--export",
        str(GOLDEN / "ledger.jsonl"),
        "--checkpoints",
        str(GOLDEN / "checkpoints"),
        "--vkey",
        expected["vkey"],
    )
    assert {name: found[name] for name in expected} == expected
    assert timedelta(seconds=found["seconds"]) >= timedelta(0)
