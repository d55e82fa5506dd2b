"""What the card tests share: images made by the system's tools and by ours, and Blocks that watch or fail."""

from __future__ import annotations

import hashlib
import io
import os
import random
import shutil
import struct
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from bwc.docking.card import Blocks, FileBlocks, Volume, open_card
from bwc.docking.card_maker import CardSource, make_card
from bwc.docking.errors import DeviceGoneError, MediumError

MIB = 1 << 20
MOMENT = datetime(2026, 3, 4, 15, 6, 7, 890_000, tzinfo=timezone(timedelta(hours=1)))
LONG_255 = "enregistrement " + "e" * 236 + ".mp4"
_TOOLS_LINE = "apt-get install dosfstools mtools exfatprogs"


def tool(*command: str | Path, status: int = 0) -> str:
    """Run a system tool and give its output; the test fails when it is missing or ends otherwise."""
    found = shutil.which(str(command[0]), path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if found is None:
        pytest.fail(f"{command[0]} is missing: {_TOOLS_LINE}")
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "MTOOLS_SKIP_CHECK": "1"}
    done = subprocess.run([found, *command[1:]], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == status, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def check_clean(path: Path, kind: str) -> None:
    """Let the system's own checker say that the volume of an image has no fault."""
    output = tool("fsck.exfat", "-n", path) if kind == "exfat" else tool("fsck.fat", "-n", path)
    for complaint in ("ERROR", "orphan", "wrong", "differ", "unused", "corrupt"):
        assert complaint not in output, output


def sample_files() -> dict[str, bytes]:
    """Names and contents that meet every branch of a reader: empty, tiny, odd sizes, many clusters, many entries."""
    source = random.Random(20260304)
    files = {
        "DCIM/100MEDIA/REC00001.MP4": source.randbytes(300_001),
        "DCIM/100MEDIA/rec00002.mp4": source.randbytes(511),
        "DCIM/100MEDIA/Une très longue séquence filmée à l'école n° 3.mp4": source.randbytes(70_000),
        "vide.txt": b"",
        "profond/a/b/c/d/e/日本語のファイル.bin": source.randbytes(4096),
        "NOEXT": source.randbytes(1),
        f"noms/{LONG_255}": source.randbytes(1000),
    }
    for number in range(120):
        files[f"beaucoup/recording number {number:04d} of the day.txt"] = source.randbytes(number)
    return files


def sources(files: dict[str, bytes], modified: datetime = MOMENT) -> list[CardSource]:
    """Card sources of contents held in memory."""
    return [CardSource(path, len(data), modified, lambda data=data: io.BytesIO(data)) for path, data in files.items()]


def own_card(path: Path, kind: str, files: dict[str, bytes], *, size: int = 0, **options: bool) -> Path:
    """An image by our own maker, by default about the smallest of its kind."""
    assert kind in ("fat32", "exfat")
    smallest = 36 * MIB if kind == "fat32" else 8 * MIB
    make_card(path, "fat32" if kind == "fat32" else "exfat", size or smallest, sources(files), "CAMERA 7", **options)
    return path


def mkfs_fat(path: Path, bits: int, *, size: int, cluster_sectors: int = 1) -> Path:
    """An empty FAT image by mkfs.fat."""
    with path.open("wb") as image:
        image.truncate(size)
    tool("mkfs.fat", "-F", str(bits), "-s", str(cluster_sectors), "-n", "CAMERA 7", path)
    return path


def mtools_fill(image: Path, files: dict[str, bytes], scratch: Path) -> None:
    """Put files on a FAT image with mtools, modification times kept."""
    for name, data in files.items():
        local = scratch / name
        local.parent.mkdir(parents=True, exist_ok=True)
        local.write_bytes(data)
        os.utime(local, (MOMENT.timestamp(), MOMENT.timestamp()))
    tops = sorted({name.split("/")[0] for name in files})
    tool("mcopy", "-i", image, "-s", "-m", *(scratch / top for top in tops), "::")


def with_mbr(volume: Path, target: Path, kind: int) -> Path:
    """A card whose second partition entry (the first is empty) is the given volume, 1 MiB in."""
    size = volume.stat().st_size
    entry = struct.pack("<B3sB3sII", 0, b"\0\0\0", kind, b"\0\0\0", MIB // 512, size // 512)
    with target.open("wb") as image:
        image.write(bytes(446) + bytes(16) + entry + bytes(32) + b"\x55\xaa")
        image.seek(MIB)
        image.write(volume.read_bytes())
    return target


@contextmanager
def opened(path: Path, *, writable: bool = False) -> Iterator[tuple[FileBlocks, Volume]]:
    """An image file opened as a card."""
    blocks = FileBlocks(path, writable=writable)
    try:
        yield blocks, open_card(blocks)
    finally:
        blocks.close()


def digests(volume: Volume, buffer_size: int = 100_003) -> dict[str, str]:
    """Path to SHA-256 of every file, read with an awkward buffer."""
    found: dict[str, str] = {}
    for entry in volume.files():
        digest, buffer = hashlib.sha256(), bytearray(buffer_size)
        with volume.open(entry) as stream:
            while count := stream.readinto(buffer):
                digest.update(memoryview(buffer)[:count])
        found[entry.path] = digest.hexdigest()
    return found


def expected(files: dict[str, bytes]) -> dict[str, str]:
    """What `digests` must find."""
    return {path: hashlib.sha256(data).hexdigest() for path, data in files.items()}


class MemoryBlocks:
    """A card in memory that counts what is asked of it, can be cut after some writes and have unreadable blocks."""

    def __init__(
        self, data: bytes, *, writes: int | None = None, bad: Iterable[int] = (), block_size: int = 512
    ) -> None:
        self.block_size = block_size
        self.data = bytearray(data)
        self.block_count = len(data) // block_size
        self.writes_left = writes
        self.bad = set(bad)
        self.requests: list[tuple[int, int]] = []
        self.log: list[str] = []
        self.max_requests = 1 << 62

    def read(self, lba: int, count: int) -> bytes:
        self.requests.append((lba, count))
        assert count * self.block_size <= MIB, "request larger than 1 MiB"
        assert 0 <= lba <= lba + count <= self.block_count, "request outside the card"
        assert len(self.requests) <= self.max_requests, "unbounded work"
        if self.bad and not self.bad.isdisjoint(range(lba, lba + count)):
            raise MediumError(f"block {lba}")
        return bytes(self.data[lba * self.block_size : (lba + count) * self.block_size])

    def write(self, lba: int, data: bytes) -> None:
        if self.writes_left is not None:
            if self.writes_left == 0:
                raise DeviceGoneError("pulled")
            self.writes_left -= 1
        assert len(data) % self.block_size == 0
        assert lba * self.block_size + len(data) <= len(self.data)
        self.log.append("write")
        self.data[lba * self.block_size : lba * self.block_size + len(data)] = data

    def flush(self) -> None:
        self.log.append("flush")


def memory_card(blocks: Blocks) -> Volume:
    """Open, for type checkers' sake, any Blocks."""
    return open_card(blocks)
