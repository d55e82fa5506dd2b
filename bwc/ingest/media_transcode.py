"""Makes a poster or a proxy from a recording: runs in the media child only.

A proxy keeps the original's timeline: every decoded frame keeps its instant, sound is placed by its time stamps (gaps
become silence), so a mark put on the proxy is right on the original. What cannot be decoded is left out and counted.
"""

from __future__ import annotations

import errno
import io
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Final

import av
from av.audio.frame import AudioFrame
from av.container import InputContainer, OutputContainer
from av.filter import Graph
from av.video.codeccontext import VideoCodecContext
from av.video.format import VideoFormat
from av.video.frame import PictureType, VideoFrame
from PIL import Image

from bwc.ingest.media_decode import Look, Playable, decoded, instant, look
from bwc.ingest.media_probe import open_media
from bwc.ingest.media_sound import Sound
from bwc.ingest.media_wire import RemoteSource, Reporter
from bwc.ingest.spool import SealedSpool, SpoolView

CLOCK: Final = 90_000
"""Ticks a second of a proxy's picture."""

KEY_EVERY: Final = 2 * CLOCK
PROXY_HEIGHT: Final = 540
PROXY_WIDTH: Final = 1280
POSTER_WIDTH: Final = 640

_LONGEST: Final = 3600 * CLOCK
_POSTER_FRAMES: Final = 300
_OUT_CHUNK: Final = 256 * 1024
_UPRIGHT: Final = {90: "transpose=cclock", 180: "hflip,vflip", 270: "transpose=clock"}
_BT709: Final = 1
_UNSPECIFIED: Final = 2

Image.init()


def poster(source: RemoteSource, size: int, options: Mapping[str, Any], reporter: Reporter) -> dict[str, Any]:
    """Send one JPEG: the frame at one second, or the last decodable before; reports `{"made": bool}`."""
    try:
        with open_media(source) as container:
            frame, aspect = _frame_at_one_second(container)
    except (av.error.FFmpegError, EOFError) as error:
        if isinstance(error, MemoryError):
            raise
        frame, aspect = None, None
    if frame is None:
        return {"made": False}
    width, height = _shown(frame, aspect)
    if frame.rotation % 180:
        height, width = fit(height, width, POSTER_WIDTH, 2 * POSTER_WIDTH)
    else:
        width, height = fit(width, height, POSTER_WIDTH, 2 * POSTER_WIDTH)
    picture = Image.fromarray(frame.reformat(width=width, height=height, format="rgb24").to_ndarray())
    held = io.BytesIO()
    picture.rotate(frame.rotation % 360, expand=True).save(held, "JPEG", quality=82)
    reporter.chunk(held.getvalue())
    return {"made": True}


def proxy(source: RemoteSource, size: int, options: Mapping[str, Any], reporter: Reporter) -> dict[str, Any]:
    """Send an MP4 of H.264 and AAC; reports as `bwc.ingest.derive.ProxyResult` reads it."""
    with SealedSpool(int(options["spool"]), limit=int(options["spool_bytes"])) as spool:
        try:
            with open_media(source) as container:
                seen = look(container)
        except (av.error.FFmpegError, EOFError) as error:
            if isinstance(error, MemoryError):
                raise
            return {"made": False, "reason": "not_media"}
        if seen.picture is None and seen.sound is None:
            return {"made": False, "reason": "nothing_decodable"}
        try:
            with open_media(source) as container:
                made = _transcode(container, seen, spool, reporter)
        except av.error.FFmpegError as error:
            if spool.full:
                raise OSError(errno.EFBIG, "the proxy is larger than its limit") from error
            raise
        _send(spool, reporter)
        return made | {"made": True, "bytes": spool.size}


def fit(width: int, height: int, widest: int, highest: int) -> tuple[int, int]:
    """Largest even size of the same shape within `widest` and `highest`, never larger than given, at least 2 x 2."""
    ratio = min(Fraction(1), Fraction(widest, max(1, width)), Fraction(highest, max(1, height)))
    return max(2, 2 * round(width * ratio / 2)), max(2, 2 * round(height * ratio / 2))


def _shown(frame: VideoFrame, aspect: Fraction | None) -> tuple[int, int]:
    """Width and height in square pixels, before rotation; `aspect` is one pixel's width over its height."""
    usable = aspect is not None and Fraction(1, 8) <= aspect <= 8
    return (round(frame.width * aspect) if usable and aspect else frame.width), frame.height


def _frame_at_one_second(container: InputContainer) -> tuple[VideoFrame | None, Fraction | None]:
    stream = next(iter(container.streams.video), None)
    if stream is None:
        return None, None
    last = None
    begun: Fraction | None = None
    for number, (_, frame) in enumerate(decoded(container, [stream])):
        if isinstance(frame, VideoFrame):
            last = frame
        now = instant(frame)
        begun = now if begun is None else begun
        if number >= _POSTER_FRAMES or (now is not None and begun is not None and now - begun >= 1):
            break
    return last, stream.sample_aspect_ratio


