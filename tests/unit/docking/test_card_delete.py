"""Deleting a file leaves a clean card, and cut anywhere leaves every other file intact."""

from __future__ import annotations

import io
import random
import struct
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from bwc.docking.card import CardEntry, Volume, open_card
from bwc.docking.card_delete import delete_file
from bwc.docking.card_maker import CardSource, make_card
from bwc.docking.errors import CardError, DeviceGoneError
from bwc.docking.exfat import ExfatVolume, set_checksum
from bwc.docking.fat import FatVolume
from card_helpers import (
    MIB,
    MOMENT,
    MemoryBlocks,
    check_clean,
    digests,
    expected,
    mkfs_fat,
    mtools_fill,
    own_card,
    sample_files,
    tool,
)

KINDS = ["fat16", "fat32", "exfat", "fat32 fragmented", "exfat fragmented"]
FILES = sample_files()
VICTIM = "DCIM/100MEDIA/REC00001.MP4"


@cache
def card_bytes(kind: str) -> bytes:
    with TemporaryDirectory() as folder:
        if kind == "fat16":
            image = mkfs_fat(Path(folder) / "card.img", 16, size=4 * MIB)
            mtools_fill(image, FILES, Path(folder) / "scratch")
        else:
            form, _, how = kind.partition(" ")
            image = own_card(Path(folder) / "card.img", form, FILES, fragment=bool(how))
        return image.read_bytes()


def entry_of(volume: Volume, path: str) -> CardEntry:
    return next(entry for entry in volume.files() if entry.path == path)


def save_and_check(data: bytes, kind: str, path: Path) -> None:
    path.write_bytes(data)
    check_clean(path, kind.split()[0])


def straddling(volume: Volume, block_size: int = 512) -> CardEntry:
    """A file whose entry set crosses the border of a block."""
    for entry in volume.files():
        for start, count in entry.location.spans:
            if start // block_size != (start + count * 32 - 1) // block_size:
                return entry
    raise AssertionError("no entry set crosses a block")


@pytest.mark.parametrize("kind", KINDS)
def test_one_file_after_the_other_down_to_the_empty_card(kind: str, tmp_path: Path) -> None:
    blocks = MemoryBlocks(card_bytes(kind))
    volume = open_card(blocks)
    left = dict(FILES)
    for number, entry in enumerate(volume.files()):
        delete_file(blocks, volume, entry)
        del left[entry.path]
        if number % 40 == 0:
            save_and_check(bytes(blocks.data), kind, tmp_path / "card.img")
            assert digests(open_card(blocks)) == expected(left)
    assert left == {}
    assert open_card(blocks).files() == []
    save_and_check(bytes(blocks.data), kind, tmp_path / "card.img")


