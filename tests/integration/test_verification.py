"""A flipped byte in the vault, a row the ledger does not bear out: found and named, and nothing else changes."""

from __future__ import annotations

import random
from datetime import date, timedelta
from pathlib import Path

import pytest
from sqlalchemy import literal_column, select, text, update

from bwc.consultation import term_of
from bwc.db.base import Base
from bwc.db.models import ErasureCertificate, Incident, JournalEntry, Recording, RecordingKey
from bwc.erasure import erase_due
from bwc.installation import Installation
from bwc.rules.retention import RecordingDay, Term
from bwc.verification import Fault, verify_store
from factories import at, recording, take

ON_BOTH_DATABASES = True


def container(house: Installation, recording_id: str) -> Path:
    name = recording(house, recording_id).vault_name
    return house.settings.vault_folder / name[:2] / f"{name}.bwc"


def test_a_whole_store_verifies(house: Installation) -> None:
    for number in range(3):
        take(house, bytes([number]) * 100_000)
    assert verify_store(house) == (3, [])


def test_thirty_shares_read_everything_exactly_once(house: Installation) -> None:
    for number in range(12):
        take(house, bytes([number]) * 100)
    assert sum(verify_store(house, share=(share, 30))[0] for share in range(30)) == 12


@pytest.mark.parametrize("seed", range(6))
def test_one_flipped_bit_is_found_and_its_recording_named(house: Installation, seed: int) -> None:
    chance = random.Random(seed)
    good = take(house, b"good" * 1000)
    bad = take(house, chance.randbytes(200_000))
    path = container(house, bad.recording_id)
    data = bytearray(path.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)
    checked, faults = verify_store(house)
    assert checked == 2
    assert [(fault.recording_id, fault.what) for fault in faults] == [(bad.recording_id, "original")]
    with house.database.read() as session:
        assert session.scalars(select(Incident.recording_id)).all() == [bad.recording_id]
        actions = session.scalars(select(JournalEntry.action)).all()
    assert "recording.integrity_failed" in actions
    assert recording(house, good.recording_id).state == "held"


def test_a_missing_file_a_missing_key_and_a_swapped_file_are_found(house: Installation) -> None:
    gone, keyless, one, two = (take(house, bytes([n]) * 5000) for n in range(4))
    container(house, gone.recording_id).unlink()
    with house.database.write() as session:
        session.delete(session.get_one(RecordingKey, keyless.recording_id))
    first, second = container(house, one.recording_id), container(house, two.recording_id)
    kept = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(kept)
    _, faults = verify_store(house)
    assert {fault.recording_id for fault in faults} == {taken.recording_id for taken in (gone, keyless, one, two)}


EDITS = {
    "due_on": "'2026-12-01'",
    "recorded_on": "'2026-11-01'",
    "wearer_id": "null",
    "claimed_start": "'2026-01-01 00:00:00+00'",
    "docked_at": "'2026-11-02 00:00:00+00'",
    "order_id": "null",
    "camera_id": "null",
    "source": "'folder'",
    "source_path": "'OTHER.MP4'",
    "serial": "'X'",
    "sha256": "'" + "0" * 64 + "'",
    "size": "12",
    "term_rule": "'BWC-RET-2'",
    "quarantine": "'[\"no_wearer\"]'",
    "drift_ms": "7",
    "claimed_source": "'card'",
    "recorded_on_origin": "'docking'",
    "state": "'quarantined'",
    "erased_at": "'2026-11-02 00:00:00+00'",
}


def edit(house: Installation, table: type[Base], column: str, value: str, recording_id: str | None = None) -> None:
    """Behind the product's back; SQLite keeps instants without their zone."""
    sql = literal_column(value.replace("+00'", ".000000'") if house.database.is_sqlite else value)
    statement = update(table.__table__).values({column: sql})  # type: ignore[arg-type]
    if recording_id is not None:
        statement = statement.where(text("id = :id").bindparams(id=recording_id))
    with house.database.write() as session:
        session.execute(statement)


def remove(house: Installation, *statements: str, recording_id: str = "") -> None:
    with house.database.write() as session:
        for statement in statements:
            session.execute(text(statement), {"id": recording_id})


def findings(faults: list[Fault]) -> set[tuple[str, str, str]]:
    return {(fault.recording_id, fault.what, fault.column) for fault in faults}


def test_an_edited_column_of_a_recording_is_found_and_named(house: Installation) -> None:
    take(house, b"good" * 1000)
    bad = {column: take(house, column.encode() * 100).recording_id for column in EDITS}
    for column, recording_id in bad.items():
        edit(house, Recording, column, EDITS[column], recording_id)
    _, faults = verify_store(house)
    rows = [fault for fault in faults if fault.what == "row"]
    late = {(bad[column], "row", "due_on") for column in ("recorded_on", "docked_at")}  # then due after the law's day
    assert findings(rows) == {(bad[column], "row", column) for column in EDITS} | late
    serial = next(fault for fault in rows if fault.column == "serial")
    assert "the ledger says" in serial.error
    assert 'la base dit "X"' in serial.person
    with house.database.read() as session:
        assert set(session.scalars(select(Incident.recording_id))) == set(bad.values())
        actions = session.scalars(select(JournalEntry.action)).all()
    assert "recording.integrity_failed" in actions


