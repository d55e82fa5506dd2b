"""A first, frugal look at an MP4 or QuickTime file: is it whole, and is it safe to hand to a real parser?

Reads box headers only (ISO/IEC 14496-12 §4.2), never recursively, within fixed counts. Says what it found; judges
nothing but form. Other containers are passed over: `recognised` is false and the rest says nothing.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, Protocol

MAX_TOP_BOXES: Final = 20_000
MAX_INNER_BOXES: Final = 50_000
MAX_DEPTH: Final = 16

_FIRST: Final = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"moof", b"uuid"})
_CONTAINERS: Final = frozenset(
    {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"dinf", b"udta", b"mvex", b"moof", b"traf", b"tref"}
)
# Tables: bytes before the count, bytes of one entry.
_TABLES: Final = {b"stts": (4, 8), b"ctts": (4, 8), b"stsc": (4, 12), b"stco": (4, 4), b"co64": (4, 8), b"stss": (4, 4)}
_ABSURD: Final = 64


class Readable(Protocol):
    """A seekable binary file."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move to a position in bytes."""

    def read(self, size: int = -1, /) -> bytes | None:
        """At most `size` bytes from the position."""


@dataclass
class Survey:
    """What the headers say.

    `bomb` names the first thing that no camera writes (depth, number, a table larger than its box), or is None.
    `truncated`: a box goes past the end, or there is content and no index, or the reverse. `places` holds `©xyz` and
    `loci` when met.
    """

    recognised: bool = False
    has_index: bool = False
    has_content: bool = False
    fragmented: bool = False
    truncated: bool = False
    bomb: str | None = None
    places: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Box:
    kind: bytes
    body: int
    end: int
    cut: bool


def survey(source: Readable, size: int) -> Survey:
    """What the headers of the `size` bytes of `source` say; raises only what `source` raises."""
    found = Survey()
    position = 0
    for number in range(MAX_TOP_BOXES + 1):
        box = _header(source, position, size)
        if box is None:
            found.truncated |= found.recognised and position < size
            break
        if number == 0 and box.kind not in _FIRST:
            return found
        found.recognised = True
        if number == MAX_TOP_BOXES:
            found.bomb = "too many boxes"
            break
        _note(found, box)
        if box.kind in (b"moov", b"moof") and found.bomb is None and not box.cut:
            _inside(source, box, size, found)
        position = box.end
    found.truncated |= found.has_content != found.has_index and not found.fragmented
    return found


def _note(found: Survey, box: _Box) -> None:
    found.truncated |= box.cut
    found.has_index |= box.kind == b"moov" and not box.cut
    found.has_content |= box.kind == b"mdat"
    found.fragmented |= box.kind == b"moof"


def _header(source: Readable, position: int, limit: int) -> _Box | None:
    """The box at `position`, cut at `limit`; None where there is no sane header."""
    source.seek(position)
    head = source.read(min(16, max(0, limit - position))) or b""
    if len(head) < 8:
        return None
    length, kind = struct.unpack_from(">I4s", head)
    start = 8
    if length == 1:
        if len(head) < 16:
            return None
        length, start = struct.unpack_from(">Q", head, 8)[0], 16
    elif length == 0:
        length = limit - position
    if length < start:
        return None
    end = position + length
    return _Box(kind, position + start, min(end, limit), end > limit)


def _inside(source: Readable, top: _Box, size: int, found: Survey) -> None:
    """Walk an index box: note places, stop at the first absurdity."""
    waiting = [(1, top)]
    places = []
    met = 0
    while waiting and found.bomb is None:
        depth, box = waiting.pop()
        position = box.body
        while position < box.end and found.bomb is None:
            inner = _header(source, position, box.end)
            if inner is None:
                break
            met += 1
            position = inner.end
            if met > MAX_INNER_BOXES:
                found.bomb = "too many boxes"
            elif inner.kind in _CONTAINERS and depth >= MAX_DEPTH:
                found.bomb = "boxes too deep"
            elif inner.kind in _CONTAINERS:
                waiting.append((depth + 1, inner))
            elif inner.kind in (b"\xa9xyz", b"loci"):
                places.append(inner.kind.decode("latin-1"))
            else:
                found.bomb = _lying_table(source, inner, size)
    found.places = tuple(dict.fromkeys((*found.places, *places)))


def _lying_table(source: Readable, box: _Box, size: int) -> str | None:
    """Why the table in `box` cannot be true, or None."""
    if box.kind == b"stsz":
        head = _read(source, box.body, 12)
        if len(head) < 12:
            return None
        _, each, count = struct.unpack(">III", head)
        if each == 0 and count * 4 > box.end - box.body - 12:
            return "a table larger than its box"
        return "more samples than the file can hold" if each * count > _ABSURD * max(size, 1 << 20) else None
    if box.kind in _TABLES:
        before, width = _TABLES[box.kind]
        head = _read(source, box.body, before + 4)
        if len(head) == before + 4:
            count = struct.unpack_from(">I", head, before)[0]
            if count * width > box.end - box.body - before - 4:
                return "a table larger than its box"
    return None


def _read(source: Readable, position: int, length: int) -> bytes:
    source.seek(position)
    return source.read(length) or b""
