"""Deletes one file from a FAT or exFAT card: the only code of the product that writes to a camera's card.

Not responsible for deciding: the caller holds the proof that the stored copy was verified and committed
(docs/architecture.md, invariant 1). Deleting is not erasing: the file's bytes stay on the card until it is
reused.

Order of writes, so that an interruption after any of them leaves the file whole or gone and every other file
intact: the block with the entry that makes the file exist, the rest of its entry set, flush, then its space,
flush. What an interruption can leave behind is lost space, never a chain that two files share.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from itertools import groupby, islice

from bwc.docking.card import SLOT, Blocks, CardEntry, CardReader, Run, Volume
from bwc.docking.errors import CardError
from bwc.docking.exfat import IN_USE, NAME, STREAM, ExfatVolume
from bwc.docking.fat import FatVolume, seal_of

_BATCH = 4096
_WINDOW = 1 << 15
_FREE_COUNT_UNKNOWN = 0xFFFFFFFF
_KEPT_BITS = 0xF0000000


def delete_file(blocks: Blocks, volume: Volume, entry: CardEntry) -> None:
    """Delete `entry`, listed by `volume` of these very `blocks`, and return once the card has made it durable.

    CardError, with nothing written, when the volume has any damage, when the entry on the card is no longer
    the one that was listed, or when it owns space this product cannot free; CardError too when the card still
    shows the entry afterwards. Other entries of the same listing stay valid.
    """
    if not isinstance(volume, FatVolume | ExfatVolume):
        raise CardError(f"cannot delete on a volume of kind {volume.kind}")
    if entry.is_folder:
        raise CardError(f"{entry.path!r} is a folder")
    if damage := volume.damage():
        raise CardError(f"damaged card, nothing is deleted: {damage[0]}")
    writer = _Writer(blocks)
    slots = _slots_on_card(writer, entry)
    runs = volume.runs(entry) if entry.size else iter(())
    if isinstance(volume, FatVolume):
        _delete_fat(writer, volume, slots, runs)
    else:
        _delete_exfat(writer, volume, slots, runs)
    volume.forget()
    _check_gone(writer, volume, slots, entry)


class _Writer:
    """Changes of a few bytes, each written as the whole blocks that hold them in one request."""

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        self._reader = CardReader(blocks)
        self.block_size = blocks.block_size
        self.flush = blocks.flush

    def read(self, position: int, size: int) -> bytes:
        return self._reader.read(position, size)

    def write(self, position: int, data: bytes) -> None:
        """Write whole blocks; `position` and the length are multiples of the block size."""
        self._blocks.write(position // self.block_size, data)

    def aligned(self, position: int, size: int) -> tuple[int, int]:
        """(position, bytes) of the whole blocks that hold `size` bytes at `position`."""
        start = position - position % self.block_size
        end = -(-(position + size) // self.block_size) * self.block_size
        return start, end - start

    def patch(self, positions: Iterable[tuple[int, bytes]]) -> None:
        """Write small changes that lie in one block."""
        changes = list(positions)
        start, size = self.aligned(changes[0][0], 1)
        block = bytearray(self.read(start, size))
        for position, data in changes:
            block[position - start : position - start + len(data)] = data
        self.write(start, bytes(block))


def _slots_on_card(writer: _Writer, entry: CardEntry) -> list[tuple[int, bytes]]:
    """The entry set as it is now on the card; CardError when it is not what was listed."""
    slots: list[tuple[int, bytes]] = []
    for start, count in entry.location.spans:
        data = writer.read(start, count * SLOT)
        slots += [(start + at, data[at : at + SLOT]) for at in range(0, len(data), SLOT)]
    if not slots or seal_of(slots) != entry.location.seal:
        raise CardError(f"{entry.path!r} is no longer on the card as it was listed")
    return slots


def _delete_fat(writer: _Writer, volume: FatVolume, slots: list[tuple[int, bytes]], runs: Iterator[Run]) -> None:
    """FAT specification 1.03, "FAT 32 Byte Directory Entry Structure", DIR_Name[0] = 0xE5.

    The set is marked from its end, for the short name there is what makes the file exist.
    """
    _mark(writer, [(position, b"\xe5") for position, _ in reversed(slots)])
    writer.flush()
    if volume.info_position is not None:
        _forget_free_count(writer, volume.info_position)
    while batch := list(islice(runs, _BATCH)):
        for table in volume.fat_positions:
            _free_chain(writer, volume, table, batch)
    writer.flush()


def _delete_exfat(writer: _Writer, volume: ExfatVolume, slots: list[tuple[int, bytes]], runs: Iterator[Run]) -> None:
    """exFAT specification 1.00 §6.2.1.4 (InUse) and §7.1.5 (bitmap): the file entry first, then its secondaries."""
    if any(slot[0] not in (STREAM, NAME) for _, slot in slots[1:]):
        raise CardError("the entry set holds vendor entries, whose space cannot be freed")
    _mark(writer, [(position, bytes([slot[0] & ~IN_USE])) for position, slot in slots])
    writer.flush()
    for first, count in runs:
        for position, size, skip, bits in volume.bitmap_windows(first, count):
            _clear_bits(writer, position, size, skip, bits)
    writer.flush()


def _mark(writer: _Writer, changes: list[tuple[int, bytes]]) -> None:
    for _, block in groupby(changes, key=lambda change: change[0] // writer.block_size):
        writer.patch(block)


def _forget_free_count(writer: _Writer, info: int) -> None:
    """Say that the free count is unknown (FAT specification 1.03, "FSInfo"), which is true whatever happens next."""
    sector = writer.read(info, 512)
    if sector[:4] == b"RRaA" and sector[484:488] == b"rrAa":
        writer.patch([(info + 488, struct.pack("<I", _FREE_COUNT_UNKNOWN))])


def _free_chain(writer: _Writer, volume: FatVolume, table: int, batch: list[Run]) -> None:
    """Free the clusters of `batch` in one copy of the table, each window of it written once."""
    width = volume.table.width
    per_window = _WINDOW // width
    pieces: list[tuple[int, int, int]] = []
    for first, count in sorted(batch):
        for number in range(first // per_window, (first + count - 1) // per_window + 1):
            low = max(first, number * per_window)
            high = min(first + count, (number + 1) * per_window)
            pieces.append((number, low, high))
    for _, group in groupby(pieces, key=lambda piece: piece[0]):
        spans = [(low, high) for _, low, high in group]
        begin = table + spans[0][0] * width
        start, size = writer.aligned(begin, table + spans[-1][1] * width - begin)
        data = bytearray(writer.read(start, size))
        for low, high in spans:
            _zero_entries(data, table - start, low, high, width)
        writer.write(start, bytes(data))


def _zero_entries(data: bytearray, base: int, low: int, high: int, width: int) -> None:
    """Free entries `low` to `high` - 1, keeping the four reserved bits of FAT32."""
    begin, end = base + low * width, base + high * width
    if width == 2:
        data[begin:end] = bytes(end - begin)
        return
    kept = bytes(end - begin)
    if any(data[begin + 3 : end : 4]):
        kept = b"".join(struct.pack("<I", value & _KEPT_BITS) for (value,) in struct.iter_unpack("<I", data[begin:end]))
    data[begin:end] = kept


def _clear_bits(writer: _Writer, position: int, size: int, skip: int, bits: int) -> None:
    start, length = writer.aligned(position + skip // 8, (skip + bits + 7) // 8 - skip // 8)
    data = writer.read(start, length)
    offset = (position - start) * 8 + skip
    cleared = int.from_bytes(data, "little") & ~((1 << bits) - 1 << offset)
    writer.write(start, cleared.to_bytes(length, "little"))


def _check_gone(
    writer: _Writer, volume: FatVolume | ExfatVolume, slots: list[tuple[int, bytes]], entry: CardEntry
) -> None:
    for position, _ in slots:
        (first,) = writer.read(position, 1)
        gone = first == 0xE5 if isinstance(volume, FatVolume) else not first & IN_USE
        if not gone:
            raise CardError(f"{entry.path!r} is still on the card after its deletion")