@pytest.mark.parametrize(("days", "found"), [(30, False), (31, True), (3650, True)])
def test_a_term_later_than_the_law_is_found_even_when_the_ledger_agrees(
    house: Installation, monkeypatch: pytest.MonkeyPatch, days: int, found: bool
) -> None:
    def term(day: date) -> Term:
        return Term(day, day + timedelta(days=days), "BWC-RET-1")

    monkeypatch.setattr("bwc.ingest.intake.bodycam_term", term)
    taken = take(house).recording_id
    _, faults = verify_store(house)
    assert findings(faults) == ({(taken, "row", "due_on")} if found else set())


def test_a_recorded_day_in_the_future_does_not_lengthen_the_month_after_docking(
    house: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def day(*_: object) -> RecordingDay:
        return RecordingDay(date(2027, 3, 1), "camera", None)

    monkeypatch.setattr("bwc.ingest.intake.recording_day", day)
    take(house)
    _, faults = verify_store(house)
    assert any(fault.column == "due_on" and "2026-12-22 at the latest" in fault.error for fault in faults)


def test_a_deleted_row_and_a_row_without_entry_are_found(house: Installation) -> None:
    one, two = (take(house, bytes([n]) * 500).recording_id for n in range(2))
    key, row_of = "DELETE FROM recording_key WHERE recording_id = :id", "DELETE FROM recording WHERE id = :id"
    remove(house, key, row_of, recording_id=one)
    with house.database.write() as session:
        row = session.get_one(Recording, two)
        copied = {each.name: getattr(row, each.name) for each in Recording.__table__.columns}
        session.add(Recording(**copied | {"id": "01INVENTED", "state": "erasing"}))
    _, faults = verify_store(house)
    assert {fault.recording_id for fault in faults} == {one, "01INVENTED"}
    assert "no row holds it" in next(fault.error for fault in faults if fault.recording_id == one)
    assert any("no recording.taken_in entry" in fault.error for fault in faults)


CERTIFICATE_EDITS = {
    "sha256": "'" + "0" * 64 + "'",
    "size": "12",
    "recorded_on": "'2026-11-01'",
    "due_on": "'2026-12-01'",
    "rule": "'BWC-RET-2'",
    "order_number": "'0'",
    "archives_agreement": "'invented'",
    "destroyed": "'[]'",
    "late": "true",
    "done_at": "'2026-12-02 00:00:00+00'",
    "ledger_seq": "1",
}


def erased(house: Installation) -> str:
    taken = take(house).recording_id
    at(house, term_of(recording(house, taken)).ends_at)
    assert erase_due(house) == [taken]
    assert verify_store(house) == (0, [])
    return taken


def test_an_edited_certificate_is_found(house: Installation) -> None:
    taken = erased(house)
    for column, value in CERTIFICATE_EDITS.items():
        edit(house, ErasureCertificate, column, value)
    assert findings(verify_store(house)[1]) == {(taken, "certificate", column) for column in CERTIFICATE_EDITS}


def test_a_deleted_certificate_and_an_invented_one_are_found(house: Installation) -> None:
    taken = erased(house)
    held = take(house, b"held").recording_id
    edit(house, ErasureCertificate, "recording_id", f"'{held}'")
    _, faults = verify_store(house)
    assert findings(faults) == {(taken, "certificate", ""), (held, "certificate", "")}
    certificates, incidents = "DELETE FROM erasure_certificate", "DELETE FROM incident"
    remove(house, certificates, incidents, "DELETE FROM recording WHERE id = :id", recording_id=taken)
    assert {(taken, "row", ""), (taken, "certificate", "")} == findings(verify_store(house)[1])


def test_an_erased_row_called_held_again_is_found(house: Installation) -> None:
    taken = erased(house)
    edit(house, Recording, "state", "'held'")
    edit(house, Recording, "erased_at", "null")
    assert {(taken, "row", "state"), (taken, "row", "erased_at")} <= findings(verify_store(house)[1])


def test_between_key_and_certificate_nothing_is_amiss(house: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = take(house).recording_id
    at(house, term_of(recording(house, taken)).ends_at)
    monkeypatch.setattr("bwc.erasure.finish_erasures", lambda _: [])
    erase_due(house)
    assert verify_store(house) == (0, [])


def test_rows_are_compared_in_the_night_of_their_share_and_past_a_page(
    house: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bwc.verification_rows.PAGE", 2)
    ids = [take(house, bytes([n]) * 50).recording_id for n in range(5)]
    edit(house, Recording, "serial", "'X'")
    nights = [findings(verify_store(house, share=(night, 3))[1]) for night in range(3)]
    assert sorted(each for night in nights for each in night) == [(one, "row", "serial") for one in sorted(ids)]


def test_a_value_that_cannot_be_read_is_a_finding_and_stops_nothing(house: Installation) -> None:
    one, two = (take(house, bytes([n]) * 500).recording_id for n in range(2))
    column, value = ("due_on", "'never'") if house.database.is_sqlite else ("quarantine", "'[no JSON'")
    edit(house, Recording, column, value, one)
    edit(house, Recording, "recorded_on", "'9999-12-15'", two)
    checked, faults = verify_store(house)
    assert checked == 2
    assert {fault.recording_id for fault in faults} == {one, two}
