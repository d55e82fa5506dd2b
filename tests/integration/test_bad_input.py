"""Every bad input of the field, through the whole way: a clear French sentence, and nothing lost."""

from __future__ import annotations

import random
import struct
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from bwc.core.clock import SettableClock
from bwc.db.models import Incident, OffloadFile, Recording
from bwc.docking.emulation import EmulatedCamera
from bwc.docking.folder import FolderTransport
from bwc.docking.offload import Offload
from bwc.docking.profiles import ProfileBook, load_profiles
from bwc.docking.transport import CameraFile
from bwc.installation import Installation
from docks import MIB, PRODUCT, VENDOR, Dock, camera, name
from factories import NOW, recording, take
from factories import camera as camera_row

sys.path.insert(0, str(Path(__file__).parent.parent / "golden" / "cards"))
import hostile_cards

EVERYTHING = ProfileBook(
    tuple(
        replace(profile, roots=(), include=("**",), exclude=())
        for profile in load_profiles().profiles
        if profile.name == "demonstration"
    )
)


def rows(house: Installation) -> list[Recording]:
    with house.database.read() as session:
        return list(session.scalars(select(Recording).order_by(Recording.source_path)))


def file_rows(house: Installation) -> list[OffloadFile]:
    with house.database.read() as session:
        return list(session.scalars(select(OffloadFile).order_by(OffloadFile.position)))


def incident_kinds(house: Installation) -> set[str]:
    with house.database.read() as session:
        return set(session.scalars(select(Incident.kind)))


@pytest.mark.parametrize(
    "case",
    [
        "cyclic_chain.fat32",
        "cyclic_chain.exfat",
        "folder_is_its_own_parent.fat32",
        "cross_linked_files.exfat",
        "chain_shorter_than_size.fat32",
        "size_beyond_the_volume.exfat",
        "two_entries_of_one_name.fat32",
    ],
)
def test_a_hostile_card_gives_what_is_readable_and_is_never_written(
    house: Installation, tmp_path: Path, case: str
) -> None:
    image = tmp_path / "card.img"
    image.write_bytes(hostile_cards.make(case))
    before = image.read_bytes()
    with Dock(house, EVERYTHING) as dock:
        dock.bus.plug(1, EmulatedCamera(image, VENDOR, PRODUCT, "BWDEMO0000007", "Body camera", "Demonstration"))
        (session,) = dock.wait()
    assert image.read_bytes() == before
    assert session.files_deleted == 0
    assert "restent sur la caméra" in session.message
    assert {"card_damaged", "file_damaged"} & incident_kinds(house)
    assert any(row.size == len(hostile_cards.WITNESS_BYTES) for row in rows(house))


@pytest.mark.parametrize("case", ["sector_size_zero.fat32", "cluster_size_absurd.exfat"])
def test_a_card_that_cannot_be_opened_is_said_so_and_the_service_goes_on(
    house: Installation, tmp_path: Path, case: str
) -> None:
    image = tmp_path / "card.img"
    image.write_bytes(hostile_cards.make(case))
    with Dock(house, EVERYTHING) as dock:
        dock.bus.plug(1, EmulatedCamera(image, VENDOR, PRODUCT, "BWDEMO0000007", "Body camera", "Demonstration"))
        (session,) = dock.wait(("failed",))
        assert session.message.startswith("La carte de la caméra est endommagée")
        dock.bus.plug(2, camera(tmp_path, {name(1): b"x" * 100}, serial="BWDEMO0000012"))
        dock.wait(("done",))
    assert len(rows(house)) == 1


HOSTILE_NAMES = ["../../etc/passwd", "..\\..\\boot.ini", "a\x00b", "\u202egpj.exe", "é" * 120, "..."]


def test_hostile_names_are_only_ever_shown(house: Installation, tmp_path: Path) -> None:
    """A name given by a camera reaches the catalogue and never a path of ours."""
    from bwc.docking.card import display_name

    outside = set(tmp_path.rglob("*"))
    for number, text in enumerate(HOSTILE_NAMES):
        shown = display_name(text)
        assert "/" not in shown
        assert "\x00" not in shown
        take(house, f"bytes {number}".encode(), path=f"DCIM/{shown}")
    assert len(rows(house)) == len(HOSTILE_NAMES)
    made = {path for path in set(tmp_path.rglob("*")) - outside if path.is_file()}
    assert all(house.settings.data in path.parents for path in made)


