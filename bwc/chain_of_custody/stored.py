"""The custody tables as they lie, for those who check or export them: raw bytes, page by page, one snapshot.

Nothing is trusted or interpreted here: on SQLite any column may hold any type, so each is read as its bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy import text
from sqlalchemy.orm import Session

from bwc.db.engine import Database

PAGE = 4096
_LOWEST, _HIGHEST = -(2**63), 2**63 - 1


class StoredJournal(NamedTuple):
    """A journal row's columns as bytes, None for NULL; `at` as `YYYY-MM-DD hh:mm:ss.ffffff` in UTC."""

    at: bytes | None
    operation: bytes | None
    action: bytes | None
    actor_id: bytes | None
    recording_id: bytes | None
    record: bytes | None
    salt: bytes | None


class StoredEntry(NamedTuple):
    """A ledger row and the journal row of the same `seq`, None when there is none."""

    seq: int
    body: bytes
    leaf_hash: bytes
    journal: StoredJournal | None


class StoredCheckpoint(NamedTuple):
    """A checkpoint row."""

    size: int
    root: bytes
    note: bytes


@contextmanager
def snapshot(database: Database) -> Iterator[Session]:
    """A session in which every query sees the database as it was at the first one."""
    with database.read() as session:
        if not database.is_sqlite:  # SQLite's WAL readers have a snapshot of their own accord
            session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        yield session


def entries(session: Session) -> Iterator[StoredEntry]:
    """Every ledger row by increasing `seq`, with its journal row; at most one page in memory."""
    journal_columns = _columns(session, "j", "operation", "action", "actor_id", "recording_id", "record", "salt")
    query = text(
        f"SELECT e.seq, {_columns(session, 'e', 'body', 'leaf_hash')}, j.seq, {_at(session)}, {journal_columns} "  # noqa: S608
        "FROM ledger_entry e LEFT JOIN journal_entry j ON j.seq = e.seq "
        "WHERE e.seq >= :start ORDER BY e.seq LIMIT :page"
    )
    plain = _is_sqlite(session)  # CAST … AS BLOB gives bytes or NULL already
    start = _LOWEST
    while start <= _HIGHEST:
        rows = session.execute(query, {"start": start, "page": PAGE}).all()
        for row in rows:
            columns = row[4:11]
            journal = None if row[3] is None else StoredJournal._make(columns if plain else map(_bytes, columns))
            yield StoredEntry(row[0], _bytes(row[1]) or b"", _bytes(row[2]) or b"", journal)
        if len(rows) < PAGE:
            return
        start = rows[-1][0] + 1


def stray_journal(session: Session) -> Iterator[int]:
    """`seq` of every journal row that no ledger row has."""
    query = "SELECT seq FROM journal_entry j WHERE NOT EXISTS (SELECT 1 FROM ledger_entry e WHERE e.seq = j.seq)"
    yield from session.scalars(text(query + " ORDER BY seq"))


def heads(session: Session) -> list[tuple[str, str, bytes]]:
    """(id, size, frontier) of the head rows, at most two: one is right."""
    columns = _columns(session, "h", "id", "size", "frontier")
    rows = session.execute(text(f"SELECT {columns} FROM ledger_head h ORDER BY h.id LIMIT 2")).all()  # noqa: S608
    return [(_text(row[0]), _text(row[1]), _bytes(row[2]) or b"") for row in rows]


def checkpoints(session: Session) -> Iterator[StoredCheckpoint]:
    """Every checkpoint row by increasing size."""
    columns = _columns(session, "c", "root", "note")
    rows = session.execute(text(f"SELECT c.size, {columns} FROM checkpoint c ORDER BY c.size"))  # noqa: S608
    for row in rows:
        yield StoredCheckpoint(row[0], _bytes(row[1]) or b"", _bytes(row[2]) or b"")


def _is_sqlite(session: Session) -> bool:
    return session.get_bind().dialect.name == "sqlite"


def _columns(session: Session, table: str, *names: str) -> str:
    form = "CAST({}.{} AS BLOB)" if _is_sqlite(session) else "{}.{}"
    return ", ".join(form.format(table, name) for name in names)


def _at(session: Session) -> str:
    if _is_sqlite(session):
        return "CAST(j.at AS BLOB)"
    return "to_char(j.at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')"


def _bytes(value: Any) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    return bytes(value) if isinstance(value, memoryview | bytearray) else str(value).encode()


def _text(value: Any) -> str:
    return (_bytes(value) or b"").decode(errors="replace")
