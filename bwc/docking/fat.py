"""Read-only FAT16 and FAT32, and the folder walk and chain audit that exFAT shares with them.

Source: Microsoft FAT specification 1.03 (FAT: General Overview of On-Disk Format, 2000). Not responsible for
writing (`card_delete`, `card_maker`). Memory is bounded: at most 1 MiB of the allocation table is held at a
time, one byte per cluster while chains are audited (64 MiB at most), and MAX_ENTRIES entries.
"""

from __future__ import annotations

import hashlib
import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from bwc.core.errors import DeviceError
from bwc.docking.card import (
    DIRECTORY,
    MAX_CARD_SLOTS,
    MAX_DAMAGE_LINES,
    MAX_DEPTH,
    MAX_ENTRIES,
    SLOT,
    VOLUME_LABEL,
    AllocationTable,
    CardEntry,
    CardFile,
    CardReader,
    Geometry,
    Location,
    Run,
    display_name,
)
from bwc.docking.errors import CardError, DeviceGoneError

MAX_AUDIT_CLUSTERS = 1 << 26
"""Clusters a volume may have for its chains to be audited: 64 Mi, 2 TiB of 32 KiB clusters."""

_READ = 1 << 15
_MAX_FOLDER_SLOTS = 1 << 16
_DELETED = 0xE5
_LONG = 0x0F
_DOT, _DOTDOT = b".          ", b"..         "


