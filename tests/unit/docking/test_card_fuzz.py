"""Random damage to a small card: success, or an error of the device family, with bounded work and requests."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bwc.core.errors import DeviceError
from bwc.docking.card import open_card
from bwc.docking.card_delete import delete_file
from card_helpers import MIB, MemoryBlocks, mkfs_fat, mtools_fill, own_card

FILES = {
    "DCIM/100MEDIA/film un.mp4": random.Random(1).randbytes(20_000),
    "DCIM/100MEDIA/film deux.mp4": random.Random(2).randbytes(20_000),
    "DCIM/REC.MP4": b"r" * 600,
    "vide.txt": b"",
}
MAX_REQUESTS = 20_000


@cache
def base(kind: str) -> tuple[bytes, list[int]]:
    """A valid card and the positions of its metadata: boot sectors, table, bitmap, folders."""
    with TemporaryDirectory() as folder:
        image = Path(folder) / "card.img"
        if kind == "fat16":
            mtools_fill(mkfs_fat(image, 16, size=3 * MIB), FILES, Path(folder) / "scratch")
        else:
            own_card(image, kind, FILES, size=34 * MIB if kind == "fat32" else MIB, fragment=True)
        data = image.read_bytes()
    volume = open_card(MemoryBlocks(data))
    spots = [*range(0, 120, 3), *range(512, 12 * 512, 997)]
    table = volume.table.position  # type: ignore[attr-defined]
    spots += range(table, table + 512)
    for entry in volume.files():
        for start, count in entry.location.spans:
            spots += range(start, start + count * 32)
    heap = volume.geometry.heap  # type: ignore[attr-defined]
    spots += range(heap, heap + 512)
    return data, spots


def exercise(blocks: MemoryBlocks) -> None:
    """All that an offload does with a card, in bounds."""
    blocks.max_requests = MAX_REQUESTS
    try:
        volume = open_card(blocks)
        entries = volume.files()
        damage = volume.damage()
    except DeviceError:
        return
    assert len(damage) <= 1001
    for entry in entries[:50]:
        assert entry.path.encode("utf-8")
        assert len(entry.path) < 20 * 300
        for offset in (0, min(entry.size, 4097), entry.size):
            try:
                with volume.open(entry, offset) as stream:
                    stream.read(2 * MIB)
            except DeviceError:
                pass
    blocks.max_requests += MAX_REQUESTS
    for entry in entries[:3]:
        try:
            delete_file(blocks, volume, entry)
        except DeviceError:
            assert damage or not blocks.log
    if damage:
        assert blocks.log == []


@pytest.mark.parametrize("kind", ["fat16", "fat32", "exfat"])
@given(changes=st.data())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.data_too_large, HealthCheck.too_slow])
def test_flipped_bytes_end_well(kind: str, changes: st.DataObject) -> None:
    data, spots = base(kind)
    blocks = MemoryBlocks(data)
    flips = changes.draw(st.lists(st.tuples(st.sampled_from(spots), st.integers(0, 255)), min_size=1, max_size=12))
    for position, value in flips:
        blocks.data[position] = value
    exercise(blocks)


@given(content=st.binary(max_size=4096))
@example(content=b"\xeb\x76\x90EXFAT   " + bytes(501))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_a_card_or_not(content: bytes) -> None:
    sector = bytearray(content.ljust(16 * 512, b"\0"))
    sector[510:512] = b"\x55\xaa"
    exercise(MemoryBlocks(bytes(sector)))


@pytest.mark.parametrize("kind", ["fat16", "fat32", "exfat"])
@given(seed=st.integers(0, 1 << 32), spot=st.integers(0, 1 << 16), length=st.integers(1, 5000))
@settings(max_examples=100, deadline=None)
def test_noise_in_the_folders_ends_well(kind: str, seed: int, spot: int, length: int) -> None:
    """Runs of random bytes over the entries, most of which then lie about everything."""
    data, spots = base(kind)
    folders = [position for position in spots if position > 12 * 512][512:]
    blocks = MemoryBlocks(data)
    position = folders[spot % len(folders)]
    blocks.data[position : position + length] = random.Random(seed).randbytes(length)
    exercise(blocks)
