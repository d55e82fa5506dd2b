"""From the plug to the empty camera, through every real layer above libusb."""

from __future__ import annotations

import hashlib
import random
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from bwc.core.clock import SettableClock
from bwc.db.models import Camera, Incident, JournalEntry, Part, Recording, RecordingKey
from bwc.docking.card import FileBlocks, open_card
from bwc.docking.emulation import EmulatedCamera
from bwc.erasure import erase_due
from bwc.installation import Installation
from docks import MIB, Dock, camera, name
from factories import at


def files_on(path: Path) -> dict[str, int]:
    blocks = FileBlocks(path)
    try:
        return {entry.path: entry.size for entry in open_card(blocks).files()}
    finally:
        blocks.close()


def plaintext(house: Installation, row: Recording) -> bytes:
    with house.database.read() as session:
        wrapped = session.get_one(RecordingKey, row.id)
    key = house.keys.unwrap(wrapped.day_key_id, row.id, wrapped.wrapped)
    with house.vault.open(row.vault_name, key, row.id) as file:
        return file.read()


def recordings(house: Installation) -> list[Recording]:
    with house.database.read() as session:
        return list(session.scalars(select(Recording).order_by(Recording.source_path)))


def incidents(house: Installation) -> list[str]:
    with house.database.read() as session:
        return list(session.scalars(select(Incident.kind).order_by(Incident.id)))


ON_BOTH_DATABASES = True

CONTENT = {
    name(1): random.Random(1).randbytes(5 * MIB + 13),
    name(2, "20261122_173507"): random.Random(2).randbytes(700_001),
    name(3, "20261122_173807"): b"",
    "DCIM/notes.txt": b"not a recording",
}


@pytest.mark.parametrize("kind", ["fat32", "exfat"])
def test_a_camera_is_copied_filed_and_emptied(house: Installation, tmp_path: Path, kind: str) -> None:
    device = camera(tmp_path, CONTENT, kind=kind)
    with Dock(house) as dock:
        dock.bus.plug(1, device)
        (session,) = dock.wait()
    assert session.message == "Caméra vide et vérifiée : vous pouvez la reprendre."
    assert (session.files_total, session.files_safe, session.files_deleted) == (3, 3, 3)
    rows = recordings(house)
    assert [row.source_path for row in rows] == sorted(CONTENT)[:3]
    for row in rows:
        assert row.sha256 == hashlib.sha256(CONTENT[row.source_path]).hexdigest()
        assert plaintext(house, row) == CONTENT[row.source_path]
        assert row.state == "held"
        assert row.wearer is not None
        assert row.wearer.matricule == "2214"
        assert row.due_on.isoformat() == "2026-12-22"
        assert row.order is not None
        assert row.order.number == "26-2022-02-01-00001"
    assert files_on(device.image_path) == {"DCIM/notes.txt": 15}
    with house.database.read() as db:
        actions = list(db.scalars(select(JournalEntry.action).order_by(JournalEntry.seq)))
        emptied = db.scalars(select(Camera).where(Camera.label == "CAM-07")).one()
    assert emptied.last_emptied_at == house.clock.now()
    first = actions.index("recording.taken_in")
    assert actions[first : first + 3] == ["recording.taken_in", "camera.deletion_ordered", "camera.file_deleted"]


def test_an_unplug_in_the_middle_loses_nothing_and_the_copy_goes_on(house: Installation, tmp_path: Path) -> None:
    data = random.Random(5).randbytes(40 * MIB + 5)
    device = camera(tmp_path, {name(1): data})
    device.gone_after_bytes = 37 * MIB
    with Dock(house) as dock:
        dock.bus.plug(1, device)
        dock.wait(("gone",))
        dock.bus.pull(1)
        with house.database.read() as session:
            assert session.scalars(select(Part)).one().path == name(1)
        assert recordings(house) == []
        device.gone_after_bytes = None
        dock.bus.plug(2, device)
        sessions = dock.wait(("done",))
    assert sessions[1].files_safe == 1
    (row,) = recordings(house)
    assert row.sha256 == hashlib.sha256(data).hexdigest()
    assert plaintext(house, row) == data
    assert list(house.vault.parts()) == []
    assert len(list(house.vault.names())) == 1


