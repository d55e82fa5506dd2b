"""The limits of the ledger's benchmarks: `python -m benchmarks.limits NAME ARGUMENT…`. Standard library only."""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.telling import told

RECORD = b"x" * 330  # bytes of a record of the size that benchmarks.subjects.event gives
ADD = "INSERT INTO entry VALUES (?, ?, ?, ?, ?)"


def raw_each(folder: str, count: str) -> None:
    """The limit: rows of the same size, in SQLite, each in a durable transaction of its own."""
    base = _raw(folder)
    with told():
        for number in range(int(count)):
            base.execute("BEGIN IMMEDIATE")
            base.execute(ADD, _row(number))
            base.execute("COMMIT")


def raw_thousands(folder: str, count: str) -> None:
    """The limit: the same rows, a thousand a transaction."""
    base = _raw(folder)
    with told():
        for start in range(0, int(count), 1000):
            base.execute("BEGIN IMMEDIATE")
            base.executemany(ADD, [_row(number) for number in range(start, start + 1000)])
            base.execute("COMMIT")


def _raw(folder: str) -> sqlite3.Connection:
    base = sqlite3.connect(Path(folder) / "raw.db", isolation_level=None)
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON"):
        base.execute(f"PRAGMA {pragma}")
    base.execute("CREATE TABLE entry (seq INTEGER PRIMARY KEY, body BLOB, leaf BLOB, record TEXT, salt BLOB)")
    return base


def _row(number: int) -> tuple[int, bytes, bytes, bytes, bytes]:
    return number, bytes(150), bytes(32), RECORD, secrets.token_bytes(32)


def hash_bodies(database: str) -> None:
    """The limit: read bodies, records and salts from SQLite and hash them, checking nothing."""
    base = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    query = "SELECT e.body, j.salt, CAST(j.record AS BLOB) FROM ledger_entry e JOIN journal_entry j USING (seq)"
    with told() as tells:
        tells["entries"] = 0
        cursor = base.execute(query)
        while page := cursor.fetchmany(4096):
            for body, salt, record in page:
                hashlib.sha256(b"\x00" + body).digest()
                hashlib.sha256(salt + record).digest()
            tells["entries"] += len(page)


LIMITS: dict[str, Callable[..., None]] = {each.__name__: each for each in (raw_each, raw_thousands, hash_bodies)}

if __name__ == "__main__":
    LIMITS[sys.argv[1]](*sys.argv[2:])