def test_a_folder_of_traps_is_read_without_following_any(house: Installation, tmp_path: Path) -> None:
    folder = tmp_path / "card"
    (folder / "DCIM").mkdir(parents=True)
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(b"not the camera's")
    (folder / "DCIM" / "link.mp4").symlink_to(secret)
    (folder / "DCIM" / "loop").symlink_to(folder)
    import os

    os.mkfifo(folder / "DCIM" / "pipe.mp4")
    (folder / "DCIM" / "real.mp4").write_bytes(b"real")
    transport = FolderTransport(folder)
    assert [file.path for file in transport.files()] == ["DCIM/real.mp4"]
    assert len(transport.damage()) == 3
    transport.close()


def folder_offload(house: Installation, transport: FolderTransport, *, wipe: bool = False) -> str:
    profile = load_profiles().named("folder")
    assert profile is not None
    return Offload(
        house, bay=None, identity=transport.identify(), profile=profile, connect=lambda: transport, wipe=wipe
    ).run()


class Growing(FolderTransport):
    """A folder whose one file grows while it is read, some times."""

    def __init__(self, folder: Path, times: int) -> None:
        super().__init__(folder, "BWDEMO0000007")
        self.folder, self.times = folder, times

    def open(self, file: CameraFile, offset: int = 0):  # type: ignore[no-untyped-def]
        stream = super().open(file, offset)
        if self.times:
            self.times -= 1
            with (self.folder / file.path).open("ab") as out:
                out.write(b"more")
        return stream


def test_a_file_that_keeps_growing_stays_on_the_camera_and_is_not_filed(house: Installation, tmp_path: Path) -> None:
    folder = tmp_path / "card"
    folder.mkdir()
    (folder / "a.mp4").write_bytes(b"x" * 3000)
    assert folder_offload(house, Growing(folder, 10**6), wipe=True) == "done"
    assert rows(house) == []
    (row,) = file_rows(house)
    assert row.state == "changed"
    assert "a changé pendant la copie" in row.message
    assert (folder / "a.mp4").exists()
    assert list(house.vault.names()) == []
    assert list(house.vault.parts()) == []


def test_a_mounted_folder_is_emptied_only_when_asked_and_verified(house: Installation, tmp_path: Path) -> None:
    folder = tmp_path / "card"
    folder.mkdir()
    (folder / "a.mp4").write_bytes(b"x" * 3000)
    assert folder_offload(house, FolderTransport(folder, "BWDEMO0000007")) == "done"
    assert (folder / "a.mp4").exists()
    assert folder_offload(house, FolderTransport(folder, "BWDEMO0000007"), wipe=True) == "done"
    assert not (folder / "a.mp4").exists()
    assert len(rows(house)) == 1


@pytest.mark.parametrize(
    ("named_start_days", "doubt"), [(+4000, "clock_future"), (-20_000, "clock_past"), (-200, "older_than_term")]
)
def test_a_camera_clock_that_cannot_be_right_neither_erases_nor_keeps(
    house: Installation, clock: SettableClock, named_start_days: int, doubt: str
) -> None:
    taken = take(house, named_start=clock.now() + timedelta(days=named_start_days))
    row = recording(house, taken.recording_id)
    assert row.state == "quarantined"
    assert doubt in row.quarantine
    assert row.claimed_start == clock.now() + timedelta(days=named_start_days)
    assert row.recorded_on_origin == "docking"
    assert row.due_on.isoformat() == "2026-12-22"


def test_a_file_with_no_date_at_all_counts_from_its_docking(house: Installation) -> None:
    row = recording(house, take(house, named_start=None).recording_id)
    assert row.quarantine == ["clock_absent"]
    assert row.due_on.isoformat() == "2026-12-22"


