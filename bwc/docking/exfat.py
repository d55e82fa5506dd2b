"""Read-only exFAT: boot sector, allocation bitmap, entry sets, contiguous and chained files.

Source: Microsoft exFAT file system specification 1.00 (2019). Not responsible for writing (`card_delete`,
`card_maker`), though what a writer must compute (checksums, name hash) stands here too. The walk, the audit
and the bounds are those of `fat.ClusterVolume`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

from bwc.docking.card import (
    DIRECTORY,
    MAX_CARD_SLOTS,
    SLOT,
    AllocationTable,
    CardEntry,
    CardReader,
    Geometry,
    Location,
    Run,
    display_name,
)
from bwc.docking.errors import CardError
from bwc.docking.fat import ClusterVolume, seal_of, spans_of

IN_USE = 0x80
BITMAP, UPCASE, LABEL, FILE = 0x81, 0x82, 0x83, 0x85
STREAM, NAME, VENDOR_ALLOCATION = 0xC0, 0xC1, 0xE1
NO_FAT_CHAIN = 0x02
MAX_SET = 19

_MAX_BITMAP_RUNS = 4096
_MAX_BITMAP_WINDOW = 1 << 15
_Parts = list[tuple[int, bytes]]


def boot_checksum(sectors: bytes) -> int:
    """Checksum of the first 11 boot sectors (exFAT specification 1.00 §3.4)."""
    total = 0
    for index, byte in enumerate(sectors):
        if index not in (106, 107, 112):
            total = ((total << 31 | total >> 1) + byte) & 0xFFFFFFFF
    return total


def set_checksum(entry_set: bytes) -> int:
    """SetChecksum of a file's entry set (exFAT specification 1.00 §6.3.3)."""
    total = 0
    for index, byte in enumerate(entry_set):
        if index not in (2, 3):
            total = ((total << 15 | total >> 1) + byte) & 0xFFFF
    return total


def _upcase(unit: int) -> int:
    """Upper case of the Latin-1 letters; every other code unit is its own."""
    return unit - 32 if 0x61 <= unit <= 0x7A or (0xE0 <= unit <= 0xFE and unit != 0xF7) else unit


def upcase_table() -> bytes:
    """A compressed up-case table (exFAT specification 1.00 §7.2.5): 256 mappings, then the identity."""
    return struct.pack("<258H", *(_upcase(unit) for unit in range(256)), 0xFFFF, 0xFF00)


def table_checksum(table: bytes) -> int:
    """TableChecksum of an up-case table (exFAT specification 1.00 §7.2.2)."""
    total = 0
    for byte in table:
        total = ((total << 31 | total >> 1) + byte) & 0xFFFFFFFF
    return total


def name_hash(name: str) -> int:
    """Hash of a name in upper case (exFAT specification 1.00 §7.6.4)."""
    raw = name.encode("utf-16-le")
    total = 0
    for (unit,) in struct.iter_unpack("<H", raw):
        for byte in struct.pack("<H", _upcase(unit)):
            total = ((total << 15 | total >> 1) + byte) & 0xFFFF
    return total


def exfat_datetime(stamp: int, hundredths: int, offset: int) -> datetime | None:
    """A timestamp to 10 ms, aware when its UTC offset is valid (exFAT specification 1.00 §7.4.8 to §7.4.10).

    None when it is no date or when the offset moves it outside the calendar.
    """
    quarters = (offset & 0x7F) - (0x80 if offset & 0x40 else 0)
    zone = timezone(timedelta(minutes=15 * quarters)) if offset & 0x80 else None
    if hundredths > 199:
        return None
    try:
        moment = datetime(
            1980 + (stamp >> 25),
            stamp >> 21 & 15,
            stamp >> 16 & 31,
            stamp >> 11 & 31,
            stamp >> 5 & 63,
            (stamp & 31) * 2 + hundredths // 100,
            hundredths % 100 * 10_000,
            tzinfo=zone,
        )
        if zone is not None:
            moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return moment


