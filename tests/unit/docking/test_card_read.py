"""Cards made by the system's tools and by ours are read to the byte."""

from __future__ import annotations

import random
import struct
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from bwc.core.errors import InputError
from bwc.docking.card import open_card
from bwc.docking.card_maker import CardSource, make_card
from bwc.docking.errors import CardError, DeviceGoneError, MediumError
from bwc.docking.exfat import set_checksum
from card_helpers import (
    LONG_255,
    MIB,
    MOMENT,
    MemoryBlocks,
    check_clean,
    digests,
    expected,
    mkfs_fat,
    mtools_fill,
    opened,
    own_card,
    sample_files,
    sources,
    tool,
    with_mbr,
)

FILES = sample_files()


@pytest.mark.parametrize(("bits", "size", "cluster"), [(16, 8 * MIB, 1), (16, 64 * MIB, 4), (32, 40 * MIB, 1)])
def test_fat_written_by_mtools(tmp_path: Path, bits: int, size: int, cluster: int) -> None:
    image = mkfs_fat(tmp_path / "card.img", bits, size=size, cluster_sectors=cluster)
    mtools_fill(image, FILES, tmp_path / "scratch")
    with opened(image) as (_, volume):
        assert volume.kind == f"fat{bits}"
        assert volume.label == "CAMERA 7"
        assert digests(volume) == expected(FILES)
        assert volume.damage() == []
        local = datetime.fromtimestamp(MOMENT.timestamp())  # noqa: DTZ006 mtools writes local time
        whole = local.replace(second=local.second - local.second % 2, microsecond=0)
        assert {entry.modified for entry in volume.files()} == {whole}


def test_fat32_with_few_clusters_is_still_fat32(tmp_path: Path) -> None:
    """As Linux and dosfstools have it: the count of clusters does not decide, the 16-bit FAT size does."""
    with opened(mkfs_fat(tmp_path / "card.img", 32, size=8 * MIB)) as (_, volume):
        assert (volume.kind, volume.label, volume.files(), volume.damage()) == ("fat32", "CAMERA 7", [], [])


@pytest.mark.parametrize(("bits", "kind"), [(16, 0x06), (32, 0x0C)])
def test_fat_in_an_mbr_partition(tmp_path: Path, bits: int, kind: int) -> None:
    inner = mkfs_fat(tmp_path / "inner.img", bits, size=40 * MIB, cluster_sectors=1 if bits == 32 else 2)
    mtools_fill(inner, FILES, tmp_path / "scratch")
    with opened(with_mbr(inner, tmp_path / "card.img", kind)) as (_, volume):
        assert digests(volume) == expected(FILES)
        assert volume.damage() == []


def test_exfat_in_a_gpt_partition(tmp_path: Path) -> None:
    inner = own_card(tmp_path / "inner.img", "exfat", FILES).read_bytes()
    card = bytearray(MIB) + inner
    card[510:512] = b"\x55\xaa"
    card[446 + 4] = 0xEE
    card[446 + 8 : 446 + 16] = b"\1\0\0\0\xff\xff\0\0"
    card[512:520] = b"EFI PART"
    card[512 + 72 : 512 + 88] = (2).to_bytes(8, "little") + (128).to_bytes(4, "little") + (128).to_bytes(4, "little")
    first, last = MIB // 512, MIB // 512 + len(inner) // 512 - 1
    card[1024 + 128 : 1024 + 176] = b"\7" * 32 + first.to_bytes(8, "little") + last.to_bytes(8, "little")
    volume = open_card(MemoryBlocks(bytes(card)))
    assert digests(volume) == expected(FILES)


@pytest.mark.parametrize("fragment", [False, True])
@pytest.mark.parametrize("kind", ["fat32", "exfat"])
def test_our_maker_is_clean_and_read_back(tmp_path: Path, kind: str, fragment: bool) -> None:
    image = own_card(tmp_path / "card.img", kind, FILES, fragment=fragment)
    check_clean(image, kind)
    with opened(image) as (_, volume):
        assert (volume.kind, volume.label) == (kind, "CAMERA 7")
        assert digests(volume) == expected(FILES)
        assert volume.files()[0].path == "DCIM/100MEDIA/REC00001.MP4"
        assert volume.damage() == []