def test_an_old_recording_on_a_camera_seen_empty_since_then_is_not_believed(
    house: Installation, clock: SettableClock
) -> None:
    with house.database.write() as session:
        row = session.get_one(type(camera_row(house)), camera_row(house).id)
        row.last_emptied_at = clock.now() - timedelta(days=3)
    taken = recording(house, take(house, named_start=clock.now() - timedelta(days=10)).recording_id)
    assert "clock_past" in taken.quarantine


def test_a_recording_left_for_weeks_on_a_known_camera_is_taken_in_then_erased_late(
    house: Installation, clock: SettableClock
) -> None:
    from bwc.erasure import erase_due

    with house.database.write() as session:
        row = session.get_one(type(camera_row(house)), camera_row(house).id)
        row.last_emptied_at = clock.now() - timedelta(days=60)
    taken = take(house, named_start=clock.now() - timedelta(days=45))
    assert recording(house, taken.recording_id).recorded_on_origin == "camera"
    assert erase_due(house) == [taken.recording_id]
    assert "late_erasure" in incident_kinds(house)


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", len(body) + 8, kind) + body


def bomb() -> bytes:
    """Boxes nested ten thousand deep."""
    data = b""
    for _ in range(10_000):
        data = box(b"moov", data)
    return box(b"ftyp", b"isom\0\0\2\0isomiso2") + data


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (random.Random(1).randbytes(100_000), "not_media"),
        (box(b"ftyp", b"isom\0\0\2\0isomiso2") + struct.pack(">I4s", 9_000_000, b"mdat") + b"\0" * 5000, "truncated"),
        (bomb(), "bomb"),
    ],
)
def test_what_is_no_readable_video_is_filed_as_evidence_all_the_same(
    house: Installation, data: bytes, reason: str
) -> None:
    row = recording(house, take(house, data).recording_id)
    assert row.state == "held"
    assert row.media_state == "unreadable"
    assert row.media["reason"] == reason


@pytest.mark.parametrize("after", [1, 600, 70_000, MIB, MIB + 1, 2 * MIB, 3 * MIB - 1])
def test_pulled_at_any_byte_it_is_copied_whole_the_next_time(house: Installation, tmp_path: Path, after: int) -> None:
    device = camera(tmp_path, {name(1): random.Random(after).randbytes(3 * MIB), name(2): b"y" * 5000})
    device.gone_after_bytes = after
    with Dock(house) as dock:
        dock.bus.plug(1, device)
        dock.wait(("gone", "failed"))
        dock.bus.pull(1)
        device.gone_after_bytes = None
        dock.bus.plug(1, device)
        dock.wait(("done",))
    assert [row.source_path for row in rows(house)] == [name(1), name(2)]
    assert list(house.vault.parts()) == []


def test_a_file_over_four_gibibytes_on_exfat_is_taken_in_whole(house: Installation, tmp_path: Path) -> None:
    """4 GiB + 3 MiB, mostly zeros and sparse on the card; read, hashed, encrypted, read back, deleted for real."""
    import hashlib
    import io

    from bwc.docking.card_maker import CardSource, make_card

    size = (4 << 30) + 3 * MIB + 11
    tail = b"the end of a very long patrol"

    class Zeros(io.RawIOBase):
        at = 0

        def readable(self) -> bool:
            return True

        def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]
            count = min(len(buffer), size - self.at)
            buffer[:count] = bytes(count)
            start = size - len(tail)
            for place in range(max(self.at, start), self.at + count):
                buffer[place - self.at] = tail[place - start]
            self.at += count
            return count

    image = tmp_path / "big.img"
    make_card(image, "exfat", 6 << 30, [CardSource(name(1), size, NOW, lambda: io.BufferedReader(Zeros(), MIB))], "BIG")
    with Dock(house) as dock:
        dock.bus.plug(1, EmulatedCamera(image, VENDOR, PRODUCT, "BWDEMO0000007", "Body camera", "Demonstration"))
        (session,) = dock.wait(patience_s=300)
    (row,) = rows(house)
    assert row.size == size
    digest = hashlib.sha256()
    block = bytes(MIB)
    for _ in range((size - len(tail)) // MIB):
        digest.update(block)
    digest.update(bytes((size - len(tail)) % MIB) + tail)
    assert row.sha256 == digest.hexdigest()
    assert session.files_deleted == 1
