from __future__ import annotations

import struct
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bwc.ingest.gpmf import MAX_POINTS, Payload, fixes, items, read


def klv(key: bytes, kind: str, width: int, data: bytes) -> bytes:
    count = len(data) // width if width else 0
    head = struct.pack(">4scBH", key, kind.encode() or b"\0", width, count)
    return head + data + bytes(-len(data) % 4)


def nest(key: bytes, data: bytes) -> bytes:
    return struct.pack(">4sBBH", key, 0, 1, len(data)) + data + bytes(-len(data) % 4)


def gps5(rows, *, fix=3, time=b"261122201405.250", scales=(10_000_000, 10_000_000, 1000, 1000, 100)) -> bytes:
    stream = b""
    if fix is not None:
        stream += klv(b"GPSF", "L", 4, struct.pack(">I", fix))
    if time is not None:
        stream += klv(b"GPSU", "U", 16, time)
    stream += klv(b"GPSP", "S", 2, struct.pack(">H", 154))
    stream += klv(b"SCAL", "l", 4, struct.pack(">5i", *scales))
    stream += klv(b"GPS5", "l", 20, b"".join(struct.pack(">5i", *row, 0, 0, 0) for row in rows))
    return nest(b"DEVC", klv(b"DVID", "L", 4, bytes(4)) + nest(b"STRM", stream))


VALENCE = (449_334_000, 48_924_000)


def test_gps5_gives_place_time_precision_and_spreads_the_points():
    found = fixes(Payload(1000, 1000, gps5([VALENCE, (449_334_100, 48_924_100)])))
    assert [(fix.t_ms, fix.latitude_e7, fix.longitude_e7) for fix in found] == [
        (1000, *VALENCE),
        (1500, 449_334_100, 48_924_100),
    ]
    assert found[0].at == datetime(2026, 11, 22, 20, 14, 5, 250_000, tzinfo=UTC)
    assert found[0].precision == 154


def test_scale_is_applied_exactly_and_negative_places_too():
    found = fixes(Payload(0, 0, gps5([(-1234, 5678)], scales=(100, 1000, 1, 1, 1))))
    assert (found[0].latitude_e7, found[0].longitude_e7) == (-123_400_000, 56_780_000)


@pytest.mark.parametrize("fix", [0, 1])
def test_no_fix_is_no_place(fix):
    assert fixes(Payload(0, 1000, gps5([VALENCE], fix=fix))) == []


def test_stream_that_says_nothing_of_its_fix_is_believed():
    assert len(fixes(Payload(0, 1000, gps5([VALENCE], fix=None, time=None)))) == 1


@pytest.mark.parametrize("row", [(0, 0), (910_000_000, 0), (0, 1_810_000_000)])
def test_empty_and_impossible_places_are_left_out(row):
    assert fixes(Payload(0, 1000, gps5([row]))) == []


@pytest.mark.parametrize("time", [b"261322201405.250", b"not a time at al", b"26112220140\xff.250"])
def test_nonsense_time_leaves_the_place(time):
    found = fixes(Payload(0, 1000, gps5([VALENCE], time=time)))
    assert [fix.at for fix in found] == [None]


def test_first_fix_is_the_first_good_one():
    journey = read([Payload(0, 1000, gps5([VALENCE], fix=0)), Payload(1000, 1000, gps5([(1, 2)]))])
    assert journey.first is not None
    assert journey.first.t_ms == 1000
    assert journey.track == ((1000, 1, 2),)


def gps9(fix: int) -> bytes:
    row = struct.pack(">7i2H", *VALENCE, 0, 0, 0, 9_822, 72_845_500, 150, fix)
    stream = klv(b"TYPE", "c", 1, b"lllllllSS")
    stream += klv(b"SCAL", "l", 4, struct.pack(">9i", 10**7, 10**7, 1000, 1000, 100, 1, 1000, 100, 1))
    return nest(b"DEVC", nest(b"STRM", stream + klv(b"GPS9", "?", 32, row)))


def test_gps9():
    found = fixes(Payload(0, 1000, gps9(3)))
    assert (found[0].latitude_e7, found[0].longitude_e7) == VALENCE
    assert found[0].at == datetime(2026, 11, 22, 20, 14, 5, 500_000, tzinfo=UTC)
    assert found[0].precision == 150


def test_gps9_without_fix():
    assert fixes(Payload(0, 1000, gps9(0))) == []


def karma(system_time: bool) -> bytes:
    row = struct.pack(">QiiiHHHHBB", 1, *VALENCE, 0, 0, 0, 0, 0, 3, 20)
    place = klv(b"TYPE", "c", 1, b"JlllSSSSBB")
    place += klv(b"SCAL", "l", 4, struct.pack(">10i", 10**6, 10**7, 10**7, 1000, 100, 100, 100, 100, 1, 1))
    place += klv(b"GPRI", "?", 30, row)
    clock = klv(b"TYPE", "c", 1, b"JJ") + klv(b"SCAL", "l", 4, struct.pack(">2i", 10**6, 1000))
    clock += klv(b"SYST", "?", 16, struct.pack(">QQ", 5, 1_492_457_278_000))
    return nest(b"DEVC", nest(b"STRM", place) + (nest(b"STRM", clock) if system_time else b""))


@pytest.mark.parametrize(("clock", "at"), [(True, datetime(2017, 4, 17, 19, 27, 58, tzinfo=UTC)), (False, None)])
def test_karma(clock, at):
    found = fixes(Payload(0, 1000, karma(clock)))
    assert [(fix.latitude_e7, fix.longitude_e7, fix.at) for fix in found] == [(*VALENCE, at)]


def test_track_is_bounded():
    many = [Payload(at, 1, gps5([VALENCE] * 1000)) for at in range(12)]
    assert len(read(many).track) == MAX_POINTS


def test_depth_is_bounded():
    data = gps5([VALENCE])
    for _ in range(20):
        data = nest(b"DEVC", data)
    assert fixes(Payload(0, 0, data)) == []


@given(st.binary(max_size=400))
def test_garbage_gives_nothing(data):
    assert read([Payload(0, 1000, data)]).first is None
    list(items(data))


@given(st.data())
def test_damaged_telemetry_never_raises(data):
    whole = bytearray(data.draw(st.sampled_from([gps5([VALENCE] * 3), gps9(3), karma(True)])))
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    for fix in fixes(Payload(0, 1000, bytes(whole[:cut]))):
        assert abs(fix.latitude_e7) <= 900_000_000
        assert abs(fix.longitude_e7) <= 1_800_000_000
