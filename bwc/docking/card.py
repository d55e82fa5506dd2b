"""A camera's memory card as blocks: finds its FAT16, FAT32 or exFAT volume and reads files out of it.

Responsible for what the readers share (types, bounded block access, cluster chains, display names) and the
choice of a volume. Not for the on-disk formats (`fat`, `exfat`) nor for any write (`card_delete`). Everything
on a card is hostile input: whatever it holds, callers meet CardError, the device's own DeviceError, or a
result within the bounds below.
"""

from __future__ import annotations

import io
import os
import struct
import sys
import unicodedata
import zlib
from array import array
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from bwc.core.errors import DeviceError
from bwc.docking.errors import CardError, MediumError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MAX_REQUEST = 1 << 20
"""Largest read asked of a card in one request, in bytes (1 MiB; measured best in usb.md §5)."""
MAX_DEPTH = 16
"""Folders below the root that are walked."""
MAX_ENTRIES = 200_000
"""Files and folders listed on one card."""
MAX_CARD_SLOTS = 1 << 22
"""32-byte directory slots read on one card: 4 Mi, 128 MiB."""
MAX_DAMAGE_LINES = 1_000
"""Lines of damage kept; the walk goes on silently beyond."""

SLOT = 32
READ_ONLY, HIDDEN, SYSTEM, VOLUME_LABEL, DIRECTORY, ARCHIVE = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20

Run = tuple[int, int]
"""(first cluster, number of clusters): clusters that follow each other on the card."""

_WINDOW = 1 << 16
_WINDOWS = 16
_MAX_ENDS = 1 << 18
_MAX_STRIDE = 1 << 12
_BLOCK_SIZES = (512, 1024, 2048, 4096)
_PARTITION_EXTENDED = (0x05, 0x0F, 0x85)
_PARTITION_GPT = 0xEE
_SWAPS = {"/": "\N{DIVISION SLASH}", "\\": "\N{REVERSE SOLIDUS OPERATOR}"}
_UNSAFE = ("Cc", "Cf", "Cs", "Zl", "Zp")


class Blocks(Protocol):
    """A card as numbered blocks. Any method may raise DeviceGoneError or MediumError; they pass through here."""

    @property
    def block_size(self) -> int:
        """Bytes in a block."""

    @property
    def block_count(self) -> int:
        """Blocks on the card."""

    def read(self, lba: int, count: int) -> bytes:
        """Exactly `count` blocks from block `lba`."""

    def write(self, lba: int, data: bytes) -> None:
        """Write whole blocks from block `lba`."""

    def flush(self) -> None:
        """Return once everything written is durable on the card."""


