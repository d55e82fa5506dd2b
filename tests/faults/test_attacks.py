"""What an attacker found once, each as the proof that it is closed. Numbers are those of the first hostile review."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, text

from bwc.clock_guard import ClockError, check_clock
from bwc.core.clock import SettableClock
from bwc.core.errors import StorageError
from bwc.db.models import Incident, JournalEntry, OffloadFile, Part, Recording, RecordingKey
from bwc.docking.card import FileBlocks, open_card
from bwc.docking.folder import FolderTransport
from bwc.docking.service import alone_on_the_dock, recover
from bwc.erasure import erase_due
from bwc.installation import Installation
from bwc.rules.clock import clock_believed
from bwc.rules.retention import claimed_instant
from bwc.verification import verify_store
from docks import MIB, Dock, camera, name
from factories import at, take

DATA = random.Random(41).randbytes(3 * MIB)


def on_card(path: Path) -> set[str]:
    blocks = FileBlocks(path)
    try:
        return {entry.path for entry in open_card(blocks).files()}
    finally:
        blocks.close()


def container(house: Installation) -> Path:
    (path,) = house.settings.vault_folder.glob("??/*.bwc")
    return path


def flip(house: Installation) -> None:
    path = container(house)
    raw = bytearray(path.read_bytes())
    raw[MIB] ^= 1
    path.write_bytes(raw)


def lose_day_key(house: Installation) -> None:
    for path in house.settings.key_folder.glob("day-*.key"):
        path.unlink()


def lose_wrapped_key(house: Installation) -> None:
    with house.database.write() as session:
        session.execute(text("DELETE FROM recording_key"))


@pytest.mark.parametrize("spoil", [flip, lose_wrapped_key])
@pytest.mark.parametrize("other_name", [False, True])
def test_f1_bytes_met_again_leave_the_camera_only_if_a_copy_is_proven_now(
    house: Installation, tmp_path: Path, spoil: Callable[[Installation], None], other_name: bool
) -> None:
    """The catalogued copy is rotten or has no key: the camera's file becomes a new, good copy before it goes."""
    first = take(house, DATA, path=name(1))
    spoil(house)
    device = camera(tmp_path, {name(2 if other_name else 1): DATA})
    with Dock(house) as dock:
        dock.bus.plug(1, device)
        dock.wait()
    assert on_card(device.image_path) == set()
    _, faults = verify_store(house)
    assert {fault.recording_id for fault in faults if fault.what == "original"} == {first.recording_id}
    with house.database.read() as session:
        good = [row for row in session.scalars(select(Recording)) if row.id != first.recording_id]
        assert len(good) == 1
        assert session.get(RecordingKey, good[0].id) is not None
        assert "integrity" in session.scalars(select(Incident.kind)).all()


def test_f1_a_day_key_that_is_gone_stops_the_stay_and_nothing_leaves_the_camera(
    house: Installation, tmp_path: Path
) -> None:
    take(house, DATA, path=name(1))
    lose_day_key(house)
    device = camera(tmp_path, {name(1): DATA})
    with Dock(house) as dock:
        dock.bus.plug(1, device)
        dock.wait(("failed",))
    assert on_card(device.image_path) == {name(1)}


