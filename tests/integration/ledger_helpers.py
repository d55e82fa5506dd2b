"""A small ledger to attack, the attacker's tools, and both verifiers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import text

from bwc.chain_of_custody.checkpoints import publish
from bwc.chain_of_custody.export import export_ledger
from bwc.chain_of_custody.faults import Report
from bwc.chain_of_custody.journal import SYSTEM_ACTOR, Actor, Event, Operation, body_of, commitment
from bwc.chain_of_custody.ledger import Ledger
from bwc.chain_of_custody.merkle import Frontier, leaf_hash
from bwc.chain_of_custody.note import Signer
from bwc.chain_of_custody.verify import verify_ledger
from bwc.core.clock import SettableClock
from bwc.core.digests import canonical_json
from bwc.db.engine import Database

START = datetime(2026, 11, 22, 18, 32, 7, 123456, tzinfo=UTC)
SIGNER = Signer("bwc/21260362100014/01J00000000000000000000001", Ed25519PrivateKey.from_private_bytes(bytes(32)))
TOOL = Path(__file__).parents[2] / "tools" / "verify_ledger.py"
PERSON = "01J0000000000000000000PER1"
RECORDING = "01J0000000000000000000REC1"
SIZE = 12
SIGNED = (5, 9)  # sizes at which a checkpoint is published; entries 9, 10 and 11 wait for the next


def event(number: int) -> Event:
    if number % 3 == 0:
        return Event(Operation.COLLECTE, "recording.taken_in", SYSTEM_ACTOR, recording_id=RECORDING)
    return Event(
        Operation.CONSULTATION,
        "recording.viewed",
        Actor(PERSON, "Brigadier Léa Dupont"),
        recording_id=RECORDING if number % 3 == 1 else None,
        motive=f"procédure {number}",
        recipients=("OPJ",),
        detail={"number": number},
    )


def build(database: Database, folder: Path) -> None:
    clock = SettableClock(START)
    ledger = Ledger(clock)
    for number in range(SIZE):
        clock.advance(timedelta(seconds=61))
        if number == 7:
            clock.advance(timedelta(hours=-3))  # said by the ledger itself
        with database.write() as session:
            assert ledger.append(session, event(number)) == number
        if number + 1 in SIGNED:
            assert publish(database, clock, SIGNER, folder) is not None


def verify_twice(database: Database, folder: Path, tmp_path: Path) -> tuple[Report, dict[str, Any], int]:
    """Both verifiers' findings: the product's report, the tool's, and its exit status."""
    report = verify_ledger(database, folder, SIGNER.verifier.vkey())
    source = ["--database", str(database.file)]
    if not database.is_sqlite:
        export = tmp_path / "ledger.jsonl"
        with export.open("wb") as out:
            export_ledger(database, out)
        source = ["--export", str(export)]
    done = run_tool(*source, "--checkpoints", str(folder), "--vkey", SIGNER.verifier.vkey(), "--json")
    assert done.returncode in (0, 4), done.stderr
    return report, json.loads(done.stdout), done.returncode


def run_tool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The tool as an expert runs it: isolated, without any installed package."""
    command = [sys.executable, "-I", "-S", str(TOOL), *arguments]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120)


@dataclass(frozen=True)
class Row:
    """One entry with its journal row, free to change. `record` None: no journal row."""

    seq: int
    body: bytes
    leaf_hash: bytes
    at: str
    operation: str
    action: str
    actor_id: str | None
    recording_id: str | None
    record: str | None
    salt: bytes

    def sealed(self, **members: Any) -> Row:
        """The row after a forger changed members of its record, and recomputed what depends on it."""
        record = canonical_json({**json.loads(self.record or "{}"), **members}).decode()
        return replace(self, record=record).resealed()

    def resealed(self, *, seq: int | None = None, at: datetime | None = None) -> Row:
        """The row with commitment, body and leaf recomputed from its record, at another place or time if given."""
        old = json.loads(self.body)
        place = self.seq if seq is None else seq
        t = old["t"] if at is None else at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        record = self.record or ""
        if seq is not None:
            record = canonical_json({**json.loads(record), "n": seq}).decode()
        committed = commitment(self.salt, record.encode())
        body = body_of(place, t, Operation(self.operation), committed)
        return replace(
            self, seq=place, body=body, leaf_hash=leaf_hash(body), record=record, at=t.replace("T", " ")[:-1]
        )


def disarm(database: Database) -> None:
    """Drop what guards the tables, as anybody who owns the database can."""
    with database.engine.begin() as connection:
        if database.is_sqlite:
            names = connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).scalars().all()
            for name in names:
                connection.execute(text(f"DROP TRIGGER {name}"))
        else:
            for table in ("ledger_entry", "journal_entry", "checkpoint"):
                connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER ALL"))


def execute(database: Database, statement: str, **values: Any) -> None:
    """Any SQL, without triggers nor foreign keys."""
    with database.engine.connect() as connection:
        if database.is_sqlite:
            connection.exec_driver_sql("COMMIT")
            connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        connection.execute(text(statement), values)
        connection.commit()
        if database.is_sqlite:
            connection.exec_driver_sql("PRAGMA foreign_keys=ON")


def read_rows(database: Database) -> list[Row]:
    at = "j.at" if database.is_sqlite else "to_char(j.at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')"
    query = (  # the columns are this file's
        f"SELECT e.seq, e.body, e.leaf_hash, {at}, j.operation, j.action, j.actor_id, j.recording_id, j.record, "
        "j.salt FROM ledger_entry e LEFT JOIN journal_entry j ON j.seq = e.seq ORDER BY e.seq"
    )
    with database.read() as session:
        return [Row(*row) for row in session.execute(text(query))]


def rewrite(database: Database, change: Callable[[list[Row]], list[Row]], *, head: bool = True) -> None:
    """Replace every row by what `change` makes of them, and recompute the head over the stored leaf hashes."""
    rows = change(read_rows(database))
    execute(database, "DELETE FROM journal_entry")
    execute(database, "DELETE FROM ledger_entry")
    at = ":at" if database.is_sqlite else "CAST(:at || '+00' AS timestamptz)"
    for row in rows:
        values = vars(row)
        execute(database, "INSERT INTO ledger_entry VALUES (:seq, :body, :leaf_hash)", **values)
        if row.record is not None:
            execute(
                database,
                f"INSERT INTO journal_entry VALUES (:seq, {at}, :operation, :action, :actor_id, :recording_id, "
                ":record, :salt)",
                **values,
            )
    if head:
        tree = Frontier()
        for row in rows:
            tree.append(row.leaf_hash)
        execute(database, "UPDATE ledger_head SET size = :s, frontier = :f", s=tree.size, f=tree.to_bytes())
