"""The schema that migrations build is the models', on both databases; SQLite is opened as durably as promised."""

from __future__ import annotations

import sqlite3
import threading
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DatabaseError, OperationalError

from bwc.chain_of_custody.journal import SYSTEM_ACTOR, Event, Operation
from bwc.chain_of_custody.ledger import Ledger
from bwc.core.clock import SettableClock
from bwc.db import Base, Database
from bwc.db.models import Commune
from bwc.db.schema import current_revision, head_revision, upgrade
from tests.conftest import NOW

PRAGMAS = {
    "journal_mode": "wal",
    "synchronous": 2,  # FULL
    "secure_delete": 1,
    "foreign_keys": 1,
    "trusted_schema": 0,
    "temp_store": 2,  # memory
    "busy_timeout": 30_000,
}
PROTECTED = ("ledger_entry", "journal_entry", "checkpoint")


def differences(connection: Connection) -> list[Any]:
    """What `alembic revision --autogenerate` would write."""
    options = {"compare_type": True, "compare_server_default": True, "target_metadata": Base.metadata}
    return compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata)


# Migrations and models


def test_the_migrations_build_exactly_the_models(database: Database) -> None:
    with database.engine.connect() as connection:
        assert differences(connection) == []


def test_the_comparison_would_see_a_column_that_is_missing(database: Database) -> None:
    with database.engine.connect() as connection:
        connection.execute(text("ALTER TABLE town DROP COLUMN archives_agreement"))
        found = differences(connection)
        connection.rollback()
    assert [(what, table, column.name) for what, _, table, column in found] == [
        ("add_column", "town", "archives_agreement")
    ]


def test_a_migrated_database_is_at_the_head_and_migrating_again_changes_nothing(database: Database) -> None:
    assert current_revision(database) == head_revision()
    before = sorted(inspect(database.engine).get_table_names())
    upgrade(database)
    assert sorted(inspect(database.engine).get_table_names()) == before


def test_every_table_of_the_models_is_there_and_no_other(database: Database) -> None:
    assert set(inspect(database.engine).get_table_names()) == set(Base.metadata.tables) | {"alembic_version"}


# Append-only


@pytest.fixture
def written(database: Database) -> Database:
    """A database whose three custody tables hold a row each."""
    with database.write() as session:
        Ledger(SettableClock(NOW)).append_many(
            session, [Event(Operation.SYSTEME, "schema.tested", SYSTEM_ACTOR) for _ in range(2)]
        )
        session.execute(
            text("INSERT INTO checkpoint (size, root, note, made_at) VALUES (2, :root, 'note', :at)"),
            {"root": bytes(32), "at": "2026-11-22 17:42:00"},
        )
    return database


def rows_in(connection: Connection, table: str) -> int:
    return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


def column_of(table: str) -> str:
    return {"ledger_entry": "seq", "journal_entry": "seq", "checkpoint": "size"}[table]


@pytest.mark.parametrize("table", PROTECTED)
@pytest.mark.parametrize("statement", ["UPDATE {table} SET {key} = {key}", "DELETE FROM {table}"])
def test_no_row_of_the_custody_tables_can_be_changed_or_deleted(written: Database, table: str, statement: str) -> None:
    sql = statement.format(table=table, key=column_of(table))
    with written.engine.connect() as connection:
        count = rows_in(connection, table)
        with pytest.raises(DatabaseError, match="append-only"):
            connection.execute(text(sql))
        connection.rollback()
        assert rows_in(connection, table) == count > 0


@pytest.mark.parametrize("table", PROTECTED)
def test_no_custody_table_can_be_emptied_at_once(postgres_database: Database, table: str) -> None:
    with postgres_database.engine.connect() as connection, pytest.raises(DatabaseError, match="append-only"):
        connection.execute(text(f"TRUNCATE {table} CASCADE"))


@pytest.mark.parametrize("place", [0, 1, 3, 7])
def test_a_ledger_entry_takes_the_next_place_or_none(written: Database, place: int) -> None:
    sql = text("INSERT INTO ledger_entry (seq, body, leaf_hash) VALUES (:seq, :body, :leaf)")
    with written.engine.connect() as connection, pytest.raises(DatabaseError, match=r"no gaps|UNIQUE"):
        connection.execute(sql, {"seq": place, "body": b"{}", "leaf": bytes(32)})


@pytest.mark.parametrize("table", PROTECTED)
def test_sqlite_refuses_to_replace_a_custody_row_under_its_own_number(sqlite_database: Database, table: str) -> None:
    """INSERT OR REPLACE deletes without firing delete triggers: it has a trigger of its own."""
    with sqlite_database.write() as session:
        Ledger(SettableClock(NOW)).append(session, Event(Operation.SYSTEME, "schema.tested", SYSTEM_ACTOR))
        session.execute(text("INSERT INTO checkpoint (size, root, note, made_at) VALUES (0, x'00', 'n', '2026')"))
    with sqlite_database.engine.connect() as connection, pytest.raises(DatabaseError, match=r"append-only|no gaps"):
        connection.execute(text(f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}"))


# SQLite, on every connection


def pragmas(connection: Connection) -> dict[str, Any]:
    return {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in PRAGMAS}


def test_every_new_connection_to_sqlite_has_the_pragmas_in_force(sqlite_database: Database) -> None:
    engine = sqlite_database.engine
    with engine.connect() as first, engine.connect() as second, engine.connect() as third:
        assert [pragmas(one) for one in (first, second, third)] == [PRAGMAS] * 3


def test_both_kinds_of_session_have_the_pragmas_in_force(sqlite_database: Database) -> None:
    with sqlite_database.read() as session:
        assert pragmas(session.connection()) == PRAGMAS
    with sqlite_database.write() as session:
        assert pragmas(session.connection()) == PRAGMAS


def test_a_foreign_key_that_points_nowhere_is_refused(database: Database) -> None:
    sql = "INSERT INTO order_commune (order_id, insee) VALUES ('nothing', '26362')"
    with database.engine.connect() as connection, pytest.raises(DatabaseError, match=r"(?i)foreign key"):
        connection.execute(text(sql))


def test_a_write_takes_the_writers_place_before_its_first_statement(sqlite_database: Database) -> None:
    other = Database(str(sqlite_database.url))
    with sqlite_database.write() as session:
        session.connection()  # begins the transaction and does nothing in it
        with other.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA busy_timeout=0")
            connection.rollback()
            with pytest.raises(OperationalError, match="locked"):
                connection.exec_driver_sql("INSERT INTO commune (insee, name) VALUES ('26362', 'Valence')")
    other.close()


def test_a_reader_takes_nobodys_place(sqlite_database: Database) -> None:
    with sqlite_database.read() as session:
        session.connection()
        with sqlite_database.write() as other:
            other.add(Commune(insee="26362", name="Valence"))


def test_writers_from_many_threads_queue_and_lose_nothing(database: Database) -> None:
    failures: list[BaseException] = []

    def write(number: int) -> None:
        try:
            for place in range(5):
                with database.write() as session:
                    session.add(Commune(insee=f"{number:02d}{place:03d}", name="Valence"))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    with database.read() as session:
        assert session.execute(text("SELECT count(*) FROM commune")).scalar_one() == 30


def test_sqlite_stays_in_wal_for_programs_that_open_it_without_us(sqlite_database: Database) -> None:
    assert sqlite_database.file is not None
    plain = sqlite3.connect(sqlite_database.file)
    try:
        assert plain.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    finally:
        plain.close()