class ExfatVolume(ClusterVolume):
    """An exFAT volume at byte `base` of a card, in `size` bytes; CardError when its boot sector cannot be used."""

    kind = "exfat"

    def __init__(self, reader: CardReader, base: int, size: int) -> None:
        boot = reader.read(base, 512)
        sector, cluster_size = _shifts(boot)
        _, length, fat, fat_length, heap, clusters, root = struct.unpack_from("<QQIIIII", boot, 64)
        flags, tables = struct.unpack_from("<H", boot, 106)[0], boot[110]
        if not 1 <= clusters <= 0xFFFFFFF5 or tables not in (1, 2):
            raise CardError(f"{clusters} clusters, {tables} allocation tables")
        if fat_length * sector < (clusters + 2) * 4 or fat < 24 or heap < fat + fat_length * tables:
            raise CardError(f"allocation table of {fat_length} sectors for {clusters} clusters")
        active = flags & 1 if tables == 2 else 0
        table = AllocationTable(
            reader,
            base + (fat + active * fat_length) * sector,
            width=4,
            mask=0xFFFFFFFF,
            clusters=clusters,
        )
        super().__init__(reader, Geometry(base + heap * sector, cluster_size, clusters), table)
        self._root_cluster = root
        self._active = active
        self._upcase: CardEntry | None = None
        self._bitmap: list[Run] = []
        self._bitmap_cache: tuple[int, bytes] = (-1, b"")
        end = heap * sector + clusters * cluster_size
        if max(end, length * sector) > size:
            self._mount_damage.append(f"volume of {max(end, length * sector)} bytes in {size} bytes of card")
        self._check_boot(reader.read(base, 12 * sector), sector)
        self._restart()
        self._scan_root()
        self._mount_damage = self._damage
        self._restart()

    def forget(self) -> None:
        """Drop cached sectors of the table and the bitmap, after a deletion."""
        super().forget()
        self._bitmap_cache = (-1, b"")

    def bitmap_windows(self, first: int, count: int) -> Iterator[tuple[int, int, int, int]]:
        """Where the allocation bits of clusters are (exFAT specification 1.00 §7.1.5).

        Yields (byte position, bytes, first bit, number of bits) pieces, each within one window of at most 32
        KiB.
        """
        window = min(_MAX_BITMAP_WINDOW, self.geometry.cluster_size)
        bit, end = first - 2, first - 2 + count
        while bit < end:
            number, skip = divmod(bit, window * 8)
            bits = min(end - bit, window * 8 - skip)
            yield self._bitmap_position(number * window), window, skip, bits
            bit += bits

    def _check_boot(self, region: bytes, sector: int) -> None:
        stated = {value for (value,) in struct.iter_unpack("<I", region[11 * sector :])}
        if stated != {boot_checksum(region[: 11 * sector])}:
            self._mount_damage.append("boot checksum does not match")

    def _scan_root(self) -> None:
        """Find the bitmap, the up-case table and the label (exFAT specification 1.00 §7.1 to §7.3)."""
        bitmap: CardEntry | None = None
        try:
            for position, slot in self._slots(None):
                if slot[0] == 0:
                    break
                if slot[0] == BITMAP and slot[1] & 1 == self._active:
                    bitmap = bitmap or _system_entry(position, slot)
                elif slot[0] == UPCASE:
                    self._upcase = self._upcase or _system_entry(position, slot)
                elif slot[0] == LABEL and 1 <= slot[1] <= 11:
                    units = slot[2 : 2 + 2 * slot[1]]
                    self.label = display_name(units.decode("utf-16-le", "surrogatepass"))
        except CardError as error:
            self._note(f"root folder: {error}")
        if bitmap is None or self._upcase is None:
            self._note("no allocation bitmap or no up-case table in the root folder")
        if bitmap is not None:
            self._find_bitmap(bitmap)

    def _find_bitmap(self, entry: CardEntry) -> None:
        try:
            self._bitmap = list(self._bitmap_runs(entry))
        except CardError as error:
            self._note(f"allocation bitmap: {error}")

    def _bitmap_runs(self, entry: CardEntry) -> Iterator[Run]:
        if entry.size < -(-self.geometry.cluster_count // 8):
            raise CardError(f"{entry.size} bytes for {self.geometry.cluster_count} clusters")
        for number, run in enumerate(self._file_runs(entry)):
            if number == _MAX_BITMAP_RUNS:
                raise CardError(f"more than {_MAX_BITMAP_RUNS} fragments")
            yield run

    def _bitmap_position(self, index: int) -> int:
        for first, count in self._bitmap:
            if index < count * self.geometry.cluster_size:
                return self.position(first) + index
            index -= count * self.geometry.cluster_size
        raise CardError("no allocation bitmap for these clusters")

    def _system_runs(self) -> Iterator[Run]:
        yield from self.table.runs(self._root_cluster)
        yield from self._bitmap
        if self._upcase is not None:
            yield from self._file_runs(self._upcase)

    def _folder_runs(self, entry: CardEntry) -> Iterator[Run]:
        return self._file_runs(entry)

    def _check_run(self, first: int, count: int) -> None:
        for position, size, skip, bits in self.bitmap_windows(first, count):
            if self._bitmap_cache[0] != position:
                self._bitmap_cache = (position, self.reader.read(position, size))
            held = self._bitmap_cache[1][skip // 8 : (skip + bits + 7) // 8]
            mask = (1 << bits) - 1 << skip % 8
            if int.from_bytes(held, "little") & mask != mask:
                raise CardError(f"clusters from {first} are in use but free in the allocation bitmap")

    def _slots(self, folder: CardEntry | None) -> Iterator[tuple[int, bytes]]:
        if folder is None:
            return self._folder_slots(self.table.runs(self._root_cluster), MAX_CARD_SLOTS)
        if not folder.size:
            return iter(())
        return self._folder_slots(self.runs(folder), -(-folder.size // SLOT))

    def _children(self, folder: CardEntry | None) -> Iterator[CardEntry]:
        where = f"folder {folder.path if folder else '/'!r}"
        parts: _Parts = []
        skip = 0
        for position, slot in self._slots(folder):
            if parts and slot[0] & 0xC0 == 0xC0:
                parts.append((position, slot))
                if len(parts) == parts[0][1][1] + 1:
                    yield from self._decode(where, parts)
                    parts = []
                continue
            if parts:
                self._note(f"{where}: entry set cut short at byte {position}")
                parts = []
            if slot[0] == 0:
                return
            parts, skip = self._begin(where, position, slot, skip)
        if parts:
            self._note(f"{where}: entry set cut short by the end of the folder")

    def _begin(self, where: str, position: int, slot: bytes, skip: int) -> tuple[_Parts, int]:
        """A slot that continues no file: the set it begins, and how many secondaries of another primary follow."""
        kind = slot[0]
        if kind == FILE and 3 <= slot[1] + 1 <= MAX_SET:
            return [(position, slot)], 0
        if not kind & IN_USE or kind in (BITMAP, UPCASE, LABEL):
            return [], 0
        if kind & 0x40 and skip:
            return [], skip - 1
        if kind & 0x60 == 0x20:
            return [], slot[1]  # benign primary: ignored with its secondaries (§8.2)
        self._note(f"{where}: stray or unknown entry type {kind:#x} at byte {position}")
        return [], 0

    def _decode(self, where: str, parts: _Parts) -> Iterator[CardEntry]:
        """The entry of a whole set; listed even when its checksum is wrong, which `damage()` then says."""
        slots = [slot for _, slot in parts]
        file, stream = slots[0], slots[1]
        names = [slot for slot in slots[2:] if slot[0] == NAME]
        wanted = -(-stream[3] // 15)
        if stream[0] != STREAM or not wanted or len(names) < wanted:
            self._note(f"{where}: entry set without stream or name at byte {parts[0][0]}")
            return
        units = b"".join(slot[2:] for slot in names)[: 2 * stream[3]]
        name = units.decode("utf-16-le", "surrogatepass")
        if set_checksum(b"".join(slots)) != struct.unpack_from("<H", file, 2)[0]:
            self._note(f"{where}: entry set checksum of {display_name(name)!r} does not match")
        yield self._entry(where, name, parts)

    def _entry(self, where: str, name: str, parts: _Parts) -> CardEntry:
        """Fields of a file and its stream (exFAT specification 1.00 §7.4 and §7.6)."""
        file, stream = parts[0][1], parts[1][1]
        (attributes,) = struct.unpack_from("<H", file, 4)
        (stamp,) = struct.unpack_from("<I", file, 12)
        (valid,), (first, size) = struct.unpack_from("<Q", stream, 8), struct.unpack_from("<IQ", stream, 20)
        if valid > size:
            self._note(f"{where}: {display_name(name)!r} has {valid} valid bytes of {size}")
        contiguous = bool(stream[1] & NO_FAT_CHAIN)
        return CardEntry(
            path=name,
            size=size,
            modified=exfat_datetime(stamp, file[21], file[23]),
            first_cluster=first,
            attributes=attributes,
            location=Location(spans_of(parts), seal_of(parts), contiguous, min(valid, size)),
        )


def _shifts(boot: bytes) -> tuple[int, int]:
    """(bytes per sector, bytes per cluster) (exFAT specification 1.00 §3.1.14 and §3.1.15)."""
    sector, cluster = boot[108], boot[109]
    if boot[510:] != b"\x55\xaa" or any(boot[11:64]):
        raise CardError("no exFAT boot sector")
    if not 9 <= sector <= 12 or cluster > 25 - sector:
        raise CardError(f"sectors of 2^{sector} bytes, clusters of 2^{cluster} sectors")
    return 1 << sector, 1 << sector + cluster


def _system_entry(position: int, slot: bytes) -> CardEntry:
    first, size = struct.unpack_from("<IQ", slot, 20)
    location = Location(((position, 1),), b"", False, size)
    return CardEntry("", size, None, first, DIRECTORY, location)