def test_f2_a_clock_that_went_back_stops_docking_until_it_is_right(
    house: Installation, clock: SettableClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bwc.docking.offload.RETRY_AFTER_S", 0.05)
    right = clock.now()
    clock.instant = right.replace(year=2000)
    device = camera(tmp_path, {name(1): DATA})
    with Dock(house) as dock:
        dock.bus.plug(1, device)
        (session,) = dock.wait(("waiting",))
        assert "L'heure du serveur a reculé" in session.message
        assert on_card(device.image_path) == {name(1)}
        clock.instant = right
        dock.wait()
    with house.database.read() as session:
        (row,) = session.scalars(select(Recording)).all()
    assert row.due_on.isoformat() == "2026-12-22"
    assert row.docked_at == right


def test_f2_a_clock_that_leapt_forward_erases_nothing_until_a_person_confirms_it(
    house: Installation, clock: SettableClock
) -> None:
    taken = take(house)
    clock.advance(timedelta(days=40))
    with pytest.raises(ClockError):
        erase_due(house)
    with house.database.read() as session:
        assert session.get_one(Recording, taken.recording_id).state == "held"
        assert session.scalars(select(Incident.kind)).all() == ["clock"]
    at(house, clock.now())
    assert erase_due(house) == [taken.recording_id]
    with house.database.read() as session:
        open_kinds = session.scalars(select(Incident.kind).where(Incident.closed_at.is_(None))).all()
    assert "clock" not in open_kinds


def test_f2_a_clock_looked_at_often_is_believed_for_ever(house: Installation, clock: SettableClock) -> None:
    for _ in range(10):
        clock.advance(timedelta(days=6))
        check_clock(house)
    assert clock_believed(clock.now(), clock.now())


@pytest.mark.parametrize("start", ["00010101_000000", "99991231_235959"])
def test_f3_a_date_that_leaves_the_calendar_is_no_date(house: Installation, tmp_path: Path, start: str) -> None:
    device = camera(tmp_path, {f"DCIM/CAM07_{start}_0001.MP4": DATA, name(2): b"x" * 900})
    with Dock(house) as dock:
        dock.bus.plug(1, device)
        (session,) = dock.wait()
    assert session.files_safe == 2
    from datetime import datetime

    assert claimed_instant(datetime(1, 1, 1)) is None  # noqa: DTZ001


def test_f3_paths_alike_for_a_thousand_characters_are_two_files(house: Installation, tmp_path: Path) -> None:
    from bwc.docking.transport import PATH_LIMIT, stored_path

    long = "d/" * 600
    one, two = stored_path(long + "a.mp4"), stored_path(long + "b.mp4")
    assert one != two
    assert len(one) == len(two) == PATH_LIMIT


def test_f3_an_unexpected_error_on_one_file_is_said_and_the_others_go_on(
    house: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bwc.docking import offload

    real = offload.take_in

    def broken(*args: object, **kwargs: object) -> object:
        facts = args[2]
        if facts.path == name(1):  # type: ignore[attr-defined]
            raise ZeroDivisionError("a bug of ours")
        return real(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(offload, "take_in", broken)
    device = camera(tmp_path, {name(1): DATA, name(2): b"y" * 900})
    with Dock(house) as dock:
        dock.bus.plug(1, device)
        (session,) = dock.wait()
    assert [file.state for file in session.files] == ["damaged", "deleted"]
    assert on_card(device.image_path) == {name(1)}


def test_f3_an_unexpected_error_of_the_stay_closes_it_with_an_incident(
    house: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bwc.docking.offload import Offload

    monkeypatch.setattr(Offload, "_list", lambda *_: 1 / 0)
    device = camera(tmp_path, {name(1): DATA})
    with Dock(house) as dock:
        dock.bus.plug(1, device)
        (session,) = dock.wait(("failed",))
    assert session.error_code == "unexpected"
    with house.database.read() as db:
        assert db.scalars(select(Incident.kind)).all() == ["offload_failed"]


def test_f3_a_locked_database_is_storage_that_waits(house: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlite3

    path = house.database.file
    assert path is not None
    monkeypatch.setattr("bwc.db.engine.BUSY_TIMEOUT_MS", 50)
    house.database.engine.dispose()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError), house.database.write() as session:
        session.execute(text("SELECT 1"))
    other.execute("ROLLBACK")
    other.close()


def test_f6_a_part_of_another_card_is_not_gone_on_from(house: Installation, tmp_path: Path) -> None:
    """Two cards alike in serial, name, size, date, first 64 KiB and seam, different in between."""
    one = bytearray(random.Random(1).randbytes(40 * MIB))
    two = bytearray(one)
    two[MIB : 21 * MIB] = random.Random(2).randbytes(20 * MIB)
    first = camera(tmp_path / "a", {name(1): bytes(one)}) if (tmp_path / "a").mkdir() is None else None
    second = camera(tmp_path / "b", {name(1): bytes(two)}) if (tmp_path / "b").mkdir() is None else None
    assert first is not None
    assert second is not None
    first.gone_after_bytes = 37 * MIB
    with Dock(house) as dock:
        dock.bus.plug(1, first)
        dock.wait(("gone",))
        dock.bus.pull(1)
        dock.bus.plug(1, second)
        dock.wait()
    import hashlib

    with house.database.read() as session:
        (row,) = session.scalars(select(Recording)).all()
    assert row.sha256 == hashlib.sha256(two).hexdigest()


def test_f7_an_unfinished_copy_ends_with_the_term_of_what_it_is_of(
    house: Installation, clock: SettableClock, tmp_path: Path
) -> None:
    old = name(1, "20261025_173207")
    device = camera(tmp_path, {old: random.Random(3).randbytes(40 * MIB)})
    device.gone_after_bytes = 37 * MIB
    with Dock(house) as dock:
        dock.bus.plug(1, device)
        dock.wait(("gone",))
    assert len(list(house.vault.parts())) == 1
    at(house, clock.now() + timedelta(days=5))
    erase_due(house)
    assert list(house.vault.parts()) == []
    with house.database.read() as session:
        assert session.scalars(select(Part)).all() == []


def test_f10_a_folder_taken_in_beside_the_service_leaves_its_sessions_alone(
    house: Installation, tmp_path: Path
) -> None:
    device = camera(tmp_path, {name(1): b"x" * 700})
    with Dock(house) as dock:
        dock.bus.plug(1, device)
        dock.wait()
        with alone_on_the_dock(house) as alone:
            assert not alone
    with alone_on_the_dock(house) as alone:
        assert alone
        recover(house)


def test_f11_a_list_of_many_files_is_written_in_short_transactions(house: Installation, tmp_path: Path) -> None:
    many = {f"DCIM/{number:05d}.MP4": b"" for number in range(30)}
    device = camera(tmp_path, many)
    with Dock(house) as dock:
        dock.bus.plug(1, device)
        (session,) = dock.wait()
    assert session.files_total == 30
    with house.database.read() as db:
        assert len(db.scalars(select(OffloadFile)).all()) == 30


def test_f12_a_key_destroyed_meanwhile_refuses_the_deletion(house: Installation, tmp_path: Path) -> None:
    from bwc.docking.emptying import Emptying

    taken = take(house, DATA)
    lose_wrapped_key(house)

    class Never:
        def delete(self, file: object) -> None:
            raise AssertionError("deleted")

    emptying = Emptying(house, serial="X", card_damaged=False, wipe_allowed=True)
    from bwc.docking.transport import CameraFile

    refused = emptying.delete(Never(), CameraFile("a", 1, None), taken)  # type: ignore[arg-type]
    assert refused is not None
    assert refused.rule == "BWC-CUS-1"
    with house.database.read() as session:
        assert "camera.deletion_ordered" not in session.scalars(select(JournalEntry.action)).all()


def test_f13_a_folder_file_rewritten_with_its_date_put_back_is_not_deleted(tmp_path: Path) -> None:
    import os

    from bwc.docking.errors import ChangedError

    path = tmp_path / "a.mp4"
    path.write_bytes(b"x" * 100)
    transport = FolderTransport(tmp_path)
    (file,) = transport.files()
    status = path.stat()
    with path.open("r+b") as out:
        out.write(b"y")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(ChangedError):
        transport.delete(file)
    transport.close()
    assert path.exists()
