"""Demonstration footage: recordings as a body camera leaves them, of a street and people that do not exist.

For `make up`, the screenshots and the tests. Every picture bears its own clock, so that a mark, an extract or a
proxy can be checked by eye against the time it claims.
"""

from __future__ import annotations

import io
import struct
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, Final

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from bwc.core.clock import PARIS, as_utc
from bwc.demonstration.footage_paint import Bytes, font, plain
from bwc.demonstration.footage_scene import Reel, looped, scene

SOUND_RATE: Final = 32_000
BEEP_S: Final = 0.08
"""Length of the beep that begins each second of the recording."""

BEEP_HZ: Final = 1000
CLUSTER: Final = 32 * 1024
_SMPTE_170M: Final = 6


def make_footage(
    target: Path | BinaryIO,
    start: datetime,
    duration_s: float,
    camera_label: str,
    *,
    width: int = 1280,
    height: int = 720,
    fps: Fraction | float = 25,
    seed: int = 1,
    gps: tuple[str, str] | None = None,
    night: bool | None = None,
    container: str = "mp4",
    loop_s: float | None = None,
) -> None:
    """Write `duration_s` seconds of patrol begun at `start` to `target` as H.264 and AAC.

    `start` is aware; the burnt-in clock is Paris time. `width` and `height` are multiples of 4. `gps` is latitude and
    longitude in decimal text; in "mp4" it is written as `loci`, in "mov" as `©xyz`. `night` follows the hour by
    default. `seed` chooses the street by its tens and the patrol by itself, so that seeds 10 to 19 are one street.
    `loop_s` repeats the patrol (never the clock) after so many seconds: three times faster, in memory.
    Raises ValueError for a naive `start` or an odd size.
    """
    if width % 4 or height % 4:
        raise ValueError("width and height are multiples of 4")
    begun = as_utc(start)
    rate = Fraction(fps).limit_denominator(1001)
    local = begun.astimezone(PARIS)
    dark = not 8 <= local.hour < 19 if night is None else night
    with av.open(str(target) if isinstance(target, Path) else target, "w", format=container) as output:
        output.metadata["creation_time"] = begun.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        if gps is not None:
            output.metadata["location"] = f"{_signed(gps[0], 2)}{_signed(gps[1], 3)}/"
        picture = _picture_track(output, width, height, rate)
        sound = _sound_track(output)
        ambience = _Ambience(seed)
        stage = scene(width, height, dark, seed // 10)
        pictures = round(loop_s * rate) if loop_s else 0
        reel = looped(stage, float(rate), seed, pictures) if pictures else Reel(stage, duration_s, float(rate), seed, 0)
        overlay = _Overlay(width, height, camera_label)
        frame = VideoFrame(width, height, "yuv420p")
        canvas = np.zeros((height * 3 // 2, width), np.uint8)
        spoken = 0
        for number in range(max(1, round(duration_s * rate))):
            t = number / rate
            reel.picture(number, canvas)
            overlay.stamp(canvas, local + timedelta(seconds=float(t)), number)
            _fill(frame, canvas)
            frame.pts, frame.time_base = number, 1 / rate
            output.mux(picture.encode(frame))
            while Fraction(spoken, SOUND_RATE) <= t and spoken < duration_s * SOUND_RATE:
                length = min(SOUND_RATE // 4, round(duration_s * SOUND_RATE) - spoken)
                output.mux(sound.encode(ambience.block(spoken, length, reel.pace(number))))
                spoken += length
        output.mux(picture.encode(None))
        output.mux(sound.encode(None))


def footage(start: datetime, duration_s: float, camera_label: str, **settings: object) -> bytes:
    """`make_footage` in memory: the whole file. Same settings, same errors."""
    held = io.BytesIO()
    make_footage(held, start, duration_s, camera_label, **settings)  # type: ignore[arg-type]
    return held.getvalue()


def cut_short(recording: bytes, kept: Fraction | float = 0.6) -> bytes:
    """What a power cut leaves of `recording` (an MP4 whose index comes last) on a card.

    The file header and `kept` of the media, to a whole number of FAT clusters; the media's length not yet written
    (0), no index. Raises ValueError when `recording` has no media or has its index first.
    """
    position = 0
    while position + 8 <= len(recording):
        length, kind = struct.unpack_from(">I4s", recording, position)
        if length == 1:
            length = struct.unpack_from(">Q", recording, position + 8)[0]
        if kind == b"moov" or length < 8:
            break
        if kind == b"mdat":
            end = position + max(16, int(length * kept))
            if end > CLUSTER:
                end -= end % CLUSTER
            whole = bytearray(recording[:end])
            struct.pack_into(">I", whole, position, 0)
            return bytes(whole)
        position += length
    raise ValueError("not a recording whose media comes before its index")


def _signed(degrees: str, digits: int) -> str:
    """Decimal degrees as ISO 6709 wants them: a sign, `digits` whole digits, four decimals."""
    value = float(degrees)
    return f"{'-' if value < 0 else '+'}{abs(value):0{digits + 5}.4f}"


def _picture_track(output: OutputContainer, width: int, height: int, rate: Fraction) -> VideoStream:
    stream = output.add_stream("libx264", rate=rate, options={"preset": "ultrafast", "crf": "27"})
    encoder = stream.codec_context
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.colorspace = _SMPTE_170M
    encoder.gop_size = max(1, round(rate))
    encoder.max_b_frames = 0
    return stream


def _sound_track(output: OutputContainer) -> AudioStream:
    stream = output.add_stream("aac", rate=SOUND_RATE, layout="mono")
    stream.codec_context.bit_rate = 48_000
    return stream


def _fill(frame: VideoFrame, canvas: Bytes) -> None:
    """Copy planar YUV 4:2:0 into a frame's planes, whose lines may be padded."""
    frame.make_writable()
    high, wide = frame.height, frame.width
    parts = (
        canvas[:high],
        canvas[high : high + high // 4].reshape(high // 2, wide // 2),
        canvas[high + high // 4 :].reshape(high // 2, wide // 2),
    )
    for plane, part in zip(frame.planes, parts, strict=True):
        lines = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        lines[: part.shape[0], : part.shape[1]] = part


class _Overlay:
    """The camera's own writing on the picture: date and time to the second, its name, a red lamp."""

    def __init__(self, width: int, height: int, label: str) -> None:
        self._size = max(14, height // 26 // 2 * 2)
        self._width, self._height = width, height
        self._label = self._written(plain(label))
        self._clock: NDArray[np.uint8] | None = None
        self._second: datetime | None = None

    def stamp(self, canvas: Bytes, local: datetime, number: int) -> None:
        """Write on `canvas` the local time given."""
        second = local.replace(microsecond=0)
        if second != self._second or self._clock is None:
            self._second = second
            self._clock = self._written(second.strftime("%d/%m/%Y %H:%M:%S"))
        edge = self._size // 2 * 2
        self._lay(canvas, self._clock, edge, edge // 2)
        self._lay(canvas, self._label, self._width - edge - self._label.shape[1], edge // 2)
        self._lamp(canvas, edge, edge // 2 + self._size * 2, second.second % 2 == 0)

    def _written(self, text: str) -> NDArray[np.uint8]:
        letters = font(self._size)
        left, _, right, _ = letters.getbbox(text)
        picture = Image.new("L", (int(right - left) + self._size, int(self._size * 1.6)), 0)
        ImageDraw.Draw(picture).text((self._size / 2, self._size * 0.8), text, 255, letters, anchor="lm")
        return np.asarray(picture)

    def _lay(self, canvas: Bytes, text: NDArray[np.uint8], left: int, top: int) -> None:
        left = left // 2 * 2
        under = canvas[top : top + text.shape[0], left : left + text.shape[1]]
        dim = (under >> 1) + 8
        under[...] = np.where(text > 8, np.maximum(dim, (text.astype(np.uint16) * 235 >> 8).astype(np.uint8)), dim)
        high = self._height
        for row in (high, high + high // 4):
            plane = canvas[row : row + high // 4].reshape(high // 2, self._width // 2)
            part = plane[top // 2 : (top + text.shape[0]) // 2, left // 2 : (left + text.shape[1]) // 2]
            part[...] = (part >> 1) + 64

    def _lamp(self, canvas: Bytes, left: int, top: int, lit: bool) -> None:
        side = self._size // 2 // 2 * 2
        rows, columns = np.ogrid[:side, :side]
        round_ = (rows - side / 2 + 0.5) ** 2 + (columns - side / 2 + 0.5) ** 2 < side**2 / 4
        canvas[top : top + side, left : left + side][round_] = 100 if lit else 50
        high, half = self._height, round_[::2, ::2]
        for row, value in ((high, 100 if lit else 120), (high + high // 4, 220 if lit else 150)):
            plane = canvas[row : row + high // 4].reshape(high // 2, self._width // 2)
            plane[top // 2 : (top + side) // 2, left // 2 : (left + side) // 2][half] = value


class _Ambience:
    """The sound of a street: a low hum, steps while walking, a beep at the start of each second."""

    def __init__(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        long = 8 * SOUND_RATE
        spectrum = np.fft.rfft(random.standard_normal(long))
        pitch = np.fft.rfftfreq(long, 1 / SOUND_RATE)
        hum = np.fft.irfft(spectrum / np.maximum(40, pitch) ** 0.9, long)
        self._hum = (hum / np.abs(hum).max() * 0.16).astype(np.float32)
        t = np.arange(SOUND_RATE // 8) / SOUND_RATE
        thud = (
            random.standard_normal(len(t)) * np.exp(-t * 60) * 0.10 + np.sin(2 * np.pi * 70 * t) * np.exp(-t * 40) * 0.2
        )
        self._thud = thud.astype(np.float32)

    def block(self, first: int, length: int, pace: float) -> AudioFrame:
        """`length` samples from sample `first`."""
        at = np.arange(first, first + length)
        sound = self._hum[at % len(self._hum)].copy()
        within = at % SOUND_RATE
        beep = within < BEEP_S * SOUND_RATE
        sound[beep] += 0.22 * np.sin(2 * np.pi * BEEP_HZ * within[beep] / SOUND_RATE).astype(np.float32)
        stride = at % round(0.55 * SOUND_RATE)
        step = stride < len(self._thud)
        sound[step] += np.float32(pace) * self._thud[stride[step]]
        frame = AudioFrame.from_ndarray(sound[None, :].clip(-1, 1), format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = SOUND_RATE, first, Fraction(1, SOUND_RATE)
        return frame