class _Picture:
    """The proxy's picture track: scaled, upright, each frame at its own instant."""

    def __init__(self, output: OutputContainer, seen: Look, origin: Fraction) -> None:
        frame = seen.picture
        if frame is None:
            raise AssertionError("no picture to encode")
        self._output = output
        self._origin = origin
        self._turn = frame.rotation % 360
        width, height = _shown(frame, seen.aspect)
        if self._turn % 180:
            tall, wide = fit(height, width, PROXY_WIDTH, PROXY_HEIGHT)
            self._scaled, self.size = (wide, tall), (tall, wide)
        else:
            self._scaled = self.size = fit(width, height, PROXY_WIDTH, PROXY_HEIGHT)
        self._stream = output.add_stream(
            "libx264", rate=seen.rate, options={"preset": "veryfast", "crf": "26", "forced-idr": "1"}
        )
        self._set_up(self._stream.codec_context, frame)
        self._upright = self._graph() if self._turn in _UPRIGHT else None
        self._step = round(CLOCK / seen.rate)
        self._next_key = 0
        self._last = -1
        self.end = 0
        self.frames = 0

    def take(self, frame: VideoFrame) -> None:
        """Encode one decoded frame; one that does not come after the last is dropped, and a jump of more than an hour
        is not believed: the frame comes next.
        """
        now = instant(frame)
        at = self.end if now is None else round((now - self._origin) * CLOCK)
        if at - self._last > _LONGEST and now is not None:
            self._origin = now - Fraction(self.end, CLOCK)
            at = self.end
        if at <= self._last:
            return
        lasts = frame.duration * frame.time_base * CLOCK if frame.duration and frame.time_base else self._step
        ready = self._prepared(frame)
        ready.pts, ready.time_base, ready.duration = at, Fraction(1, CLOCK), min(max(1, round(lasts)), _LONGEST)
        ready.pict_type = PictureType.I if at >= self._next_key else PictureType.NONE
        if at >= self._next_key:
            self._next_key = at + KEY_EVERY
        self._last, self.end = at, at + ready.duration
        self.frames += 1
        self._output.mux(self._stream.encode(ready))

    def finish(self) -> None:
        """Encode what the encoder still holds."""
        self._output.mux(self._stream.encode(None))

    def _set_up(self, encoder: VideoCodecContext, frame: VideoFrame) -> None:
        encoder.width, encoder.height = self.size
        encoder.pix_fmt = "yuv420p"
        encoder.time_base = Fraction(1, CLOCK)
        encoder.gop_size = 600
        encoder.thread_count = 2
        known = frame.colorspace not in (0, _UNSPECIFIED)
        encoder.colorspace = frame.colorspace if known else (_BT709 if frame.height >= 720 else _UNSPECIFIED)

    def _prepared(self, frame: VideoFrame) -> VideoFrame:
        scaled = frame.reformat(width=self._scaled[0], height=self._scaled[1], format="yuv420p", dst_color_range="MPEG")
        if self._upright is None:
            return scaled
        scaled.pts = scaled.pts or 0
        self._upright.push(scaled)
        turned = self._upright.pull()
        if not isinstance(turned, VideoFrame):
            raise TypeError("a video filter gives video frames")
        return turned

    def _graph(self) -> Graph:
        graph = Graph()
        source = graph.add_buffer(
            width=self._scaled[0], height=self._scaled[1], format=VideoFormat("yuv420p"), time_base=Fraction(1, CLOCK)
        )
        chain = [graph.add(name) for name in _UPRIGHT[self._turn].split(",") if "=" not in name]
        chain += [graph.add(*name.split("=")) for name in _UPRIGHT[self._turn].split(",") if "=" in name]
        graph.link_nodes(source, *chain, graph.add("buffersink")).configure()
        return graph


def _transcode(container: InputContainer, seen: Look, spool: SealedSpool, reporter: Reporter) -> dict[str, Any]:
    total = Fraction(container.duration or 0, 1_000_000)

    def second_view(url: str, flags: int, options: dict[str, str]) -> SpoolView:
        return spool.view()

    with av.open(
        spool, "w", format="mp4", options={"movflags": "faststart"}, buffer_size=1 << 16, io_open=second_view
    ) as output:
        origin = seen.origin
        picture = _Picture(output, seen, origin) if seen.picture is not None else None
        sound = Sound(output, seen.channels, origin) if seen.sound is not None else None
        wanted: list[Playable] = [
            *container.streams.video[: picture is not None],
            *container.streams.audio[: sound is not None],
        ]
        damage = 0
        for damage, frame in decoded(container, wanted):  # noqa: B007 - the count so far
            if isinstance(frame, VideoFrame) and picture is not None:
                picture.take(frame)
            elif isinstance(frame, AudioFrame) and sound is not None:
                sound.take(frame)
            now = instant(frame)
            if total > 0 and now is not None:
                reporter.progress(int((now - origin) * 1000 / total))
        for track in (picture, sound):
            if track is not None:
                track.finish()
    reporter.progress(1000)
    return _account(picture, sound, damage)


def _account(picture: _Picture | None, sound: Sound | None, damage: int) -> dict[str, Any]:
    lengths = [Fraction(picture.end, CLOCK) if picture else Fraction(0), sound.seconds if sound else Fraction(0)]
    return {
        "duration_ms": int(max(lengths) * 1000),
        "width": picture.size[0] if picture else 0,
        "height": picture.size[1] if picture else 0,
        "frames": picture.frames if picture else 0,
        "sound": sound is not None,
        "damaged": damage,
    }


def _send(spool: SealedSpool, reporter: Reporter) -> None:
    spool.seek(0)
    while data := spool.read(_OUT_CHUNK):
        reporter.chunk(data)
