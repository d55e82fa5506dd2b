"""Recordings for the media tests: honest ones, filmed once, and hostile ones made from them.

`python tests/unit/ingest/media_helpers.py` writes the hostile files of tests/golden/media again.
"""

from __future__ import annotations

import io
import json
import struct
import tempfile
from datetime import UTC, datetime
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np

from bwc.demonstration.footage import cut_short, footage

START = datetime(2026, 11, 22, 20, 14, 5, tzinfo=UTC)
GOLDEN = Path(__file__).parents[2] / "golden" / "media"


@cache
def clip(seconds: float = 3.0, *, container: str = "mp4", gps: bool = True) -> bytes:
    """A small honest recording."""
    return footage(
        START,
        seconds,
        "CAM 07",
        width=320,
        height=180,
        fps=10,
        gps=("44.9334", "4.8924") if gps else None,
        container=container,
    )


@cache
def index_first(seconds: float = 1.0) -> bytes:
    """The same recording with its index before its media."""
    with tempfile.NamedTemporaryFile(suffix=".mp4") as held:
        with (
            av.open(io.BytesIO(clip(seconds, gps=False))) as source,
            av.open(held.name, "w", options={"movflags": "faststart"}) as output,
        ):
            streams = {stream.index: output.add_stream_from_template(stream) for stream in source.streams}
            for packet in source.demux():
                if packet.dts is not None:
                    packet.stream = streams[packet.stream.index]
                    output.mux(packet)
        return Path(held.name).read_bytes()


def box(kind: bytes, body: bytes = b"", *, length: int | None = None) -> bytes:
    return struct.pack(">I4s", 8 + len(body) if length is None else length, kind) + body


def nested(kind: bytes, levels: int) -> bytes:
    """`levels` boxes, each in the one before."""
    return b"".join(struct.pack(">I4s", 8 * (levels - level), kind) for level in range(levels))


def patched(data: bytes, kind: bytes, offset: int, value: bytes) -> bytes:
    """`data` with `value` written `offset` bytes after the first `kind`."""
    at = data.index(kind) + 4 + offset
    return data[:at] + value + data[at + len(value) :]


def colour_film(
    frames: list[tuple[int, int]], *, width: int, height: int, codec: str = "libx264", **more: object
) -> bytes:
    """An MP4 whose frames have given (time stamp, brightness) in thousandths of a second."""
    held = io.BytesIO()
    with av.open(held, "w", format=str(more.get("container", "mp4"))) as output:
        stream = output.add_stream(codec, rate=25)
        stream.codec_context.width, stream.codec_context.height = width, height
        stream.codec_context.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        if "turn" in more:
            stream.set_display_rotation(float(str(more["turn"])))
        for at, light in frames:
            plane = np.full((height * 3 // 2, width), 128, np.uint8)
            plane[:height] = light
            plane[: height // 2, : width // 2] = 235  # the upper left corner is white
            frame = av.VideoFrame.from_ndarray(plane, format="yuv420p")
            frame.pts, frame.time_base = at, Fraction(1, 1000)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return held.getvalue()


def hostile() -> dict[str, tuple[bytes, dict[str, object]]]:
    """Every hostile file by name, with what must be found of it."""
    small = clip(1.0, gps=False)
    first = index_first()
    index = small[small.index(b"moov") - 4 :]
    truncated = {"readable": False, "reason": "truncated", "truncated": True}
    bomb = {"readable": False, "reason": "bomb"}
    other = {"readable": False, "reason": "not_media"}
    return {
        "empty.mp4": (b"", {"readable": False, "reason": "empty"}),
        "one_byte.mp4": (b"\0", other),
        "garbage.mp4": (np.random.default_rng(1).bytes(4096), other),
        "page.html": (b"<html><script>alert(1)</script></html>" * 20, other),
        "power_cut.mp4": (cut_short(small), truncated),
        "index_alone.mp4": (box(b"ftyp", b"isom\0\0\2\0isom") + index, truncated),
        "cut_after_index.mp4": (first[: len(first) * 3 // 4], {"readable": True, "truncated": True}),
        "size64_lie.mp4": (_size64_lie(small), {"readable": True, "truncated": True}),
        "size64_without_end.mp4": (
            box(b"ftyp", b"isom\0\0\2\0isom") + struct.pack(">I4sQ", 1, b"mdat", 2**64 - 1) + bytes(64),
            truncated,
        ),
        "box_of_no_length.mp4": (box(b"ftyp", b"isom\0\0\2\0isom") + box(b"moov", length=4) + bytes(64), truncated),
        "nested_boxes.mp4": (box(b"ftyp", b"isom\0\0\2\0isom") + box(b"moov", nested(b"trak", 1000)), bomb),
        "nested_at_top.mp4": (box(b"ftyp", b"isom\0\0\2\0isom") + nested(b"trak", 1000), other),
        "many_boxes.mp4": (box(b"ftyp", b"isom\0\0\2\0isom") + box(b"free") * 20_001, bomb),
        "samples_2_32.mp4": (patched(small, b"stsz", 8, b"\xff\xff\xff\xff"), bomb),
        "samples_2_32_of_one_size.mp4": (patched(small, b"stsz", 4, b"\xff\xff\xff\xff" * 2), bomb),
        "chunks_2_32.mp4": (patched(small, b"stco", 4, b"\xff\xff\xff\xff"), bomb),
        "hundred_hours.mp4": (
            _hundred_hours(small),
            {"readable": True, "duration_ms": 360_000_000},
        ),
        "title_of_control_characters.mp4": (_titled(), {"readable": True}),
    }


def _timescale(data: bytes) -> int:
    return int(struct.unpack_from(">I", data, data.index(b"mdhd") + 16)[0])


def _hundred_hours(data: bytes) -> bytes:
    """Ten pictures ten hours apart, and every duration says so."""
    ticks = _timescale(data)
    for kind, offset, value in (
        (b"mvhd", 16, 360_000_000),
        (b"tkhd", 20, 360_000_000),
        (b"elst", 8, 360_000_000),
        (b"mdhd", 16, 360_000 * ticks),
        (b"stts", 12, 36_000 * ticks),
    ):
        data = patched(data, kind, offset, struct.pack(">I", value))
    return data


def _size64_lie(data: bytes) -> bytes:
    """Index first, then media that claims a terabyte."""
    first = index_first()
    at = first.index(b"mdat") - 4
    return first[:at] + struct.pack(">I4sQ", 1, b"mdat", 1 << 40) + first[at + 16 :]


def _titled() -> bytes:
    held = io.BytesIO()
    with av.open(io.BytesIO(clip(1.0, gps=False))) as source, av.open(held, "w", format="mov") as output:
        output.metadata["title"] = "<script>alert(1)</script>\x07\x1b[31m" + "A" * 5000
        output.metadata["creation_time"] = "2026-11-22T20:14:05.000000Z"
        stream = output.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                output.mux(packet)
    return held.getvalue()


def write_golden() -> None:
    GOLDEN.mkdir(parents=True, exist_ok=True)
    expected = {}
    for name, (data, facts) in hostile().items():
        (GOLDEN / name).write_bytes(data)
        expected[name] = facts
    (GOLDEN / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    write_golden()
