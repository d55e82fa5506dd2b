"""The end of a recording: on its day, wholly, provably."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta

import pytest
from sqlalchemy import select, text

from bwc.core.clock import SettableClock
from bwc.core.errors import EvidenceError, StorageError
from bwc.db.models import DayKey, Derivative, ErasureCertificate, Incident, Job, JournalEntry, Recording, RecordingKey
from bwc.erasure import due_recordings, erase_due, finish_erasures
from bwc.ingest.derivatives import make_derivative
from bwc.installation import Installation
from bwc.tasks.jobs import run_job, waiting_jobs
from factories import at, recording, take

ON_BOTH_DATABASES = True
PLAIN = b"des mots que personne d'autre n'ecrit ici " * 4000

SEARCH = (
    "import sys; from pathlib import Path\n"
    "needles = [bytes.fromhex(word) for word in sys.stdin.read().split()]\n"
    "for path in Path(sys.argv[1]).rglob('*'):\n"
    "    if path.is_file():\n"
    "        data = path.read_bytes()\n"
    "        print(*[f'{path.name}:{n}' for n, needle in enumerate(needles) if needle in data])\n"
)


def traces(house: Installation, *needles: bytes) -> set[str]:
    """`file:needle` for each find in the data folder, by another process (closing a live database would unlock it)."""
    asked = " ".join(needle.hex() for needle in needles)
    done = subprocess.run(
        [sys.executable, "-I", "-c", SEARCH, str(house.settings.data)],
        input=asked,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def key_of(house: Installation, recording_id: str) -> tuple[bytes, bytes, str]:
    with house.database.read() as session:
        row = session.get_one(RecordingKey, recording_id)
        return house.keys.unwrap(row.day_key_id, recording_id, row.wrapped), row.wrapped, row.day_key_id


def to_the_end(house: Installation, clock: SettableClock, recording_id: str) -> None:
    from bwc.consultation import term_of

    at(house, term_of(recording(house, recording_id)).ends_at)


def test_a_recording_is_kept_to_the_last_second_of_its_term_and_not_one_more(
    house: Installation, clock: SettableClock
) -> None:
    taken = take(house)
    to_the_end(house, clock, taken.recording_id)
    clock.advance(timedelta(seconds=-1))
    assert due_recordings(house) == []
    assert erase_due(house) == []
    clock.advance(timedelta(seconds=1))
    assert erase_due(house) == [taken.recording_id]
    assert erase_due(house) == []
    row = recording(house, taken.recording_id)
    assert (row.state, row.erased_at) == ("erased", clock.now())


def test_nothing_decryptable_is_left_anywhere_in_the_data_folder(house: Installation, clock: SettableClock) -> None:
    taken = take(house, PLAIN)
    kept = take(house, b"another day" * 100, named_start=clock.now() - timedelta(days=1))
    key, wrapped, day_key_id = key_of(house, taken.recording_id)
    needles = (key, wrapped, key.hex().encode(), PLAIN[:40])
    if house.database.is_sqlite:
        assert traces(house, *needles), "the search finds the wrapped key while it lives"
    to_the_end(house, clock, taken.recording_id)
    assert set(erase_due(house)) == {taken.recording_id, kept.recording_id}
    assert traces(house, *needles) == set()
    assert list(house.vault.names()) == []
    with pytest.raises(EvidenceError):
        house.keys.unwrap(day_key_id, taken.recording_id, wrapped)


def test_a_day_key_goes_with_the_last_recording_it_protected_and_not_before(
    house: Installation, clock: SettableClock
) -> None:
    first = take(house, b"one", named_start=clock.now() - timedelta(days=2))
    second = take(house, b"two")
    days = {name: key_of(house, taken.recording_id)[2] for name, taken in (("first", first), ("second", second))}
    assert days["first"] != days["second"]
    to_the_end(house, clock, first.recording_id)
    erase_due(house)
    files = {path.name for path in house.settings.key_folder.glob("day-*")}
    assert files == {f"day-{days['second']}.key"}
    with house.database.read() as session:
        assert session.get_one(DayKey, days["first"]).destroyed_at == clock.now()
        assert session.get_one(DayKey, days["second"]).destroyed_at is None


def test_the_certificate_says_what_when_and_why(house: Installation, clock: SettableClock) -> None:
    taken = take(house)
    to_the_end(house, clock, taken.recording_id)
    erase_due(house)
    with house.database.read() as session:
        certificate = session.scalars(select(ErasureCertificate)).one()
        actions = list(
            session.scalars(
                select(JournalEntry.action)
                .where(JournalEntry.recording_id == taken.recording_id)
                .order_by(JournalEntry.seq)
            )
        )
    assert certificate.sha256 == taken.sha256
    assert certificate.due_on.isoformat() == "2026-12-22"
    assert certificate.done_at == clock.now()
    assert certificate.rule == "BWC-RET-1"
    assert certificate.order_number == "26-2022-02-01-00001"
    assert certificate.destroyed == ["clé", "original"]
    assert not certificate.late
    assert actions == ["recording.taken_in", "recording.key_destroyed", "recording.erased"]


def test_a_late_erasure_is_an_incident(house: Installation, clock: SettableClock) -> None:
    taken = take(house)
    to_the_end(house, clock, taken.recording_id)
    clock.advance(timedelta(hours=25))
    erase_due(house)
    with house.database.read() as session:
        assert session.scalars(select(ErasureCertificate)).one().late
        assert session.scalars(select(Incident.kind)).one() == "late_erasure"


def test_derivatives_and_waiting_jobs_go_with_their_recording(house: Installation, clock: SettableClock) -> None:
    from bwc.demonstration.footage import footage

    taken = take(house, footage(clock.now(), 2, "CAM-07", width=320, height=180, fps=5))
    assert make_derivative(house, taken.recording_id, "poster")
    to_the_end(house, clock, taken.recording_id)
    waiting = waiting_jobs(house)
    assert len(waiting) == 2
    erase_due(house)
    assert list(house.vault.names()) == []
    with house.database.read() as session:
        assert session.scalars(select(Derivative)).all() == []
        assert session.scalars(select(Job)).all() == []
        assert session.scalars(select(ErasureCertificate)).one().destroyed == ["clé", "original", "poster"]
    assert not run_job(house, waiting[0])
    assert not make_derivative(house, taken.recording_id, "proxy")


def test_no_row_no_role_and_no_call_erases_before_the_term(house: Installation) -> None:
    from bwc.erasure import _destroy_key

    taken = take(house)
    assert not _destroy_key(house, taken.recording_id)
    assert recording(house, taken.recording_id).state == "held"


def test_a_reader_that_stays_delays_the_certificate_never_forges_it(
    house: Installation, clock: SettableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not house.database.is_sqlite:
        monkeypatch.setattr(house.database, "forget_deleted_bytes", lambda: False)
    else:
        forget = house.database.forget_deleted_bytes
        monkeypatch.setattr(house.database, "forget_deleted_bytes", lambda: forget(patience_s=0.2))
    taken = take(house)
    to_the_end(house, clock, taken.recording_id)
    with house.database.read() as reader:
        reader.execute(text("SELECT count(*) FROM recording")).scalar()
        with pytest.raises(StorageError):
            erase_due(house)
        assert recording(house, taken.recording_id).state == "erasing"
    monkeypatch.undo()
    assert finish_erasures(house) == [taken.recording_id]
    with house.database.read() as session:
        assert session.get_one(Recording, taken.recording_id).state == "erased"
