"""The engine and its two kinds of transaction: `read()` and `write()`.

SQLite: WAL, synchronous=FULL, secure_delete=ON; a write takes the writer's place at once (BEGIN IMMEDIATE), so two
processes queue instead of failing. PostgreSQL: the same code, SERIALIZABLE is not needed because every chained
append takes the ledger's advisory lock.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from bwc.core.errors import StorageError

BUSY_TIMEOUT_MS = 30_000


class Database:
    """One catalogue. `read()` never waits for a writer; `write()` commits durably on leaving without an error."""

    def __init__(self, url: str) -> None:
        """Open `url` (sqlite:///path or postgresql+psycopg://…); nothing is created."""
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        options: dict[str, Any] = {"connect_args": {"check_same_thread": False}} if self.is_sqlite else {}
        self.engine: Engine = create_engine(self.url, **options)
        if self.is_sqlite:
            event.listen(self.engine, "connect", _sqlite_connect)
            event.listen(self.engine, "begin", _sqlite_begin)
        self._readers = sessionmaker(self.engine, expire_on_commit=False)
        self._writers = sessionmaker(self.engine.execution_options(bwc_write=True), expire_on_commit=False)

    @property
    def file(self) -> Path | None:
        """The SQLite file, or None on PostgreSQL."""
        return Path(self.url.database) if self.is_sqlite and self.url.database else None

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session for looking; rolled back at the end."""
        with self._readers() as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session for one act; committed at the end, rolled back whole on any error.

        Raises StorageError when the database is locked, full or gone.
        """
        try:
            with self._writers.begin() as session:
                yield session
        except OperationalError as error:
            raise StorageError(
                f"database cannot take a write: {error.orig}",
                code="database_busy",
                person="La base de données ne répond pas. Rien n'est perdu ; l'acte sera repris.",
            ) from error

    def forget_deleted_bytes(self, patience_s: float = 20.0) -> bool:
        """Make deleted rows unreadable in the files of the database: on SQLite, fold the WAL into the file and
        cut it to nothing (secure_delete has zeroed the pages). Returns False when readers kept it busy for
        `patience_s`: call again later. On PostgreSQL, VACUUM the key tables; its WAL is out of reach here, which
        is why day keys live outside the database (docs/custody-format.md §5).
        """
        if not self.is_sqlite:
            with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(text("VACUUM recording_key, part"))
            return True
        deadline = time.monotonic() + patience_s
        while True:
            with self.engine.connect() as connection:
                raw: Any = connection.connection.driver_connection
                raw.execute("PRAGMA busy_timeout=100")  # SQLite's own wait for readers; ours is `patience_s`
                busy, log_pages, _ = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                raw.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
            if not busy and log_pages <= 0:
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)

    def close(self) -> None:
        """Release every connection."""
        self.engine.dispose()


def _sqlite_connect(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "secure_delete=ON",
        "foreign_keys=ON",
        "trusted_schema=OFF",
        "temp_store=MEMORY",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _sqlite_begin(connection: Connection) -> None:
    write = connection.get_execution_options().get("bwc_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
