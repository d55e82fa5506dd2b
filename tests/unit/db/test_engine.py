"""Two kinds of transaction on SQLite, and a database file that forgets what was deleted from it."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from sqlalchemy import delete, func, select, text
from sqlalchemy.exc import OperationalError

from bwc.db import Database
from bwc.db.models import Commune, DayKey
from bwc.db.schema import current_revision, head_revision, upgrade

NOW = datetime(2026, 11, 22, 17, 42, tzinfo=UTC)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path / 'bwc.db'}")
    upgrade(opened)
    yield opened
    opened.close()


def communes(database: Database) -> list[str]:
    with database.read() as session:
        return list(session.scalars(select(Commune.insee).order_by(Commune.insee)))


def test_a_write_is_committed_on_leaving(database: Database) -> None:
    with database.write() as session:
        session.add(Commune(insee="26362", name="Valence"))
    assert communes(database) == ["26362"]


def test_a_write_that_fails_leaves_nothing_behind(database: Database) -> None:
    def half_way() -> None:
        with database.write() as session:
            session.add(Commune(insee="26362", name="Valence"))
            session.flush()
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        half_way()
    assert communes(database) == []


def test_what_a_reading_session_changes_is_never_kept(database: Database) -> None:
    with database.read() as session:
        session.add(Commune(insee="26362", name="Valence"))
        session.flush()
    assert communes(database) == []


def test_a_reader_sees_the_state_it_began_with_while_a_writer_commits(database: Database) -> None:
    with database.read() as session:
        before = session.scalar(select(func.count()).select_from(Commune))
        with database.write() as other:
            other.add(Commune(insee="26362", name="Valence"))
        assert session.scalar(select(func.count()).select_from(Commune)) == before == 0
    assert communes(database) == ["26362"]


def test_a_second_writer_waits_for_the_first_instead_of_failing(database: Database) -> None:
    """Both read, then write: without the lock taken at once, the second would fail with a stale snapshot."""
    inside, failures = threading.Event(), []

    def second() -> None:
        inside.wait(10)
        try:
            with database.write() as session:
                session.scalar(select(func.count()).select_from(Commune))
                session.add(Commune(insee="26058", name="Bourg-lès-Valence"))
        except OperationalError as error:
            failures.append(error)

    thread = threading.Thread(target=second)
    thread.start()
    with database.write() as session:
        session.scalar(select(func.count()).select_from(Commune))
        inside.set()
        thread.join(0.2)
        assert thread.is_alive()
        session.add(Commune(insee="26362", name="Valence"))
    thread.join(30)
    assert not failures
    assert communes(database) == ["26058", "26362"]


def test_a_deleted_secret_is_in_no_file_of_the_database(database: Database, tmp_path: Path) -> None:
    secret = secrets.token_hex(15)

    def files_holding_it() -> list[str]:
        return [path.name for path in tmp_path.iterdir() if secret.encode() in path.read_bytes()]

    with database.write() as session:
        session.add(DayKey(id=f"2026-12-{secret}"[:40], due_on=date(2026, 12, 22), made_at=NOW))
    assert files_holding_it()
    with database.write() as session:
        session.execute(delete(DayKey))
    assert files_holding_it(), "the write-ahead log is expected to remember it until it is cut"
    assert database.forget_deleted_bytes()
    assert files_holding_it() == []


def test_forgetting_gives_up_while_a_reader_holds_the_log_and_says_so(database: Database) -> None:
    with database.read() as session:
        session.scalar(select(func.count()).select_from(Commune))
        with database.write() as other:
            other.add(Commune(insee="26362", name="Valence"))
        with database.engine.connect() as connection:
            connection.execute(text("PRAGMA busy_timeout=1"))  # the pooled connection the next line is given again
        assert not database.forget_deleted_bytes(patience_s=0.0)
    assert database.forget_deleted_bytes()


def test_the_file_of_a_database_is_known_on_sqlite_only(tmp_path: Path) -> None:
    assert Database(f"sqlite:///{tmp_path / 'bwc.db'}").file == tmp_path / "bwc.db"
    assert Database("postgresql+psycopg://nobody@/nothing").file is None


def test_an_empty_database_has_no_revision_and_an_upgraded_one_the_heads(tmp_path: Path) -> None:
    empty = Database(f"sqlite:///{tmp_path / 'empty.db'}")
    assert current_revision(empty) is None
    upgrade(empty)
    assert current_revision(empty) == head_revision()
    upgrade(empty)  # again: nothing to do
    assert current_revision(empty) == head_revision()
    empty.close()