class ClusterVolume:
    """The folder walk, the chain audit and the reading that FAT and exFAT share.

    A format gives `_children`, the entries of one folder with their raw names, and says which clusters its
    own structures use.
    """

    kind = ""

    def __init__(self, reader: CardReader, geometry: Geometry, table: AllocationTable) -> None:
        self.reader = reader
        self.geometry = geometry
        self.table = table
        self.label = ""
        self._mount_damage: list[str] = []
        self._damage: list[str] = []
        self._files: list[CardEntry] | None = None
        self._audited = False
        self._folders: list[CardEntry] = []
        self._folder_clusters: set[int] = set()
        self._slots_read = 0
        self._used = bytearray()

    def files(self) -> list[CardEntry]:
        """Walk the folders anew, depth first in card order; see `Volume.files`.

        A folder that cannot be read (CardError, MediumError) is a line of `damage()`, its neighbours are
        walked; an unreadable root is raised.
        """
        self._restart()
        found: list[CardEntry] = []
        entries = 0
        stack: list[tuple[CardEntry | None, dict[str, int], Iterator[CardEntry]]] = [(None, {}, self._children(None))]
        while stack:
            folder, names, children = stack[-1]
            entry = self._step(folder, children)
            if entry is None:
                stack.pop()
                continue
            entries += 1
            if entries > MAX_ENTRIES:
                self._note(f"more than {MAX_ENTRIES} entries on the card; the rest is not listed")
                break
            entry = self._place(folder, names, entry)
            if not entry.is_folder:
                found.append(entry)
            elif len(stack) > MAX_DEPTH:
                self._note(f"folder {entry.path!r}: deeper than {MAX_DEPTH} folders; not walked")
            else:
                self._folders.append(entry)
                stack.append((entry, {}, self._children(entry)))
        self._files = found
        return list(found)

    def damage(self) -> list[str]:
        """Every contradiction of the card, walking it and auditing its chains once; see `Volume.damage`."""
        files = self.files() if self._files is None else self._files
        if not self._audited:
            self._audit(files)
            self._audited = True
        return list(self._damage)

    def open(self, entry: CardEntry, offset: int = 0) -> io.RawIOBase:
        """Bytes of `entry` from `offset`; see `Volume.open`."""
        extents = ((self.position(first), count * self.geometry.cluster_size) for first, count in self.runs(entry))
        capacity = self.geometry.cluster_count * self.geometry.cluster_size
        valid = entry.location.valid_size
        return CardFile(self.reader, extents, size=entry.size, valid=valid, capacity=capacity, offset=offset)

    def runs(self, entry: CardEntry) -> Iterator[Run]:
        """Clusters of an entry in order; CardError at the point where they leave the volume or cycle."""
        if not entry.location.contiguous:
            yield from self.table.runs(entry.first_cluster)
            return
        first, wanted = entry.first_cluster, self._clusters_of(entry)
        past = self.geometry.cluster_count + 2
        if not wanted:
            return
        if not 2 <= first < past:
            raise CardError(f"first cluster {first:#x} is outside 2..{past - 1}")
        yield first, min(wanted, past - first)
        if wanted > past - first:
            raise CardError(f"{wanted} contiguous clusters from {first} run past the end of the volume")

    def position(self, cluster: int) -> int:
        """Byte position of a cluster on the card."""
        return self.geometry.heap + (cluster - 2) * self.geometry.cluster_size

    def forget(self) -> None:
        """Drop cached table sectors, after a deletion."""
        self.table.forget()

    def _children(self, folder: CardEntry | None) -> Iterator[CardEntry]:
        raise NotImplementedError

    def _system_runs(self) -> Iterator[Run]:
        raise NotImplementedError

    def _folder_runs(self, entry: CardEntry) -> Iterator[Run]:
        """Every run of a folder, whose size FAT does not keep."""
        return self.runs(entry)

    def _check_run(self, first: int, count: int) -> None:
        """Hook: what else must hold for clusters in use; CardError when it does not."""

    def _restart(self) -> None:
        self._damage = list(self._mount_damage)
        self._audited = False
        self._folders = []
        self._folder_clusters = set()
        self._slots_read = 0
        self.forget()

    def _note(self, line: str) -> None:
        if len(self._damage) < MAX_DAMAGE_LINES:
            self._damage.append(line)
        elif len(self._damage) == MAX_DAMAGE_LINES:
            self._damage.append("more damage is not listed")

    def _step(self, folder: CardEntry | None, children: Iterator[CardEntry]) -> CardEntry | None:
        try:
            return next(children, None)
        except DeviceGoneError:
            raise
        except DeviceError as error:
            if folder is None and not isinstance(error, CardError):
                raise
            self._note(f"folder {folder.path if folder else '/'!r}: {error}")
            return None

    def _place(self, folder: CardEntry | None, names: dict[str, int], entry: CardEntry) -> CardEntry:
        """`entry` with its display path, unique in its folder."""
        name = display_name(entry.path)
        if name in names:
            self._note(f"folder {folder.path if folder else '/'!r}: two entries are named {name!r}")
            base = name
            while name in names:
                names[base] += 1
                name = f"{base}~{names[base]}"
        names[name] = 1
        return replace(entry, path=f"{folder.path}/{name}" if folder else name)

    def _folder_slots(self, runs: Iterator[Run], limit: int) -> Iterator[tuple[int, bytes]]:
        """(absolute position, 32 bytes) of each slot of a folder; no cluster is ever read as a folder twice."""
        room = limit
        for first, count in runs:
            for cluster in range(first, first + count):
                if cluster in self._folder_clusters:
                    raise CardError(f"cluster {cluster} already belongs to a folder (loop or cross-link)")
                self._folder_clusters.add(cluster)
                yield from self._region(self.position(cluster), min(self.geometry.cluster_size, room * SLOT))
                room -= self.geometry.cluster_size // SLOT
                if room <= 0:
                    return

    def _region(self, position: int, size: int) -> Iterator[tuple[int, bytes]]:
        for start in range(0, size, _READ):
            data = self.reader.read(position + start, min(_READ, size - start))
            self._slots_read += len(data) // SLOT
            if self._slots_read > MAX_CARD_SLOTS:
                raise CardError(f"more than {MAX_CARD_SLOTS} directory slots on the card")
            for at in range(0, len(data), SLOT):
                yield position + start + at, data[at : at + SLOT]

    def _clusters_of(self, entry: CardEntry) -> int:
        return -(-entry.size // self.geometry.cluster_size)

    def _audit(self, files: list[CardEntry]) -> None:
        """Every chain once: bounds, length, and no cluster used twice, by files, folders or the format itself."""
        if self.geometry.cluster_count > MAX_AUDIT_CLUSTERS:
            self._note(f"{self.geometry.cluster_count} clusters are too many to audit the chains")
            return
        self._used = bytearray(self.geometry.cluster_count + 2)
        self._attempt("the volume's own clusters", self._system_runs())
        for entry in self._folders:
            self._attempt(f"folder {entry.path!r}", self._folder_runs(entry))
        for entry in files:
            self._attempt(f"file {entry.path!r}", self._file_runs(entry))
        self._used = bytearray()

    def _attempt(self, what: str, runs: Iterator[Run]) -> None:
        try:
            for first, count in runs:
                if (twice := self._used.find(1, first, first + count)) >= 0:
                    raise CardError(f"cluster {twice} is used twice (cross-link or cycle)")
                self._used[first : first + count] = b"\1" * count
                self._check_run(first, count)
        except DeviceGoneError:
            raise
        except DeviceError as error:
            self._note(f"{what}: {error}")

    def _file_runs(self, entry: CardEntry) -> Iterator[Run]:
        """The runs of a file, and CardError when they are not exactly those its size asks for."""
        wanted, total = self._clusters_of(entry), 0
        if not wanted:
            if entry.first_cluster:
                raise CardError(f"no bytes, but clusters from {entry.first_cluster}")
            return
        for run in self.runs(entry):
            total += run[1]
            yield run
        if total != wanted:
            raise CardError(f"{total} clusters for {entry.size} bytes, which take {wanted}")


class FatVolume(ClusterVolume):
    """A FAT16 or FAT32 volume at byte `base` of a card, in `size` bytes.

    CardError when the boot sector is not one of a FAT16 or FAT32 volume. As Linux and dosfstools do, a volume
    without a 16-bit FAT size is FAT32 whatever its number of clusters: small cards are found formatted so.
    """

    def __init__(self, reader: CardReader, base: int, size: int) -> None:
        layout = _layout(reader.read(base, 512))
        self.kind = "fat32" if layout.width == 4 else "fat16"
        self.fat_positions = [base + start for start in layout.tables]
        self.info_position = base + layout.info if layout.info else None
        self._root = CardEntry("", 0, None, layout.root_cluster, DIRECTORY, Location((), b"", False, 0))
        self._root_region = (base + layout.root_start, layout.root_bytes)
        geometry = Geometry(base + layout.heap, layout.cluster_size, layout.cluster_count)
        mask = 0x0FFFFFFF if layout.width == 4 else 0xFFFF
        table = AllocationTable(
            reader,
            self.fat_positions[layout.active],
            width=layout.width,
            mask=mask,
            clusters=layout.cluster_count,
        )
        super().__init__(reader, geometry, table)
        if layout.lone_table:
            self.fat_positions = [table.position]
        if layout.total_bytes > size:
            self._mount_damage.append(f"volume of {layout.total_bytes} bytes in {size} bytes of card")
        if layout.clipped:
            self._mount_damage.append(f"{layout.clipped} clusters have no entry in the allocation table")
        self.label = self._find_label(layout.label)
        self._restart()

    def _find_label(self, fallback: str) -> str:
        """The root folder's label, else the boot sector's (FAT specification 1.03, "FAT Volume Label")."""
        try:
            for _, slot in self._slots(None):
                if slot[0] == 0:
                    break
                if slot[0] != _DELETED and slot[11] & 0x3F != _LONG and slot[11] & VOLUME_LABEL:
                    return display_name(_oem(slot[:11]).rstrip())
        except CardError:
            return ""  # the walk meets it again and says so
        return display_name(fallback) if fallback and fallback != "NO NAME" else ""

    def _slots(self, folder: CardEntry | None) -> Iterator[tuple[int, bytes]]:
        if folder is None and self.kind == "fat16":
            return self._region(*self._root_region)
        return self._folder_slots(self.runs(folder or self._root), _MAX_FOLDER_SLOTS)

    def _children(self, folder: CardEntry | None) -> Iterator[CardEntry]:
        pending: list[tuple[int, bytes]] = []
        for number, (position, slot) in enumerate(self._slots(folder)):
            if slot[0] == 0:
                return
            if slot[0] == _DELETED:
                pending = []
            elif slot[11] & 0x3F == _LONG:
                pending = _extend(pending, position, slot)
            elif slot[11] & VOLUME_LABEL:
                pending = []
            elif slot[:11] in (_DOT, _DOTDOT) and slot[11] & DIRECTORY:
                if number > 1 or folder is None:
                    self._note(f"folder {folder.path if folder else '/'!r}: misplaced dot entry")
                pending = []
            else:
                yield self._entry(pending, position, slot)
                pending = []

    def _entry(self, pending: list[tuple[int, bytes]], position: int, slot: bytes) -> CardEntry:
        """The entry of a short slot, with its long name when that is whole and of this very slot."""
        name = _long_name(pending, slot)
        parts = [*pending, (position, slot)] if name else [(position, slot)]
        high, time, date, low, size = struct.unpack_from("<HHHHI", slot, 20)
        folder = bool(slot[11] & DIRECTORY)
        return CardEntry(
            path=name or _short_name(slot),
            size=0 if folder else size,
            modified=fat_datetime(date, time),
            first_cluster=low | high << 16 if self.kind == "fat32" else low,
            attributes=slot[11],
            location=Location(spans_of(parts), seal_of(parts), False, 0 if folder else size),
        )

    def _system_runs(self) -> Iterator[Run]:
        if self.kind == "fat32":
            yield from self.runs(self._root)


@dataclass(frozen=True, slots=True)
class _Layout:
    """What the boot sector says, in bytes from the volume's start."""

    width: int
    tables: list[int]
    active: int
    lone_table: bool
    info: int
    root_cluster: int
    root_start: int
    root_bytes: int
    heap: int
    cluster_size: int
    cluster_count: int
    clipped: int
    total_bytes: int
    label: str


def _layout(boot: bytes) -> _Layout:
    """Decode and check a boot sector (FAT specification 1.03, "Boot Sector and BPB")."""
    sector, per_cluster, reserved, copies, root_entries, small_total = struct.unpack_from("<HBHBHH", boot, 11)
    (fat_sectors,) = struct.unpack_from("<H", boot, 22)
    (large_total, large_fat, flags, _, root_cluster, info) = struct.unpack_from("<IIHHIH", boot, 32)
    wide = fat_sectors == 0
    fat_sectors = fat_sectors or large_fat
    total = small_total or large_total
    if boot[510:] != b"\x55\xaa" or boot[0] not in (0xEB, 0xE9):
        raise CardError("no boot sector")
    if sector not in (512, 1024, 2048, 4096) or per_cluster == 0 or per_cluster & (per_cluster - 1):
        raise CardError(f"sectors of {sector} bytes, clusters of {per_cluster} sectors")
    if not reserved or copies not in (1, 2) or not fat_sectors:
        raise CardError(f"{reserved} reserved sectors, {copies} allocation tables of {fat_sectors} sectors")
    root_start = reserved + copies * fat_sectors
    heap = root_start + -(-root_entries * SLOT // sector)
    claimed = max(total - heap, 0) // per_cluster
    width = 4 if wide else 2
    clusters = min(claimed, fat_sectors * sector // width - 2, 0x0FFFFFF5)
    if clusters < 1 or (not wide and not 4085 <= claimed < 65525):
        raise CardError(f"{claimed} clusters are neither FAT16 nor FAT32")
    lone = wide and bool(flags & 0x80)
    return _Layout(
        width=width,
        tables=[(reserved + copy * fat_sectors) * sector for copy in range(copies)],
        active=min(flags & 0x0F, copies - 1) if lone else 0,
        lone_table=lone,
        info=info * sector if wide and 0 < info < reserved else 0,
        root_cluster=root_cluster if wide else 0,
        root_start=root_start * sector,
        root_bytes=root_entries * SLOT,
        heap=heap * sector,
        cluster_size=per_cluster * sector,
        cluster_count=clusters,
        clipped=claimed - clusters,
        total_bytes=total * sector,
        label=_oem(boot[71:82] if wide else boot[43:54]).rstrip(" \0"),
    )


def fat_datetime(date: int, time: int) -> datetime | None:
    """A FAT date and time, camera's local, 2 s steps, or None (FAT specification 1.03, "Date and Time Formats")."""
    try:
        return datetime(  # noqa: DTZ001 the card does not say the zone
            1980 + (date >> 9), date >> 5 & 15, date & 31, time >> 11, time >> 5 & 63, (time & 31) * 2
        )
    except ValueError:
        return None


def short_name_checksum(short: bytes) -> int:
    """Checksum of an 11-byte short name that its long name slots carry (FAT specification 1.03, "ChkSum")."""
    total = 0
    for byte in short:
        total = ((total & 1) << 7) + (total >> 1) + byte & 0xFF
    return total


def spans_of(parts: list[tuple[int, bytes]]) -> tuple[tuple[int, int], ...]:
    """(position, slots) of the runs of adjacent slots in an entry set."""
    spans: list[tuple[int, int]] = []
    for position, _ in parts:
        if spans and spans[-1][0] + spans[-1][1] * SLOT == position:
            spans[-1] = (spans[-1][0], spans[-1][1] + 1)
        else:
            spans.append((position, 1))
    return tuple(spans)


def seal_of(parts: list[tuple[int, bytes]]) -> bytes:
    """16 bytes that identify the content of an entry set."""
    return hashlib.blake2b(b"".join(slot for _, slot in parts), digest_size=16).digest()


def _extend(pending: list[tuple[int, bytes]], position: int, slot: bytes) -> list[tuple[int, bytes]]:
    """The long name slots so far with one more, or none when it does not follow (orphans are dropped)."""
    number = slot[0] & 0x3F
    if slot[0] & 0x40:
        return [(position, slot)] if 1 <= number <= 20 else []
    if pending and number == (pending[-1][1][0] & 0x3F) - 1 and slot[13] == pending[-1][1][13]:
        return [*pending, (position, slot)]
    return []


def _long_name(pending: list[tuple[int, bytes]], short: bytes) -> str:
    """The long name, empty when it is not whole or its checksum is of another short name."""
    if not pending or pending[-1][1][0] & 0x3F != 1 or pending[-1][1][13] != short_name_checksum(short[:11]):
        return ""
    units = b"".join(slot[1:11] + slot[14:26] + slot[28:32] for _, slot in reversed(pending))
    return units.decode("utf-16-le", "surrogatepass").split("\0", 1)[0]


def _short_name(slot: bytes) -> str:
    """The 8.3 name with the lower-case bits Windows NT keeps in byte 12."""
    raw = b"\xe5" + slot[1:11] if slot[0] == 0x05 else slot[:11]
    stem, suffix = _oem(raw[:8]).rstrip(" "), _oem(raw[8:]).rstrip(" ")
    stem = stem.lower() if slot[12] & 0x08 else stem
    suffix = suffix.lower() if slot[12] & 0x10 else suffix
    return f"{stem}.{suffix}" if suffix else stem


def _oem(raw: bytes) -> str:
    return raw.decode("cp850")
