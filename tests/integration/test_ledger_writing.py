"""The ledger on both databases: what an append leaves, and what the databases themselves refuse."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from bwc.chain_of_custody.journal import SYSTEM_ACTOR, Actor, Event, Operation
from bwc.chain_of_custody.ledger import Ledger
from bwc.chain_of_custody.merkle import Frontier, leaf_hash
from bwc.core.clock import SettableClock
from bwc.core.errors import EvidenceError
from bwc.db.engine import Database
from tests.integration.ledger_helpers import disarm, execute

START = datetime(2026, 11, 22, 18, 32, 7, 123456, tzinfo=UTC)
TAKEN_IN = Event(Operation.COLLECTE, "recording.taken_in", SYSTEM_ACTOR, recording_id="01J0000000000000000000REC1")
SEEN = Event(
    Operation.CONSULTATION,
    "recording.viewed",
    Actor("01J0000000000000000000PER1", "Dupont, brigadier"),
    recording_id="01J0000000000000000000REC1",
    motive="R241-12 1° – procédure 2026/118",
    recipients=("OPJ Martin", "Parquet de Valence"),
    detail={"seconds": [0, 12], "whole": False, "ligne": "a\u2028b\n\x00é𝄞"},
)


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock(START)


def stored(database: Database, query: str) -> list:
    with database.read() as session:
        return session.execute(text(query)).all()


def test_an_append_writes_entry_journal_and_head_together(database: Database, clock: SettableClock) -> None:
    with database.write() as session:
        assert Ledger(clock).append(session, TAKEN_IN) == 0
        assert Ledger(clock).append_many(session, [SEEN, TAKEN_IN]) == [1, 2]
    bodies = [bytes(row[0]) for row in stored(database, "SELECT body FROM ledger_entry ORDER BY seq")]
    tree = Frontier()
    for body in bodies:
        tree.append(leaf_hash(body))
    assert json.loads(bodies[1])["t"] == "2026-11-22T18:32:07.123456Z"
    assert [json.loads(body)["n"] for body in bodies] == [0, 1, 2]
    ((size, frontier),) = stored(database, "SELECT size, frontier FROM ledger_head")
    assert (size, bytes(frontier)) == (3, tree.to_bytes())
    records = [json.loads(row[0]) for row in stored(database, "SELECT record FROM journal_entry ORDER BY seq")]
    assert records[1] == {
        "n": 1,
        "action": "recording.viewed",
        "actor": {"id": "01J0000000000000000000PER1", "label": "Dupont, brigadier"},
        "recording": "01J0000000000000000000REC1",
        "motive": "R241-12 1° – procédure 2026/118",
        "recipients": ["OPJ Martin", "Parquet de Valence"],
        "detail": {"seconds": [0, 12], "whole": False, "ligne": "a\u2028b\n\x00é𝄞"},
    }
    salts = {bytes(row[0]) for row in stored(database, "SELECT salt FROM journal_entry")}
    assert len(salts) == 3
    assert {len(salt) for salt in salts} == {32}


def test_a_failed_act_leaves_no_entry(database: Database, clock: SettableClock) -> None:
    def act() -> None:
        with database.write() as session:
            Ledger(clock).append(session, TAKEN_IN)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        act()
    assert stored(database, "SELECT count(*) FROM ledger_entry") == [(0,)]
    assert stored(database, "SELECT count(*) FROM ledger_head") == [(0,)]


def test_nothing_to_append_touches_nothing(database: Database, clock: SettableClock) -> None:
    with database.write() as session:
        assert Ledger(clock).append_many(session, []) == []
    assert stored(database, "SELECT count(*) FROM ledger_head") == [(0,)]


def test_a_reading_session_is_refused(database: Database, clock: SettableClock) -> None:
    with database.read() as session, pytest.raises(RuntimeError, match=r"Database\.write"):
        Ledger(clock).append(session, TAKEN_IN)


def test_a_clock_that_goes_back_is_said(database: Database, clock: SettableClock) -> None:
    for step in (timedelta(0), timedelta(hours=-1), timedelta(0), timedelta(minutes=1), timedelta(hours=2)):
        clock.advance(step)
        with database.write() as session:
            Ledger(clock).append_many(session, [TAKEN_IN, TAKEN_IN])
    records = [json.loads(row[0]) for row in stored(database, "SELECT record FROM journal_entry ORDER BY seq")]
    assert [record["n"] for record in records if "clock_went_back" in record["detail"]] == [2]


def test_a_head_that_disagrees_with_the_entries_stops_the_writer(database: Database, clock: SettableClock) -> None:
    with database.write() as session:
        Ledger(clock).append_many(session, [TAKEN_IN] * 3)
        session.execute(text("UPDATE ledger_head SET size = 1, frontier = :one"), {"one": b"x" * 32})
    with pytest.raises(EvidenceError, match="head says 1"), database.write() as session:
        Ledger(clock).append(session, TAKEN_IN)


def test_a_last_body_that_cannot_be_read_stops_the_writer(database: Database, clock: SettableClock) -> None:
    with database.write() as session:
        Ledger(clock).append(session, TAKEN_IN)
    disarm(database)
    execute(database, "UPDATE ledger_entry SET body = :body", body=b"[]")
    with pytest.raises(EvidenceError, match="cannot be read"), database.write() as session:
        Ledger(clock).append(session, TAKEN_IN)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger_entry SET body = body WHERE seq = 1",
        "UPDATE journal_entry SET record = 'x' WHERE seq = 1",
        "UPDATE checkpoint SET root = root",
        "DELETE FROM ledger_entry WHERE seq = 2",
        "DELETE FROM journal_entry WHERE seq = 2",
        "DELETE FROM checkpoint",
        "INSERT INTO ledger_entry SELECT 9, body, leaf_hash FROM ledger_entry WHERE seq = 2",
        "INSERT INTO ledger_entry SELECT 1, body, leaf_hash FROM ledger_entry WHERE seq = 2",
        "INSERT INTO ledger_entry SELECT -1, body, leaf_hash FROM ledger_entry WHERE seq = 2",
    ],
)
def test_the_database_refuses_to_rewrite(database: Database, clock: SettableClock, statement: str) -> None:
    fill(database, clock)
    refused(database, statement)


@pytest.mark.parametrize(
    "statement",
    [
        "REPLACE INTO ledger_entry SELECT 1, body, leaf_hash FROM ledger_entry WHERE seq = 2",
        "REPLACE INTO journal_entry SELECT * FROM journal_entry WHERE seq = 1",
        "REPLACE INTO checkpoint SELECT * FROM checkpoint",
    ],
)
def test_sqlite_refuses_replace(sqlite_database: Database, clock: SettableClock, statement: str) -> None:
    fill(sqlite_database, clock)
    refused(sqlite_database, statement)


@pytest.mark.parametrize(
    "statement",
    [
        "TRUNCATE ledger_entry CASCADE",
        "TRUNCATE checkpoint",
        "INSERT INTO ledger_entry SELECT * FROM ledger_entry WHERE seq = 1 "
        "ON CONFLICT (seq) DO UPDATE SET body = excluded.body",
    ],
)
def test_postgresql_refuses_truncate_and_upsert(
    postgres_database: Database, clock: SettableClock, statement: str
) -> None:
    fill(postgres_database, clock)
    refused(postgres_database, statement)


def fill(database: Database, clock: SettableClock) -> None:
    with database.write() as session:
        Ledger(clock).append_many(session, [TAKEN_IN] * 3)
        session.execute(
            text("INSERT INTO checkpoint VALUES (1, :root, 'note', '2026-11-22 18:32:07.000000')"),
            {"root": b"\0" * 32},
        )


def refused(database: Database, statement: str) -> None:
    with pytest.raises(DBAPIError, match=r"append-only|no gaps"), database.write() as session:
        session.execute(text(statement))
    assert stored(database, "SELECT count(*) FROM ledger_entry") == [(3,)]


WRITER = """
import sys
from bwc.chain_of_custody.journal import SYSTEM_ACTOR, Event, Operation
from bwc.chain_of_custody.ledger import Ledger
from bwc.core.clock import SystemClock
from bwc.db.engine import Database
database, ledger, done = Database(sys.argv[1]), Ledger(SystemClock()), []
for number in range(25):
    with database.write() as session:
        events = [Event(Operation.SYSTEME, "test.ran", SYSTEM_ACTOR, detail={"i": i}) for i in range(number % 3)]
        ledger.append_many(session, events)
        done.append(ledger.append(session, Event(Operation.SYSTEME, "test.ended", SYSTEM_ACTOR)))
print(*done)
"""


def test_four_processes_append_one_after_the_other(database: Database) -> None:
    url = database.url.render_as_string(hide_password=False)
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    results = [writer.communicate(timeout=120) for writer in writers]
    assert [writer.returncode for writer in writers] == [0] * 4, results
    places = [int(place) for out, _ in results for place in out.split()]
    assert len(set(places)) == len(places) == 100
    bodies = [bytes(row[0]) for row in stored(database, "SELECT body FROM ledger_entry ORDER BY seq")]
    assert [json.loads(body)["n"] for body in bodies] == list(range(196))
    tree = Frontier()
    for body in bodies:
        tree.append(leaf_hash(body))
    ((size, frontier),) = stored(database, "SELECT size, frontier FROM ledger_head")
    assert (size, bytes(frontier)) == (196, tree.to_bytes())
