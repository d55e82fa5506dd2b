"""Reads GPS from GoPro telemetry (GPMF, the `gpmd` track), and nothing else of it.

Knows the streams GPS5 (with GPSU, GPSF, GPSP), GPS9, and GPRI with SYST (Karma). Big-endian key-length-value, after
GoPro's open specification (gopro/gpmf-parser, README "GPMF format"). Every bound is checked; bytes that make no sense
are passed over: nothing here raises for content.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

MAX_POINTS: Final = 10_000
"""Points kept of one track."""

_MAX_DEPTH: Final = 8
_MAX_ITEMS: Final = 20_000
_GOOD_FIX: Final = 2
_E7: Final = 10_000_000
_INTEGERS: Final = {"b": 1, "B": 1, "s": 2, "S": 2, "l": 4, "L": 4, "j": 8, "J": 8}
_CODES: Final = {"b": "b", "B": "B", "s": "h", "S": "H", "l": "i", "L": "I", "j": "q", "J": "Q"}
_FIRST_DAY: Final = datetime(2000, 1, 1, tzinfo=UTC)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Item:
    """One key with its value: `kind` is the type letter, `width` the bytes of one element, `data` all elements."""

    key: bytes
    kind: str
    width: int
    data: bytes


@dataclass(frozen=True)
class Payload:
    """One packet of the telemetry track: when it starts and how long it lasts, in milliseconds of the recording."""

    start_ms: int
    duration_ms: int
    data: bytes


@dataclass(frozen=True)
class Fix:
    """A measured place, in ten-millionths of a degree (WGS 84), at `t_ms` of the recording; `at` is the satellites'
    time when the stream gives it, `precision` its dilution of precision times 100 when known.
    """

    t_ms: int
    latitude_e7: int
    longitude_e7: int
    at: datetime | None = None
    precision: int | None = None


@dataclass(frozen=True)
class Journey:
    """First valid fix and the points after it, `(t_ms, latitude_e7, longitude_e7)`, at most `MAX_POINTS`."""

    first: Fix | None
    track: tuple[tuple[int, int, int], ...]


def read(payloads: Iterable[Payload]) -> Journey:
    """GPS of telemetry packets in order; no fix and no point when there is none. Never raises for content."""
    first: Fix | None = None
    track: list[tuple[int, int, int]] = []
    for payload in payloads:
        for fix in fixes(payload):
            first = first or fix
            if len(track) < MAX_POINTS:
                track.append((fix.t_ms, fix.latitude_e7, fix.longitude_e7))
        if len(track) >= MAX_POINTS:
            break
    return Journey(first, tuple(track))


def items(data: bytes) -> Iterator[Item]:
    """Items of one level, in order; stops at the first that does not fit in `data`."""
    position = 0
    while position + 8 <= len(data):
        key, kind, width, count = struct.unpack_from(">4sBBH", data, position)
        length = width * count
        position += 8
        if position + length > len(data):
            return
        yield Item(key, chr(kind) if kind else "", width, data[position : position + length])
        position += (length + 3) & ~3


def fixes(payload: Payload) -> list[Fix]:
    """Valid fixes of one packet, spread evenly over its duration; empty when none."""
    found: list[Fix] = []
    clock: datetime | None = None
    for stream in _streams(payload.data):
        clock = _system_time(stream) or clock
        for reader in (_gps5, _gps9, _gpri):
            found += reader(stream, payload)
    if clock is not None:
        found = [fix if fix.at else Fix(fix.t_ms, fix.latitude_e7, fix.longitude_e7, clock) for fix in found]
    return found


def _streams(data: bytes) -> Iterator[dict[bytes, Item]]:
    """Each STRM as its items by key; a nested level is walked without recursion and within bounds."""
    levels: list[tuple[int, bytes]] = [(0, data)]
    seen = 0
    while levels:
        depth, content = levels.pop()
        stream: dict[bytes, Item] = {}
        nested: list[tuple[int, bytes]] = []
        for item in items(content):
            seen += 1
            if seen > _MAX_ITEMS:
                return
            if item.kind:
                stream[item.key] = item
            elif depth < _MAX_DEPTH:
                nested.append((depth + 1, item.data))
        levels += reversed(nested)
        if stream:
            yield stream


def _gps5(stream: dict[bytes, Item], payload: Payload) -> list[Fix]:
    samples, scales = stream.get(b"GPS5"), _integers(stream.get(b"SCAL"))
    if samples is None or samples.kind != "l" or samples.width != 20 or not scales:
        return []
    if (_integers(stream.get(b"GPSF")) or [_GOOD_FIX])[0] < _GOOD_FIX:
        return []
    precision = next(iter(_integers(stream.get(b"GPSP"))), None)
    at = _gps_time(stream.get(b"GPSU"))
    rows = [row[:2] for row in struct.iter_unpack(">5i", samples.data)]
    placed = [_place(row, scales) for row in rows]
    return [
        Fix(_moment(payload, number, len(placed)), place[0], place[1], at, precision)
        for number, place in enumerate(placed)
        if place is not None
    ]


def _gps9(stream: dict[bytes, Item], payload: Payload) -> list[Fix]:
    rows = _rows(stream, b"GPS9", "lllllllSS")
    scales = _integers(stream.get(b"SCAL"))
    if len(scales) < 9 or min(scales[5:9]) < 1:
        return []
    found = []
    for number, row in enumerate(rows):
        place = _place(row, scales)
        if place is not None and row[8] // scales[8] >= _GOOD_FIX:
            at = _later(_FIRST_DAY, row[5] // scales[5], row[6] * 1_000_000 // scales[6])
            moment = _moment(payload, number, len(rows))
            found.append(Fix(moment, place[0], place[1], at, row[7] * 100 // scales[7]))
    return found


def _gpri(stream: dict[bytes, Item], payload: Payload) -> list[Fix]:
    rows = _rows(stream, b"GPRI", "JlllSSSSBB")
    scales = _integers(stream.get(b"SCAL"))
    found = []
    for number, row in enumerate(rows):
        place = _place(row[1:3], scales[1:3])
        if place is not None and row[8] >= _GOOD_FIX:
            found.append(Fix(_moment(payload, number, len(rows)), place[0], place[1]))
    return found


def _system_time(stream: dict[bytes, Item]) -> datetime | None:
    rows, scales = _rows(stream, b"SYST", "JJ"), _integers(stream.get(b"SCAL"))
    if not rows or len(scales) < 2 or scales[1] < 1 or rows[0][1] == 0:
        return None
    return _later(_EPOCH, 0, rows[0][1] * 1_000_000 // scales[1])


def _rows(stream: dict[bytes, Item], key: bytes, form: str) -> list[tuple[int, ...]]:
    """Elements of a structured item whose TYPE is exactly `form`; empty otherwise."""
    item, declared = stream.get(key), stream.get(b"TYPE")
    layout = struct.Struct(">" + "".join(_CODES[letter] for letter in form))
    if item is None or declared is None or declared.data.rstrip(b"\0") != form.encode():
        return []
    if item.kind != "?" or item.width != layout.size:
        return []
    return list(layout.iter_unpack(item.data))


def _integers(item: Item | None) -> list[int]:
    if item is None or item.kind not in _INTEGERS or not item.data:
        return []
    width = _INTEGERS[item.kind]
    usable = len(item.data) - len(item.data) % width
    return [row[0] for row in struct.iter_unpack(">" + _CODES[item.kind], item.data[:usable])]


def _place(row: tuple[int, ...], scales: list[int]) -> tuple[int, int] | None:
    """Latitude and longitude in ten-millionths, or None outside the Earth or at the empty point 0, 0."""
    if not scales or len(row) < 2:
        return None
    by = (scales[0], scales[1] if len(scales) > 1 else scales[0])
    if min(by) < 1:
        return None
    latitude, longitude = row[0] * _E7 // by[0], row[1] * _E7 // by[1]
    inside = abs(latitude) <= 90 * _E7 and abs(longitude) <= 180 * _E7
    return (latitude, longitude) if inside and (latitude, longitude) != (0, 0) else None


def _gps_time(item: Item | None) -> datetime | None:
    """GPSU's `yymmddhhmmss.sss`, which is UTC."""
    if item is None or item.width * (len(item.data) // max(1, item.width)) < 16:
        return None
    text = item.data[:16].decode("ascii", "replace")
    digits = text[:12] + text[13:16]
    if not (digits.isascii() and digits.isdigit()):
        return None
    year, month, day, hour, minute, second = (int(text[start : start + 2]) for start in range(0, 12, 2))
    try:
        return datetime(2000 + year, month, day, hour, minute, second, int(text[13:16]) * 1000, tzinfo=UTC)
    except ValueError:
        return None


def _later(start: datetime, days: int, microseconds: int) -> datetime | None:
    try:
        return start + timedelta(days=days, microseconds=microseconds)
    except OverflowError:
        return None


def _moment(payload: Payload, number: int, count: int) -> int:
    return payload.start_ms + payload.duration_ms * number // max(1, count)