@pytest.mark.parametrize("kind", KINDS)
def test_the_space_is_free_again(kind: str) -> None:
    blocks = MemoryBlocks(card_bytes(kind))
    volume = open_card(blocks)
    assert isinstance(volume, FatVolume | ExfatVolume)
    entry = entry_of(volume, VICTIM)
    runs = list(volume.runs(entry))
    delete_file(blocks, volume, entry)
    for first, count in runs:
        for cluster in range(first, first + count):
            if isinstance(volume, FatVolume):
                width = volume.table.width
                assert len(volume.fat_positions) == 2
                for table in volume.fat_positions:
                    assert not any(blocks.data[table + cluster * width : table + (cluster + 1) * width])
            else:
                ((position, _, bit, _),) = volume.bitmap_windows(cluster, 1)
                assert not blocks.data[position + bit // 8] >> bit % 8 & 1


def test_the_free_count_of_fat32_is_unknown_after_a_deletion() -> None:
    blocks = MemoryBlocks(card_bytes("fat32"))
    volume = open_card(blocks)
    assert struct.unpack_from("<I", blocks.data, 512 + 488)[0] < 0xFFFFFFFF
    delete_file(blocks, volume, entry_of(volume, VICTIM))
    assert struct.unpack_from("<I", blocks.data, 512 + 488)[0] == 0xFFFFFFFF


@pytest.mark.parametrize("kind", KINDS)
def test_the_entry_is_durable_before_its_space_is_freed(kind: str) -> None:
    blocks = MemoryBlocks(card_bytes(kind))
    volume = open_card(blocks)
    delete_file(blocks, volume, entry_of(volume, VICTIM))
    assert blocks.log[0] == "write"
    assert blocks.log.count("flush") == 2
    assert blocks.log[-1] == "flush"
    assert "write" in blocks.log[blocks.log.index("flush") : -1]


@pytest.mark.parametrize("victim", ["big", "straddling", "empty"])
@pytest.mark.parametrize("kind", KINDS)
def test_cut_after_every_single_write(kind: str, victim: str) -> None:
    original = card_bytes(kind)
    volume = open_card(MemoryBlocks(original))
    entry = {"big": entry_of(volume, VICTIM), "straddling": straddling(volume), "empty": entry_of(volume, "vide.txt")}
    path = entry[victim].path
    others = {name: data for name, data in FILES.items() if name != path}
    cuts = 0
    while True:
        blocks = MemoryBlocks(original, writes=cuts)
        volume = open_card(blocks)
        try:
            delete_file(blocks, volume, entry_of(volume, path))
        except DeviceGoneError:
            finished = False
        else:
            finished = True
        after = digests(open_card(blocks))
        assert after == expected(others) or (after == expected(FILES) and not finished)
        assert (cuts == 0) == (after == expected(FILES))
        if finished:
            break
        cuts += 1
    assert cuts >= (2 if victim == "straddling" else 1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_entry_is_not_deleted(kind: str) -> None:
    original = card_bytes(kind)
    victim = entry_of(open_card(MemoryBlocks(original)), VICTIM)
    for start, count in victim.location.spans:
        for at in range(start, start + count * 32, 7):
            blocks = MemoryBlocks(original)
            volume = open_card(blocks)
            volume.damage()
            blocks.data[at] ^= 0x10
            with pytest.raises(CardError, match="no longer on the card"):
                delete_file(blocks, volume, victim)
            assert blocks.log == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_deleted_once(kind: str) -> None:
    blocks = MemoryBlocks(card_bytes(kind))
    volume = open_card(blocks)
    entry = entry_of(volume, VICTIM)
    delete_file(blocks, volume, entry)
    with pytest.raises(CardError, match="no longer on the card"):
        delete_file(blocks, volume, entry)


def test_a_card_that_forgets_its_writes_is_noticed() -> None:
    class Forgetful(MemoryBlocks):
        def write(self, lba: int, data: bytes) -> None:
            self.log.append("write")

    blocks = Forgetful(card_bytes("exfat"))
    volume = open_card(blocks)
    with pytest.raises(CardError, match="still on the card"):
        delete_file(blocks, volume, entry_of(volume, VICTIM))


def test_a_folder_is_not_deleted() -> None:
    blocks = MemoryBlocks(card_bytes("exfat"))
    volume = open_card(blocks)
    with pytest.raises(CardError, match="is a folder"):
        delete_file(blocks, volume, replace(entry_of(volume, VICTIM), attributes=0x10))
    assert blocks.log == []


def test_a_vendor_allocation_is_not_deleted() -> None:
    """Its clusters would be lost (exFAT specification 1.00 §7.9)."""
    data = bytearray(card_bytes("exfat"))
    entry = entry_of(
        open_card(MemoryBlocks(bytes(data))), "DCIM/100MEDIA/Une très longue séquence filmée à l'école n° 3.mp4"
    )
    ((start, count),) = entry.location.spans
    data[start + 32 + 3] = 15
    data[start + (count - 1) * 32] = 0xE1
    struct.pack_into("<H", data, start + 2, set_checksum(bytes(data[start : start + count * 32])))
    blocks = MemoryBlocks(bytes(data))
    volume = open_card(blocks)
    assert volume.damage() == []
    with pytest.raises(CardError, match="vendor"):
        delete_file(blocks, volume, next(e for e in volume.files() if e.location.spans == entry.location.spans))
    assert blocks.log == []


@pytest.mark.parametrize("kind", ["fat32", "exfat"])
def test_reserved_bits_and_neighbours_in_shared_sectors_are_kept(kind: str) -> None:
    data = bytearray(card_bytes(kind))
    volume = open_card(MemoryBlocks(bytes(data)))
    entry = entry_of(volume, VICTIM)
    if isinstance(volume, FatVolume):
        for table in volume.fat_positions:
            data[table + (entry.first_cluster + 1) * 4 + 3] |= 0xA0
    blocks = MemoryBlocks(bytes(data))
    volume = open_card(blocks)
    delete_file(blocks, volume, entry_of(volume, VICTIM))
    assert digests(open_card(blocks)) == expected({p: d for p, d in FILES.items() if p != VICTIM})
    if isinstance(volume, FatVolume):
        for table in volume.fat_positions:
            assert blocks.data[table + (entry.first_cluster + 1) * 4 + 3] == 0xA0


@pytest.mark.parametrize("kind", ["fat32", "exfat"])
def test_a_long_recording_in_many_windows(kind: str, tmp_path: Path) -> None:
    """70 MiB of 512-byte or 4 KiB clusters, interleaved: chains over several cached windows and write batches."""
    size = 70 * MIB
    content = random.Random(8).randbytes(1 << 16) * (size >> 16)
    image = tmp_path / "card.img"
    files = [CardSource(name, size, MOMENT, lambda: io.BytesIO(content)) for name in ("a.mp4", "b.mp4")]
    make_card(image, "fat32" if kind == "fat32" else "exfat", 200 * MIB, files, "C", fragment=True)
    blocks = MemoryBlocks(image.read_bytes())
    volume = open_card(blocks)
    delete_file(blocks, volume, entry_of(volume, "a.mp4"))
    save_and_check(bytes(blocks.data), kind, image)
    assert digests(open_card(blocks), MIB) == expected({"b.mp4": content})


def test_a_fat_that_mtools_reads_after_the_deletion(tmp_path: Path) -> None:
    blocks = MemoryBlocks(card_bytes("fat16"))
    volume = open_card(blocks)
    delete_file(blocks, volume, entry_of(volume, VICTIM))
    image = tmp_path / "card.img"
    image.write_bytes(blocks.data)
    (tmp_path / "out").mkdir()
    tool("mcopy", "-i", image, "-s", "::", tmp_path / "out")
    found = {str(p.relative_to(tmp_path / "out")): p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert found == {path: data for path, data in FILES.items() if path != VICTIM}
