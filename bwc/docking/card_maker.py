"""Makes a camera's memory card as a sparse image file, without any system tool: for demonstrations and tests.

Writes FAT32 (Microsoft FAT specification 1.03) or exFAT (exFAT specification 1.00), in order of the sources
given, contents streamed. Not responsible for reading (`card`) nor for any change of an existing card
(`card_delete`).
"""

from __future__ import annotations

import struct
import sys
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Literal

from bwc.core.errors import InputError
from bwc.docking import exfat
from bwc.docking.card import ARCHIVE, DIRECTORY, SLOT, VOLUME_LABEL, Run
from bwc.docking.fat import short_name_checksum

SECTOR = 512
PARTITION_START = 1 << 20
"""Byte position of the volume on a partitioned card."""

_CHUNK = 1 << 20
_ZEROS = bytes(_CHUNK)
_MIN_FAT32_CLUSTERS = 65_525
_FAT32_RESERVED = 32
_EXFAT_FAT_START = 128
_FORBIDDEN = set('"*/:<>?\\|')
_SHORT_EXTRA = set("$%'-_@~`!(){}^#&")
_MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class CardSource:
    """A file to put on a card.

    `path` is '/'-separated, folders are made as needed; `size` in bytes must be what `open` delivers.
    `modified` is written to 2 s as it reads on FAT, to 10 ms with its UTC offset, if any, on exFAT; years
    1980 to 2107.
    """

    path: str
    size: int
    modified: datetime
    open: Callable[[], BinaryIO]


def make_card(
    path: Path,
    kind: Literal["fat32", "exfat"],
    size_bytes: int,
    files: Iterable[CardSource],
    label: str,
    *,
    fragment: bool = False,
    partitioned: bool = False,
) -> None:
    """Write a card image of `size_bytes` bytes to `path`, replacing what is there; zeros stay sparse.

    With `fragment`, neighbours in the plan (folders, then files) take turns cluster by cluster. With
    `partitioned`, the volume is the one MBR partition, from 1 MiB on; else it is the whole card. InputError
    when the card is too small (FAT32 needs about 33 MiB, exFAT 1 MiB) or full, when a name or date cannot be
    written, when a file is 4 GiB or more on FAT32, or when a source delivers another size than it says.
    """
    start = PARTITION_START if partitioned else 0
    sectors = (size_bytes - start) // SECTOR
    form: _Format = _Fat32(label, sectors) if kind == "fat32" else _Exfat(label, sectors)
    root = _plan(files)
    folders, contents = _nodes(root)
    form.prepare(folders, contents)
    _allocate([*folders, *(node for node in contents if node.size)], form, fragment)
    with path.open("wb") as image:
        image.truncate(size_bytes)
        if partitioned:
            image.write(_master_boot_record(form.partition_type, sectors))
        out = _Output(image, start)
        form.write(out, folders, contents)
        for node in contents:
            _copy(out, form, node)


@dataclass(slots=True)
class _Node:
    """A folder or a file of the planned card; `size` is in bytes on the card, `runs` its clusters."""

    name: str
    modified: datetime
    source: CardSource | None = None
    parent: _Node | None = None
    children: dict[str, _Node] = field(default_factory=dict)
    size: int = 0
    runs: list[Run] = field(default_factory=list)

    @property
    def first(self) -> int:
        return self.runs[0][0] if self.runs else 0


class _Output:
    """The image, positions counted from the volume's start."""

    def __init__(self, image: BinaryIO, start: int) -> None:
        self._image = image
        self.start = start

    def put(self, position: int, data: bytes) -> None:
        if data != _ZEROS[: len(data)]:
            self._image.seek(self.start + position)
            self._image.write(data)