def test_a_resumed_copy_reads_only_the_rest_from_the_camera(house: Installation, tmp_path: Path) -> None:
    from structlog.testing import capture_logs

    data = random.Random(6).randbytes(40 * MIB)
    device = camera(tmp_path, {name(1): data})
    device.gone_after_bytes = 38 * MIB
    with capture_logs() as lines, Dock(house) as dock:
        dock.bus.plug(1, device)
        dock.wait(("gone",))
        dock.bus.pull(1)
        device.gone_after_bytes = None
        dock.bus.plug(1, device)
        dock.wait(("done",))
    resumed = [line for line in lines if line["event"] == "offload.resumed"]
    assert [line["at"] for line in resumed] == [32 * MIB]


def test_a_part_that_was_altered_is_not_gone_on_from(house: Installation, tmp_path: Path) -> None:
    data = random.Random(7).randbytes(20 * MIB)
    device = camera(tmp_path, {name(1): data})
    device.gone_after_bytes = 19 * MIB
    with Dock(house) as dock:
        dock.bus.plug(1, device)
        dock.wait(("gone",))
        dock.bus.pull(1)
        part = next((house.settings.vault_folder / "parts").glob("*.part"))
        with part.open("r+b") as file:
            file.seek(16 * MIB)
            file.write(b"\xff" * 64)
        device.gone_after_bytes = None
        dock.bus.plug(1, device)
        dock.wait(("done",))
    (row,) = recordings(house)
    assert plaintext(house, row) == data


def test_a_file_known_already_is_not_kept_twice_and_leaves_the_camera(house: Installation, tmp_path: Path) -> None:
    device = camera(tmp_path, {name(1): b"same bytes" * 1000, name(2): b"same bytes" * 1000})
    with Dock(house) as dock:
        dock.bus.plug(1, device)
        (session,) = dock.wait()
    assert len(recordings(house)) == 1
    assert len(list(house.vault.names())) == 1
    assert [file.state for file in session.files] == ["deleted", "deleted"]
    assert files_on(device.image_path) == {}


def test_an_unknown_camera_is_kept_in_quarantine_and_not_emptied(house: Installation, tmp_path: Path) -> None:
    device = camera(tmp_path, {name(1): b"x" * 5000}, serial="INCONNUE1")
    with Dock(house) as dock:
        dock.bus.plug(1, device)
        (session,) = dock.wait()
    (row,) = recordings(house)
    assert row.state == "quarantined"
    assert set(row.quarantine) == {"unknown_camera", "no_wearer"}
    assert files_on(device.image_path) == {name(1): 5000}
    assert "quarantine" in incidents(house)
    assert "restent sur la caméra" in session.message


def test_a_device_of_no_profile_is_never_read(house: Installation, tmp_path: Path) -> None:
    device = camera(tmp_path, {name(1): b"x" * 5000})
    device.product_id = 0x1234
    with Dock(house) as dock:
        dock.bus.plug(1, device)
        (session,) = dock.wait(("refused",))
    assert session.error_code == "unknown_device"
    assert recordings(house) == []
    assert incidents(house) == ["unknown_device"]


def test_a_bad_block_leaves_that_file_and_saves_the_others(house: Installation, tmp_path: Path) -> None:
    content = {name(1): random.Random(8).randbytes(3 * MIB), name(2): random.Random(9).randbytes(MIB)}
    device = camera(tmp_path, content)
    raw = device.image_path.read_bytes()
    lba = raw.index(content[name(1)][MIB : MIB + 512]) // 512
    device.bad_blocks = {lba}
    with Dock(house) as dock:
        dock.bus.plug(1, device)
        (session,) = dock.wait()
    assert [file.state for file in session.files] == ["damaged", "deleted"]
    assert [row.source_path for row in recordings(house)] == [name(2)]
    assert files_on(device.image_path) == {name(1): 3 * MIB}
    assert "file_damaged" in incidents(house)