class FileBlocks:
    """An image file as a card; read-only unless `writable`. A partial last block is not part of the card."""

    def __init__(self, path: Path, *, block_size: int = 512, writable: bool = False) -> None:
        self.block_size = block_size
        self._file = path.open("r+b" if writable else "rb", buffering=0)
        self.block_count = self._file.seek(0, os.SEEK_END) // block_size

    def read(self, lba: int, count: int) -> bytes:
        """Exactly `count` blocks from block `lba`; MediumError outside the image."""
        data = os.pread(self._file.fileno(), count * self.block_size, self._offset(lba, count))
        if len(data) != count * self.block_size:
            raise MediumError(f"image ends inside blocks {lba}..{lba + count - 1}")
        return data

    def write(self, lba: int, data: bytes) -> None:
        """Write whole blocks from block `lba`; MediumError outside the image."""
        os.pwrite(self._file.fileno(), data, self._offset(lba, len(data) // self.block_size))

    def flush(self) -> None:
        """Return once everything written is on the disk that holds the image."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Release the image."""
        self._file.close()

    def _offset(self, lba: int, count: int) -> int:
        if lba < 0 or count < 0 or lba + count > self.block_count:
            raise MediumError(f"blocks {lba}..{lba + count - 1} are outside the image")
        return lba * self.block_size


class CardReader:
    """Bytes of a card at any position, in requests of at most MAX_REQUEST bytes.

    Raises CardError for a position outside the card or a block size no card has.
    """

    def __init__(self, blocks: Blocks) -> None:
        if blocks.block_size not in _BLOCK_SIZES:
            raise CardError(f"block size of {blocks.block_size} bytes")
        self._blocks = blocks
        self._block_size = blocks.block_size
        self.block_size = blocks.block_size
        self.size = blocks.block_size * blocks.block_count

    def read_some(self, position: int, size: int) -> bytes:
        """Between 1 and `size` bytes (size >= 1) from byte `position`, by exactly one request."""
        if position < 0 or size < 1 or position + size > self.size:
            raise CardError(f"{size} bytes at byte {position} are outside the card of {self.size} bytes")
        first = position // self._block_size
        wanted = -(-(position + size) // self._block_size) - first
        count = min(wanted, MAX_REQUEST // self._block_size)
        data = self._blocks.read(first, count)
        if len(data) != count * self._block_size:
            raise CardError(f"card answered {len(data)} bytes for {count} blocks at block {first}")
        skip = position - first * self._block_size
        return data if not skip and len(data) <= size else data[skip : skip + size]

    def read(self, position: int, size: int) -> bytes:
        """Exactly `size` bytes (0 or more) from byte `position`; for metadata, bounded by the caller."""
        parts: list[bytes] = []
        while size:
            parts.append(self.read_some(position, size))
            position += len(parts[-1])
            size -= len(parts[-1])
        return b"".join(parts)


@dataclass(frozen=True, slots=True)
class Location:
    """Where an entry set lies on the card; private to the readers and to `card_delete`.

    `spans` are (absolute byte position, number of 32-byte slots) in set order; `seal` identifies the set's
    bytes as they were listed; `contiguous` is exFAT's NoFatChain; `valid_size` is how many bytes were really
    written.
    """

    spans: tuple[tuple[int, int], ...]
    seal: bytes
    contiguous: bool
    valid_size: int


@dataclass(frozen=True, slots=True)
class CardEntry:
    """One file of a card.

    `path` is for display and resumption only, '/'-separated, free of control characters and of lone
    surrogates. `size` in bytes is the card's claim, up to 2**64 - 1 on a lying exFAT card (then `damage()`
    says so). `modified` is aware when the card states a UTC offset (exFAT), else naive camera time, None when
    absent or not a date.
    """

    path: str
    size: int
    modified: datetime | None
    first_cluster: int
    attributes: int
    location: Location = field(repr=False)

    @property
    def is_folder(self) -> bool:
        """Whether the entry is a directory; `Volume.files` lists none of them."""
        return bool(self.attributes & DIRECTORY)


class Volume(Protocol):
    """A FAT or exFAT volume, open for reading. DeviceGoneError passes through every method."""

    @property
    def kind(self) -> str:
        """One of "fat16", "fat32", "exfat"."""

    @property
    def label(self) -> str:
        """The volume's label, cleaned like a name; empty when it has none."""

    def files(self) -> list[CardEntry]:
        """Walk the folders anew and return every file, in card order, at most MAX_ENTRIES."""

    def damage(self) -> list[str]:
        """English log lines for whatever contradicts itself: folders of the last walk, and every file's chain."""

    def open(self, entry: CardEntry, offset: int = 0) -> io.RawIOBase:
        """Bytes of a file from `offset`; CardError at the point where its chain breaks, MediumError where the
        card cannot be read, ValueError when `offset` is not within 0..size.
        """


@dataclass(frozen=True, slots=True)
class Geometry:
    """Where the clusters of a volume are: byte position of cluster 2, bytes per cluster, number of clusters."""

    heap: int
    cluster_size: int
    cluster_count: int


class AllocationTable:
    """The chains of one file allocation table, read through a small least-recently-used cache.

    `width` is 2 or 4 bytes per entry, `mask` the bits of an entry that count (FAT specification 1.03, "FAT
    Data Structure"; exFAT specification 1.00 §4.1).
    """

    def __init__(self, reader: CardReader, position: int, *, width: int, mask: int, clusters: int) -> None:
        self._reader = reader
        self.position = position
        self.width = width
        self._mask = mask
        self._clusters = clusters
        self._end = mask & ~7
        self._windows: OrderedDict[int, array[int]] = OrderedDict()

    def forget(self) -> None:
        """Drop what is cached, after a write or before a new walk."""
        self._windows.clear()

    def runs(self, first: int) -> Iterator[Run]:
        """The chain from cluster `first`; CardError, after what precedes it, where the chain breaks or cycles."""
        start, total = first, 0
        ends: set[int] = set()  # a chain that comes back on itself ends some run a second time
        while True:
            if not 2 <= start <= self._clusters + 1:
                raise CardError(f"cluster chain goes to {start:#x}, outside 2..{self._clusters + 1}")
            count, after = self._run(start)
            total += count
            if start + count in ends or total > self._clusters:
                raise CardError(f"cluster chain from {first} is a cycle")
            if len(ends) < _MAX_ENDS:
                ends.add(start + count)
            yield start, count
            if after >= self._end:
                return
            start = after

    def _run(self, start: int) -> tuple[int, int]:
        last = self._clusters + 1
        cluster, stride = start, 1
        while (after := self._next(cluster)) == cluster + 1 and cluster < last:
            cluster += 1
            if cluster + stride <= last and self._links(cluster, stride):
                cluster += stride
                stride = min(stride * 2, _MAX_STRIDE)
            else:
                stride = 1
        return cluster - start + 1, after

    def _next(self, cluster: int) -> int:
        window, base = self._window(cluster)
        return window[cluster - base] & self._mask

    def _links(self, cluster: int, count: int) -> bool:
        """Whether `count` clusters follow each other from `cluster`, told in one comparison of the cached table."""
        window, base = self._window(cluster)
        index = cluster - base
        return window[index : index + count] == array(window.typecode, range(cluster + 1, cluster + count + 1))

    def _window(self, cluster: int) -> tuple[array[int], int]:
        per_window = _WINDOW // self.width
        number = cluster // per_window
        window = self._windows.get(number)
        if window is None:
            window = self._load(number * per_window, per_window)
            self._windows[number] = window
            if len(self._windows) > _WINDOWS:
                self._windows.popitem(last=False)
        else:
            self._windows.move_to_end(number)
        return window, number * per_window

    def _load(self, base: int, count: int) -> array[int]:
        size = min(count, self._clusters + 2 - base) * self.width
        window = array("H" if self.width == 2 else "I")
        window.frombytes(self._reader.read(self.position + base * self.width, size))
        if sys.byteorder == "big":
            window.byteswap()
        return window


class CardFile(io.RawIOBase):
    """A file's bytes, read straight from the card's contiguous extents.

    `readinto` fills the whole buffer except at the end or before an error: what was read first is returned,
    the error is raised by the next call. Bytes from `valid` to `size` are zeros (exFAT specification 1.00
    §7.6.5), but a file that claims more than `capacity`, the volume's bytes, breaks at `valid`.
    """

    def __init__(
        self,
        reader: CardReader,
        extents: Iterator[tuple[int, int]],
        *,
        size: int,
        valid: int,
        capacity: int,
        offset: int,
    ) -> None:
        super().__init__()
        if not 0 <= offset <= size:
            raise ValueError(f"offset {offset} is outside a file of {size} bytes")
        self._reader = reader
        self._extents = extents
        self._size = size
        self._valid = min(valid, size)
        self._capacity = capacity
        self._position = offset
        self._at = 0
        self._left = 0
        self._failure: DeviceError | None = None
        self._skip(min(offset, self._valid))

    def readable(self) -> bool:
        """Always true while open."""
        return True

    def tell(self) -> int:
        """Position of the next byte in the file."""
        return self._position

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill `buffer`; 0 at the end of the file."""
        view = memoryview(buffer).cast("B")
        filled = 0
        try:
            while filled < len(view) and self._position < self._size:
                filled += self._fill(view[filled:])
        except DeviceError:
            if not filled:
                raise
        return filled

    def _fill(self, view: memoryview) -> int:
        if self._position >= self._valid:
            if self._size > self._capacity:
                raise CardError(f"file of {self._size} bytes on a volume of {self._capacity}")
            count = min(len(view), self._size - self._position, MAX_REQUEST)
            view[:count] = bytes(count)
        else:
            if not self._left:
                self._advance()
            data = self._reader.read_some(self._at, min(len(view), self._left, self._valid - self._position))
            count = len(data)
            view[:count] = data
            self._at += count
            self._left -= count
        self._position += count
        return count

    def _advance(self) -> None:
        if self._failure is not None:
            raise self._failure
        try:
            self._at, self._left = next(self._extents)
        except StopIteration:
            self._failure = CardError(f"cluster chain ends at byte {self._position} of {self._size}")
            raise self._failure from None
        except DeviceError as error:
            self._failure = error
            raise

    def _skip(self, distance: int) -> None:
        while distance:
            if not self._left:
                self._advance()
            step = min(distance, self._left)
            self._at += step
            self._left -= step
            distance -= step


def display_name(raw: str) -> str:
    """A name from a card made safe to show and to log; distinct names stay distinct but for a CRC-32 collision.

    Control, format (bidirectional overrides) and surrogate characters become U+FFFD, slashes and dot-only
    names get look-alikes; whatever was changed carries '~' and the CRC-32 of the true name, before its
    extension.
    """
    clean = "".join(_safe(character) for character in raw)
    if not clean.strip(". "):
        clean = clean.replace(".", "\N{ONE DOT LEADER}").replace(" ", "\N{SYMBOL FOR SPACE}")
    if clean == raw and raw:
        return raw
    tag = f"~{zlib.crc32(raw.encode('utf-8', 'surrogatepass')):08x}"
    stem, _, suffix = clean.rpartition(".")
    if stem and suffix.isalnum() and len(suffix) <= 5:
        return f"{stem}{tag}.{suffix}"
    return (clean or "\N{REPLACEMENT CHARACTER}") + tag


def _safe(character: str) -> str:
    if unicodedata.category(character) in _UNSAFE:
        return "\N{REPLACEMENT CHARACTER}"
    return _SWAPS.get(character, character)


def open_card(blocks: Blocks) -> Volume:
    """The first FAT16, FAT32 or exFAT volume of a card: on the bare card, else in its MBR or GPT partitions.

    What a partition holds is told by its content, never by its type byte. CardError when none is usable.
    """
    reader = CardReader(blocks)
    reasons: list[str] = []
    for base, size in _places(reader):
        try:
            return _open_volume(reader, base, size)
        except CardError as error:
            reasons.append(f"at byte {base}: {error}")
    raise CardError("no usable FAT or exFAT volume; " + "; ".join(reasons[:8]))


def _open_volume(reader: CardReader, base: int, size: int) -> Volume:
    from bwc.docking.exfat import ExfatVolume  # both import this module
    from bwc.docking.fat import FatVolume

    if reader.read(base, 512)[3:11] == b"EXFAT   ":
        return ExfatVolume(reader, base, size)
    return FatVolume(reader, base, size)


def _places(reader: CardReader) -> Iterator[tuple[int, int]]:
    """(byte position, bytes) of each place where a volume may begin, at most 1 + 4 + 4 x 128."""
    yield 0, reader.size
    sector = reader.read(0, 512)
    if sector[510:] != b"\x55\xaa":
        return
    for at in range(446, 510, 16):
        kind, (start, count) = sector[at + 4], struct.unpack_from("<II", sector, at + 8)
        if kind == _PARTITION_GPT:
            yield from _gpt_places(reader)
        elif kind not in _PARTITION_EXTENDED:
            yield from _place(reader, start, count)


def _gpt_places(reader: CardReader) -> Iterator[tuple[int, int]]:
    """Partitions of a GUID partition table (UEFI specification 2.10 §5.3), its first 128 entries."""
    header = reader.read(reader.block_size, 512)
    table, count, width = struct.unpack_from("<QII", header, 72)
    if header[:8] != b"EFI PART" or width not in (128, 256, 512):
        return
    for index in range(min(count, 128)):
        entry = reader.read(table * reader.block_size + index * width, 48)
        first, last = struct.unpack_from("<QQ", entry, 32)
        if any(entry[:16]):
            yield from _place(reader, first, last - first + 1)


def _place(reader: CardReader, start: int, count: int) -> Iterator[tuple[int, int]]:
    base = start * reader.block_size
    if start and count > 0 and base + 512 <= reader.size:
        yield base, min(count * reader.block_size, reader.size - base)