@pytest.mark.parametrize("kind", ["fat32", "exfat"])
def test_our_maker_with_a_partition_table(tmp_path: Path, kind: str) -> None:
    image = own_card(tmp_path / "card.img", kind, FILES, size=40 * MIB, partitioned=True)
    inner = tmp_path / "inner.img"
    inner.write_bytes(image.read_bytes()[MIB:])
    check_clean(inner, kind)
    with opened(image) as (_, volume):
        assert digests(volume) == expected(FILES)
        assert volume.damage() == []


@pytest.mark.parametrize("gibibytes", [1, 4, 64, 300])
@pytest.mark.parametrize("kind", ["fat32", "exfat"])
def test_our_maker_at_real_sizes(tmp_path: Path, kind: str, gibibytes: int) -> None:
    image = own_card(tmp_path / "card.img", kind, FILES, size=gibibytes << 30, fragment=True)
    assert image.stat().st_blocks * 512 < 64 * MIB
    check_clean(image, kind)
    with opened(image) as (_, volume):
        assert digests(volume) == expected(FILES)
        assert volume.damage() == []


def test_mtools_reads_our_fat32(tmp_path: Path) -> None:
    image = own_card(tmp_path / "card.img", "fat32", FILES, fragment=True)
    (tmp_path / "out").mkdir()
    tool("mcopy", "-i", image, "-s", "-m", "::", tmp_path / "out")
    found = {str(p.relative_to(tmp_path / "out")): p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert found == FILES
    listing = tool("mdir", "-i", image, "::/DCIM/100MEDIA")
    assert "REC00001 MP4    300001 2026-03-04  15:06" in listing


def test_mkfs_exfat_is_read(tmp_path: Path) -> None:
    image = tmp_path / "card.img"
    with image.open("wb") as out:
        out.truncate(64 * MIB)
    tool("mkfs.exfat", "-L", "CAMÉRA 7", image)
    with opened(image) as (_, volume):
        assert (volume.kind, volume.label, volume.files(), volume.damage()) == ("exfat", "CAMÉRA 7", [], [])


def test_fragments_and_deleted_entries_made_by_mtools(tmp_path: Path) -> None:
    image = mkfs_fat(tmp_path / "card.img", 16, size=4 * MIB)
    source = random.Random(5)
    small = {f"s{number:03d}.bin": source.randbytes(9000) for number in range(150)}
    mtools_fill(image, small, tmp_path / "small")
    tool("mdel", "-i", image, *(f"::{name}" for name in list(small)[::2]))
    big = {"un grand fichier.mp4": source.randbytes(2 * MIB)}
    mtools_fill(image, big, tmp_path / "big")
    kept = dict(list(small.items())[1::2])
    with opened(image) as (_, volume):
        assert digests(volume) == expected({**kept, **big})
        assert volume.damage() == []


def test_timestamps_of_exfat_keep_offset_and_hundredths(tmp_path: Path) -> None:
    moments = {
        "paris": MOMENT,
        "terre-neuve": MOMENT.replace(tzinfo=timezone(-timedelta(hours=3, minutes=30))),
        "naive": MOMENT.replace(tzinfo=None),
        "impair": MOMENT.replace(second=59, microsecond=990_000),
    }
    image = tmp_path / "card.img"
    make_card(image, "exfat", 8 * MIB, [s for name, at in moments.items() for s in sources({name: b"x"}, at)], "C")
    check_clean(image, "exfat")
    with opened(image) as (_, volume):
        found = {entry.path: entry.modified for entry in volume.files()}
    assert found == moments
    assert found["naive"] is not None
    assert found["naive"].tzinfo is None
    assert found["terre-neuve"] is not None
    assert found["terre-neuve"].utcoffset() == -timedelta(hours=3, minutes=30)


@pytest.mark.parametrize("fragment", [False, True])
@pytest.mark.parametrize("kind", ["fat32", "exfat"])
@pytest.mark.parametrize("partitioned", [False, True])
def test_every_offset_gives_the_rest(tmp_path: Path, kind: str, fragment: bool, partitioned: bool) -> None:
    content = random.Random(3).randbytes(50_001)
    files = {"autre.bin": b"y" * 60_000, "film.mp4": content}
    image = own_card(tmp_path / "card.img", kind, files, size=40 * MIB, fragment=fragment, partitioned=partitioned)
    with opened(image) as (_, volume):
        entry = next(entry for entry in volume.files() if entry.path == "film.mp4")
        for offset in [*range(0, 50_001, 509), 511, 512, 513, 4095, 4096, 4097, 50_000, 50_001]:
            with volume.open(entry, offset) as stream:
                assert stream.tell() == offset
                buffer = bytearray(4099)
                count = stream.readinto(buffer)
                assert buffer[:count] == content[offset : offset + 4099]
                assert stream.read() == content[offset + count :]
        for wrong in (-1, 50_002):
            with pytest.raises(ValueError, match="outside a file"):
                volume.open(entry, wrong)


def test_one_request_per_mebibyte_of_a_contiguous_file(tmp_path: Path) -> None:
    content = random.Random(4).randbytes(5 * MIB + 77)
    blocks = MemoryBlocks(own_card(tmp_path / "card.img", "exfat", {"film.mp4": content}, size=16 * MIB).read_bytes())
    volume = open_card(blocks)
    (entry,) = volume.files()
    blocks.requests.clear()
    buffer = bytearray(8 * MIB)
    with volume.open(entry) as stream:
        assert stream.readinto(buffer) == len(content)
        assert stream.readinto(buffer) == 0
    assert bytes(buffer[: len(content)]) == content
    assert [count for _, count in blocks.requests] == [2048] * 5 + [1]


class SparseContent:
    """A huge file of zeros with a few marks, as a binary stream."""

    def __init__(self, size: int, marks: dict[int, bytes]) -> None:
        self.size, self.marks, self.at = size, marks, 0

    def __enter__(self) -> SparseContent:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read(self, count: int) -> bytes:
        count = min(count, self.size - self.at)
        data = bytes(count)
        for position, mark in self.marks.items():
            if self.at <= position < self.at + count:
                data = (data[: position - self.at] + mark + data[position - self.at + len(mark) :])[:count]
        self.at += count
        return data


@pytest.mark.parametrize("fragment", [False, True])
def test_a_file_over_4_gib_on_sparse_exfat(tmp_path: Path, fragment: bool) -> None:
    size = (4 << 30) + 3 * MIB + 5
    marks = {0: b"HEAD", (4 << 30) + 4096: b"BEYOND", size - 4: b"TAIL"}
    big = CardSource("long.mp4", size, MOMENT, lambda: SparseContent(size, marks))  # type: ignore[arg-type, return-value]
    image = tmp_path / "card.img"
    make_card(image, "exfat", 8 << 30, [big, *sources({"petit.bin": b"p" * 400_000})], "C", fragment=fragment)
    assert image.stat().st_blocks * 512 < 8 * MIB
    check_clean(image, "exfat")
    with opened(image) as (_, volume):
        entry = volume.files()[0]
        assert entry.size == size
        assert volume.damage() == []
        for position, mark in marks.items():
            with volume.open(entry, position) as stream:
                assert stream.read(len(mark)) == mark
        with volume.open(entry, size - 10) as stream:
            assert stream.read() == bytes(6) + b"TAIL"
        with volume.open(entry, size) as stream:
            assert stream.read() == b""


def test_exfat_bytes_beyond_the_valid_length_are_zeros(tmp_path: Path) -> None:
    image = own_card(tmp_path / "card.img", "exfat", {"pre.mp4": b"\xaa" * 10_000})
    data = bytearray(image.read_bytes())
    with opened(image) as (_, volume):
        at = volume.files()[0].location.spans[0][0]
    struct.pack_into("<Q", data, at + 32 + 8, 4100)
    struct.pack_into("<H", data, at + 2, set_checksum(bytes(data[at : at + 96])))
    image.write_bytes(data)
    check_clean(image, "exfat")
    with opened(image) as (_, volume):
        (entry,) = volume.files()
        assert volume.damage() == []
        for offset in (0, 4000, 4099, 4100, 4101, 9999):
            with volume.open(entry, offset) as stream:
                assert stream.read() == (b"\xaa" * 4100 + bytes(5900))[offset:]


def test_blocks_of_4096_bytes(tmp_path: Path) -> None:
    image = own_card(tmp_path / "card.img", "exfat", FILES)
    volume = open_card(MemoryBlocks(image.read_bytes(), block_size=4096))
    assert digests(volume) == expected(FILES)


@pytest.mark.parametrize("kind", ["fat32", "exfat"])
def test_an_unreadable_block_of_a_file_leaves_the_rest_readable(tmp_path: Path, kind: str) -> None:
    content = random.Random(6).randbytes(3 * MIB)
    data = own_card(tmp_path / "card.img", kind, {"a.mp4": content, "b.mp4": b"b" * 5000}, size=40 * MIB).read_bytes()
    where = data.index(content[:512])
    blocks = MemoryBlocks(data, bad=[(where + 2 * MIB) // 512])
    volume = open_card(blocks)
    first, second = volume.files()
    with volume.open(first) as stream:
        buffer = bytearray(3 * MIB)
        count = stream.readinto(buffer)
        assert 0 < count <= 2 * MIB
        assert buffer[:count] == content[:count]
        with pytest.raises(MediumError):
            stream.readinto(buffer)
    with volume.open(first, 2 * MIB + 512) as stream:
        assert stream.read() == content[2 * MIB + 512 :]
    with volume.open(second) as stream:
        assert stream.read() == b"b" * 5000


def test_an_unreadable_folder_is_damage_and_its_neighbours_are_listed(tmp_path: Path) -> None:
    data = own_card(tmp_path / "card.img", "exfat", {"un/a.mp4": b"a", "deux/b.mp4": b"b"}).read_bytes()
    volume = open_card(MemoryBlocks(data))
    at = volume.files()[0].location.spans[0][0]
    volume = open_card(MemoryBlocks(data, bad=[at // 512]))
    assert [entry.path for entry in volume.files()] == ["deux/b.mp4"]
    assert "folder 'un'" in volume.damage()[0]


def test_a_pulled_card_is_gone_and_not_damaged(tmp_path: Path) -> None:
    class Pulled(MemoryBlocks):
        def read(self, lba: int, count: int) -> bytes:
            if len(self.requests) >= self.max_requests:
                raise DeviceGoneError("pulled")
            return super().read(lba, count)

    data = own_card(tmp_path / "card.img", "exfat", {"un/a.mp4": b"a", "deux/b.mp4": b"b"}).read_bytes()
    blocks = Pulled(data)
    volume = open_card(blocks)
    blocks.max_requests = len(blocks.requests) + 1
    with pytest.raises(DeviceGoneError):
        volume.files()


@pytest.mark.parametrize("content", [b"", bytes(512), bytes(MIB), b"\xff" * MIB, b"\x55\xaa" * 65536])
def test_no_volume_is_a_card_error(content: bytes) -> None:
    with pytest.raises(CardError):
        open_card(MemoryBlocks(content))


@pytest.mark.parametrize("block_size", [0, 1, 511, 8192, 1 << 31])
def test_an_impossible_block_size_is_a_card_error(block_size: int) -> None:
    blocks = MemoryBlocks(bytes(MIB))
    blocks.block_size = block_size
    with pytest.raises(CardError, match="block size"):
        open_card(blocks)


def test_fat12_is_a_card_error(tmp_path: Path) -> None:
    image = mkfs_fat(tmp_path / "card.img", 12, size=MIB)
    with pytest.raises(CardError, match="neither FAT16 nor FAT32"), opened(image):
        pass


@pytest.mark.parametrize(
    ("kind", "files", "size"),
    [
        ("fat32", {"a": b""}, 8 * MIB),
        ("exfat", {"a": b""}, 4096),
        ("exfat", {"a": bytes(9 * MIB)}, 8 * MIB),
        ("exfat", {"../a": b""}, 8 * MIB),
        ("exfat", {"a:b": b""}, 8 * MIB),
        ("exfat", {"a": b"", "A": b""}, 8 * MIB),
        ("exfat", {"a": b"", "a/b": b""}, 8 * MIB),
        ("exfat", {f"{LONG_255}x": b""}, 8 * MIB),
        ("exfat", {"": b""}, 8 * MIB),
    ],
)
def test_what_cannot_be_made_is_an_input_error(tmp_path: Path, kind: str, files: dict[str, bytes], size: int) -> None:
    with pytest.raises(InputError):
        own_card(tmp_path / "card.img", kind, files, size=size)


@pytest.mark.parametrize("said", [3, 5])
def test_a_source_of_another_size_is_an_input_error(tmp_path: Path, said: int) -> None:
    (source,) = sources({"a": b"1234"})
    with pytest.raises(InputError, match=r"shorter|longer"):
        make_card(tmp_path / "card.img", "exfat", 8 * MIB, [replace(source, size=said)], "C")