def test_two_cameras_are_read_at_once(house: Installation, tmp_path: Path) -> None:
    one = camera(tmp_path, {name(1): random.Random(1).randbytes(2 * MIB)})
    two = camera(tmp_path, {name(1): random.Random(2).randbytes(2 * MIB)}, serial="BWDEMO0000012", kind="exfat")
    with Dock(house) as dock:
        dock.bus.plug(1, one)
        dock.bus.plug(2, two)
        sessions = dock.wait(count=2)
    assert {session.bay_number for session in sessions} == {1, 2}
    assert {row.wearer.matricule for row in recordings(house) if row.wearer} == {"2214", "2231"}


def test_a_full_disk_makes_the_camera_wait_and_the_copy_follows(
    house: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bwc.docking.offload.RETRY_AFTER_S", 0.05)
    device = camera(tmp_path, {name(1): random.Random(3).randbytes(MIB)})
    house.vault._reserve = 1 << 60
    with Dock(house) as dock:
        dock.bus.plug(1, device)
        (session,) = dock.wait(("waiting",))
        assert session.error_code == "disk_full"
        assert "restent sur la caméra" in session.message
        assert recordings(house) == []
        house.vault._reserve = 0
        dock.wait()
    assert len(recordings(house)) == 1


def cut_at(house: Installation, device: EmulatedCamera, dock: Dock, after: int, port: int) -> None:
    device.gone_after_bytes = after
    dock.bus.plug(port, device)
    dock.wait(("gone",), count=port)
    dock.bus.pull(port)


def test_a_copy_cut_twice_leaves_no_part_once_it_is_in(house: Installation, tmp_path: Path) -> None:
    device = camera(tmp_path, {name(1): random.Random(11).randbytes(60 * MIB)})
    with Dock(house) as dock:
        cut_at(house, device, dock, 20 * MIB, 1)
        cut_at(house, device, dock, 38 * MIB, 2)
        with house.database.read() as session:
            assert len(session.scalars(select(Part)).all()) == 2
        device.gone_after_bytes = None
        dock.bus.plug(3, device)
        dock.wait(("done",))
    with house.database.read() as session:
        assert session.scalars(select(Part)).all() == []
    assert list(house.vault.parts()) == []


def test_a_part_whose_camera_never_comes_back_goes_after_a_month(
    house: Installation, clock: SettableClock, tmp_path: Path
) -> None:
    device = camera(tmp_path, {name(1): random.Random(12).randbytes(40 * MIB)})
    with Dock(house) as dock:
        cut_at(house, device, dock, 20 * MIB, 1)
    assert len(list(house.vault.parts())) == 1
    at(house, clock.now() + timedelta(days=30))
    erase_due(house)
    assert len(list(house.vault.parts())) == 1
    at(house, clock.now() + timedelta(days=2))
    erase_due(house)
    assert list(house.vault.parts()) == []
    assert list(house.settings.key_folder.glob("day-*")) == []
    with house.database.read() as session:
        assert session.scalars(select(Part)).all() == []


def test_a_camera_taken_off_after_its_copy_frees_its_bay(house: Installation, tmp_path: Path) -> None:
    device = camera(tmp_path, {name(1): b"x" * 500})
    with Dock(house) as dock:
        dock.bus.plug(1, device)
        dock.wait(("done",))
        dock.bus.pull(1)
        (session,) = dock.wait(("taken",))
    assert session.files_safe == 1


def test_a_service_that_stops_leaves_what_it_showed_and_the_next_one_looks_again(
    house: Installation, tmp_path: Path
) -> None:
    device = camera(tmp_path, {name(1): b"x" * 500})
    with Dock(house) as dock:
        dock.bus.plug(1, device)
        dock.wait(("done",))
    with Dock(house) as dock:
        dock.bus.plug(1, device)
        states = [session.state for session in dock.wait(("done", "taken"), count=2)]
    assert states == ["taken", "done"]
