"""The file that is taken in: a second of film, then random bytes in a box that players skip.

Random bytes alone would be guessed at by every demuxer in turn, which no camera's file is.
"""

from __future__ import annotations

import io
import os
import secrets
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

MIB = 1 << 20


def write_source(path: Path, size: int) -> None:
    """A readable MP4 of exactly `size` bytes, incompressible, on the disk when this returns."""
    film = _film()
    left = size - len(film)
    with path.open("wb") as file:
        file.write(film + struct.pack(">I4sQ", 1, b"free", left))
        left -= 16
        while left:
            count = min(left, MIB)
            file.write(secrets.token_bytes(count))
            left -= count
        file.flush()
        os.fsync(file.fileno())


def _film() -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 25)
        for number in range(25):
            picture = np.full((180, 320, 3), number * 10, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return out.getvalue()