class _Format:
    """What FAT32 and exFAT have in common once their geometry is known."""

    partition_type = 0
    end_mark = 0

    def __init__(self, label: str, sectors: int) -> None:
        self.label = label
        self.sectors = sectors
        self.serial = zlib.crc32(f"{label}/{sectors}".encode())
        self.cluster_size = SECTOR
        self.clusters = 0
        self.heap = 0
        self.tables: list[int] = []
        self.next_cluster = 2

    def prepare(self, folders: list[_Node], contents: list[_Node]) -> None:
        """Check what the format cannot hold and size the folders."""
        raise NotImplementedError

    def write(self, out: _Output, folders: list[_Node], contents: list[_Node]) -> None:
        """Write everything but the files' contents."""
        raise NotImplementedError

    def position(self, cluster: int) -> int:
        return self.heap + (cluster - 2) * self.cluster_size

    def put_node(self, out: _Output, runs: list[Run], data: bytes) -> None:
        at = 0
        for first, count in runs:
            length = count * self.cluster_size
            out.put(self.position(first), data[at : at + length])
            at += length

    def link(self, out: _Output, runs: list[Run]) -> None:
        """Write the chain of `runs` in every copy of the table."""
        for index, (first, count) in enumerate(runs):
            after = runs[index + 1][0] if index + 1 < len(runs) else self.end_mark
            for low in range(0, count, _CHUNK // 4):
                links = array("I", range(first + low + 1, first + min(count, low + _CHUNK // 4) + 1))
                if low + len(links) == count:
                    links[-1] = after
                if sys.byteorder == "big":
                    links.byteswap()
                for table in self.tables:
                    out.put(table + (first + low) * 4, links.tobytes())


class _Fat32(_Format):
    partition_type = 0x0C
    end_mark = 0x0FFFFFFF

    def __init__(self, label: str, sectors: int) -> None:
        super().__init__(_fat_label(label), sectors)
        if sectors > 0xFFFFFFFF:
            raise InputError(f"{sectors} sectors are too many for FAT32")
        usual = 8 if sectors <= 512 * _MEBIBYTE // SECTOR else 64
        fitting = (spc for spc in (64, 32, 16, 8, 4, 2, 1) if self._geometry(spc)[1] >= _MIN_FAT32_CLUSTERS)
        spc = next((spc for spc in fitting if spc <= usual), 0)
        if not spc:
            raise InputError(f"{sectors * SECTOR} bytes are too few for FAT32")
        self.table_sectors, self.clusters = self._geometry(spc)
        self.cluster_size = spc * SECTOR
        self.tables = [(_FAT32_RESERVED + copy * self.table_sectors) * SECTOR for copy in range(2)]
        self.heap = (_FAT32_RESERVED + 2 * self.table_sectors) * SECTOR

    def _geometry(self, spc: int) -> tuple[int, int]:
        """(sectors of one table, clusters) with `spc` sectors per cluster."""
        room = self.sectors - _FAT32_RESERVED
        table = -(-(room + 2 * spc) // (128 * spc + 2))
        return table, (room - 2 * table) // spc

    def prepare(self, folders: list[_Node], contents: list[_Node]) -> None:
        for node in contents:
            if node.size >= 1 << 32:
                raise InputError(f"{node.name!r}: {node.size} bytes are too many for a FAT32 file")
        for folder in folders:
            slots = 1 if folder.parent is None else 2
            slots += sum(len(_long_slots(name, short)) + 1 for name, short in _short_names(folder))
            if slots > 65_536:
                raise InputError(f"folder {folder.name!r} has too many entries for FAT32")
            folder.size = -(-slots * SLOT // self.cluster_size) * self.cluster_size

    def write(self, out: _Output, folders: list[_Node], contents: list[_Node]) -> None:
        free = self.clusters - (self.next_cluster - 2)
        info = b"RRaA" + bytes(480) + struct.pack("<4sII12xI", b"rrAa", free, self.next_cluster, 0xAA550000)
        for sector in (0, 6):
            out.put(sector * SECTOR, self._boot(folders[0].first, out.start))
            out.put((sector + 1) * SECTOR, info)
            out.put((sector + 2) * SECTOR, bytes(510) + b"\x55\xaa")
        for table in self.tables:
            out.put(table, struct.pack("<II", 0x0FFFFFF8, 0x0FFFFFFF))
        for node in [*folders, *contents]:
            self.link(out, node.runs)
        for folder in folders:
            self.put_node(out, folder.runs, self._folder(folder))

    def _boot(self, root: int, start: int) -> bytes:
        """Boot sector (FAT specification 1.03, "Boot Sector and BPB")."""
        head = struct.pack("<3s8sHBHBHHBHHHI", b"\xeb\x58\x90", b"BWC     ", SECTOR, self.cluster_size // SECTOR,
                           _FAT32_RESERVED, 2, 0, 0, 0xF8, 0, 32, 64, start // SECTOR)  # fmt: skip
        tail = struct.pack("<IIHHIHH12xBBBI11s8s", self.sectors, self.table_sectors, 0, 0, root, 1, 6, 0x80, 0, 0x29,
                           self.serial, self.label.encode("ascii").ljust(11), b"FAT32   ")  # fmt: skip
        return (head + tail).ljust(510, b"\0") + b"\x55\xaa"

    def _folder(self, folder: _Node) -> bytes:
        slots: list[bytes] = []
        if folder.parent is None:
            slots.append(_short_slot(self.label.encode("ascii").ljust(11), VOLUME_LABEL, folder.modified, 0, 0))
        else:
            above = folder.parent.first if folder.parent.parent else 0
            slots.append(_short_slot(b".          ", DIRECTORY, folder.modified, folder.first, 0))
            slots.append(_short_slot(b"..         ", DIRECTORY, folder.modified, above, 0))
        for node, (name, short) in zip(folder.children.values(), _short_names(folder), strict=True):
            size = node.size if node.source else 0
            kind = ARCHIVE if node.source else DIRECTORY
            slots += [*_long_slots(name, short), _short_slot(short, kind, node.modified, node.first, size)]
        return b"".join(slots)


class _Exfat(_Format):
    partition_type = 0x07
    end_mark = 0xFFFFFFFF

    def __init__(self, label: str, sectors: int) -> None:
        super().__init__(label, sectors)
        if not 1 <= len(label.encode("utf-16-le")) // 2 <= 11:
            raise InputError(f"label {label!r} is not 1 to 11 characters")
        size = sectors * SECTOR
        if size < _MEBIBYTE:
            raise InputError(f"{size} bytes are too few for exFAT")
        self.shift = 3 if size <= 256 * _MEBIBYTE else 6 if size <= 32_768 * _MEBIBYTE else 8
        spc = 1 << self.shift
        self.cluster_size = spc * SECTOR
        self.table_sectors = -(-(sectors // spc + 2) * 4 // SECTOR)
        heap = -(-(_EXFAT_FAT_START + self.table_sectors) // spc) * spc
        self.clusters = (sectors - heap) // spc
        self.tables = [_EXFAT_FAT_START * SECTOR]
        self.heap = heap * SECTOR
        self.upcase = exfat.upcase_table()
        self.bitmap_runs = [self._take(-(-self.clusters // 8))]
        self.upcase_runs = [self._take(len(self.upcase))]

    def _take(self, size: int) -> Run:
        run = (self.next_cluster, -(-size // self.cluster_size))
        self.next_cluster += run[1]
        return run

    def prepare(self, folders: list[_Node], contents: list[_Node]) -> None:
        for folder in folders:
            slots = 3 if folder.parent is None else 0
            slots += sum(2 + -(-_units(node.name) // 15) for node in folder.children.values())
            folder.size = max(1, -(-slots * SLOT // self.cluster_size)) * self.cluster_size

    def write(self, out: _Output, folders: list[_Node], contents: list[_Node]) -> None:
        region = self._boot_region(folders[0].first, out.start)
        for copy in (0, 12):
            out.put(copy * SECTOR, region)
        out.put(self.tables[0], struct.pack("<II", 0xFFFFFFF8, 0xFFFFFFFF))
        for runs in (self.bitmap_runs, self.upcase_runs, folders[0].runs):
            self.link(out, runs)
        for node in [*folders[1:], *contents]:
            if len(node.runs) > 1:
                self.link(out, node.runs)
        self._put_bitmap(out)
        self.put_node(out, self.upcase_runs, self.upcase)
        for folder in folders:
            self.put_node(out, folder.runs, self._folder(folder))

    def _put_bitmap(self, out: _Output) -> None:
        used, at = self.next_cluster - 2, self.position(self.bitmap_runs[0][0])
        for low in range(0, used // 8, _CHUNK):
            out.put(at + low, b"\xff" * min(_CHUNK, used // 8 - low))
        out.put(at + used // 8, bytes([(1 << used % 8) - 1]))

    def _boot_region(self, root: int, start: int) -> bytes:
        """The 12 sectors of a boot region (exFAT specification 1.00 §3)."""
        used = (self.next_cluster - 2) * 100 // self.clusters
        boot = struct.pack("<3s8s53xQQIIIIIIHHBBBBB7x", b"\xeb\x76\x90", b"EXFAT   ", start // SECTOR, self.sectors,
                           _EXFAT_FAT_START, self.table_sectors, self.heap // SECTOR, self.clusters, root, self.serial,
                           0x0100, 0, 9, self.shift, 1, 0x80, used)  # fmt: skip
        boot = boot.ljust(510, b"\xf4") + b"\x55\xaa"
        extended = (bytes(508) + b"\0\0\x55\xaa") * 8
        region = boot + extended + bytes(2 * SECTOR)
        return region + struct.pack("<I", exfat.boot_checksum(region)) * (SECTOR // 4)

    def _folder(self, folder: _Node) -> bytes:
        slots: list[bytes] = []
        if folder.parent is None:
            text = self.label.encode("utf-16-le")
            slots.append(struct.pack("<BB22s8x", exfat.LABEL, len(text) // 2, text))
            size = -(-self.clusters // 8)
            slots.append(struct.pack("<BB18xIQ", exfat.BITMAP, 0, self.bitmap_runs[0][0], size))
            checksum = exfat.table_checksum(self.upcase)
            slots.append(struct.pack("<B3xI12xIQ", exfat.UPCASE, checksum, self.upcase_runs[0][0], len(self.upcase)))
        slots += [_entry_set(node) for node in folder.children.values()]
        return b"".join(slots)


def _plan(files: Iterable[CardSource]) -> _Node:
    """The tree of folders and files; a folder is as old as its newest file."""
    root = _Node("", datetime(1980, 1, 1))  # noqa: DTZ001 FAT has no zone
    for source in files:
        if not 1980 <= source.modified.year <= 2107 or source.size < 0:
            raise InputError(f"{source.path!r}: cannot write {source.modified} or {source.size} bytes")
        folder = root
        *above, name = source.path.split("/")
        for part in above:
            folder = _child(folder, part, _Node(part, source.modified, parent=folder))
            if folder.source:
                raise InputError(f"{source.path!r}: {part!r} is a file")
            folder.modified = max(folder.modified, source.modified, key=_wall_clock)
        leaf = _Node(name, source.modified, source, folder, size=source.size)
        if _child(folder, name, leaf) is not leaf:
            raise InputError(f"{source.path!r}: a file or folder of that name is there already")
    return root


def _child(folder: _Node, name: str, new: _Node) -> _Node:
    bad = not name.strip(". ") or name[-1] in ". " or any(c in _FORBIDDEN or ord(c) < 32 for c in name)
    if bad or _units(name) > 255:
        raise InputError(f"{name!r} cannot be a name on a card")
    return folder.children.setdefault(name.upper(), new)


def _nodes(root: _Node) -> tuple[list[_Node], list[_Node]]:
    """(folders, root first; files), each in the order given."""
    folders: list[_Node] = [root]
    contents: list[_Node] = []
    for folder in folders:
        for node in folder.children.values():
            (contents if node.source else folders).append(node)
    return folders, contents


def _allocate(nodes: list[_Node], form: _Format, fragment: bool) -> None:
    """Give every node its clusters, from `form.next_cluster` on."""
    wanted = [(node, -(-node.size // form.cluster_size)) for node in nodes]
    if form.next_cluster - 2 + sum(count for _, count in wanted) > form.clusters:
        raise InputError("the files do not fit on the card")
    step = 2 if fragment else 1
    for index in range(0, len(wanted), step):
        pair = wanted[index : index + step]
        turns = min(count for _, count in pair) if len(pair) == 2 else 0
        for side, (node, _) in enumerate(pair):
            node.runs = [(form.next_cluster + side + 2 * turn, 1) for turn in range(turns)]
        form.next_cluster += 2 * turns
        for node, count in pair:
            if count > turns:
                node.runs.append((form.next_cluster, count - turns))
                form.next_cluster += count - turns


def _copy(out: _Output, form: _Format, node: _Node) -> None:
    """Stream a file's contents to its clusters."""
    source = node.source
    if source is None:
        return
    left = node.size
    with source.open() as stream:
        for first, count in node.runs:
            at, room = form.position(first), min(left, count * form.cluster_size)
            left -= room
            while room:
                data = stream.read(min(room, _CHUNK))
                if not data:
                    raise InputError(f"{source.path!r} is shorter than {source.size} bytes")
                out.put(at, data)
                at += len(data)
                room -= len(data)
        if stream.read(1):
            raise InputError(f"{source.path!r} is longer than {source.size} bytes")


def _master_boot_record(kind: int, sectors: int) -> bytes:
    entry = struct.pack("<B3sB3sII", 0, b"\xfe\xff\xff", kind, b"\xfe\xff\xff", PARTITION_START // SECTOR, sectors)
    return bytes(446) + entry + bytes(48) + b"\x55\xaa"


def _wall_clock(moment: datetime) -> datetime:
    return moment.replace(tzinfo=None)


def _units(name: str) -> int:
    return len(name.encode("utf-16-le")) // 2


def _fat_label(label: str) -> str:
    text = label.upper()
    if not 1 <= len(text) <= 11 or any(not _is_short(c) and c != " " for c in text) or text != text.strip():
        raise InputError(f"label {label!r} is not 1 to 11 plain characters")
    return text


def _is_short(character: str) -> bool:
    return character.isascii() and (character.isupper() or character.isdigit() or character in _SHORT_EXTRA)


def _short_names(folder: _Node) -> Iterator[tuple[str, bytes]]:
    """(name, 11-byte short name) of a folder's children, in order, short names unique in it."""
    exact = {node.name: _exact_short(node.name) for node in folder.children.values()}
    taken = {short for short in exact.values() if short}
    counters: dict[bytes, int] = {}
    for node in folder.children.values():
        yield node.name, exact[node.name] or _numbered_short(node.name, taken, counters)


def _exact_short(name: str) -> bytes:
    stem, _, suffix = name.partition(".")
    plain = all(_is_short(c) for c in stem + suffix) and len(stem) <= 8 and len(suffix) <= 3
    return f"{stem:8}{suffix:3}".encode("ascii") if plain and stem and (suffix or "." not in name) else b""


def _numbered_short(name: str, taken: set[bytes], counters: dict[bytes, int]) -> bytes:
    """A numbered short name (FAT specification 1.03, "The Basis-Name Generation Algorithm")."""
    stem, dot, suffix = name.upper().rpartition(".")
    if not dot:
        stem, suffix = suffix, ""
    base = "".join(c for c in stem if _is_short(c)) or "_"
    extension = "".join(c for c in suffix if _is_short(c))[:3].ljust(3)
    while True:
        key = f"{base[:6]}.{extension}".encode("ascii")
        counters[key] = number = counters.get(key, 0) + 1
        tail = f"~{number}"
        short = (base[: 8 - len(tail)] + tail).ljust(8).encode("ascii") + extension.encode("ascii")
        if short not in taken:
            taken.add(short)
            return short


def _long_slots(name: str, short: bytes) -> list[bytes]:
    """Long name slots, last part first; none when the short name says it all."""
    if _exact_short(name) == short:
        return []
    raw = name.encode("utf-16-le")
    raw = raw if len(raw) % 26 == 0 else (raw + b"\0\0").ljust(-(-len(raw) // 26) * 26, b"\xff")
    checksum = short_name_checksum(short)
    slots: list[bytes] = []
    for at in range(0, len(raw), 26):
        number = at // 26 + 1 | (0x40 if at + 26 == len(raw) else 0)
        part = raw[at : at + 26]
        head = bytes([number]) + part[:10] + b"\x0f\0" + bytes([checksum])
        slots.insert(0, head + part[10:22] + b"\0\0" + part[22:])
    return slots


def _fat_stamp(moment: datetime) -> tuple[int, int]:
    """(time, date) of the FAT specification 1.03, "Date and Time Formats"."""
    time = moment.hour << 11 | moment.minute << 5 | moment.second // 2
    return time, moment.year - 1980 << 9 | moment.month << 5 | moment.day


def _short_slot(short: bytes, attributes: int, modified: datetime, first: int, size: int) -> bytes:
    time, date = _fat_stamp(modified)
    return struct.pack("<11sBBBHHHHHHHI", short, attributes, 0, 0, time, date, date, first >> 16, time, date,
                       first & 0xFFFF, size)  # fmt: skip


def _entry_set(node: _Node) -> bytes:
    """File, stream and name entries (exFAT specification 1.00 §7.4, §7.6 and §7.7)."""
    raw = node.name.encode("utf-16-le")
    names = [raw[at : at + 30] for at in range(0, len(raw), 30)]
    time, date = _fat_stamp(node.modified)
    stamp = date << 16 | time
    fine = node.modified.second % 2 * 100 + node.modified.microsecond // 10_000
    offset = node.modified.utcoffset()
    zone = 0 if offset is None else 0x80 | offset // timedelta(minutes=15) & 0x7F
    kind, flags = (ARCHIVE if node.source else DIRECTORY), 1 | (exfat.NO_FAT_CHAIN if len(node.runs) == 1 else 0)
    file = struct.pack("<BBHHHIIIBBBBB7x", exfat.FILE, 1 + len(names), 0, kind, 0, stamp, stamp, stamp, fine, fine,
                       zone, zone, zone)  # fmt: skip
    stream = struct.pack("<BBBBHHQIIQ", exfat.STREAM, flags, 0, len(raw) // 2, exfat.name_hash(node.name), 0,
                         node.size, 0, node.first, node.size)  # fmt: skip
    whole = file + stream + b"".join(struct.pack("<BB30s", exfat.NAME, 0, name) for name in names)
    return whole[:2] + struct.pack("<H", exfat.set_checksum(whole)) + whole[4:]
