"""Decoding that survives damage: frames of a recording in order, passing over what is broken. Media child only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

Media = VideoFrame | AudioFrame
Playable = VideoStream | AudioStream

_LOOK_PACKETS: Final = 3_000
_RATES: Final = (Fraction(1), Fraction(240))
_USUAL_RATE: Final = Fraction(25)
_THREADS: Final = 2


@dataclass(frozen=True)
class Look:
    """First decodable frame of picture and of sound, and what the container says of them.

    `aspect` is a pixel's width over its height; `rate` frames a second, between 1 and 240; `origin` the instant, in
    seconds, of the earlier of the two frames.
    """

    picture: VideoFrame | None
    sound: AudioFrame | None
    aspect: Fraction | None
    rate: Fraction
    channels: int
    origin: Fraction


def look(container: InputContainer) -> Look:
    """What can be decoded of `container`'s first picture and first sound, within its first 3,000 packets' frames."""
    streams: list[Playable] = [*container.streams.video[:1], *container.streams.audio[:1]]
    picture: VideoFrame | None = None
    sound: AudioFrame | None = None
    for number, (_, frame) in enumerate(decoded(container, streams)):
        if isinstance(frame, VideoFrame):
            picture = picture or frame
        else:
            sound = sound or frame
        found = (picture is not None) + (sound is not None)
        if found == len(streams) or number >= _LOOK_PACKETS:
            break
    shown = container.streams.video[0] if picture is not None else None
    begun = [moment for moment in map(_maybe_instant, (picture, sound)) if moment is not None]
    return Look(
        picture=picture,
        sound=sound,
        aspect=shown.sample_aspect_ratio if shown else None,
        rate=_rate(shown),
        channels=len(sound.layout.channels) if sound is not None else 0,
        origin=min(begun, default=Fraction(0)),
    )


def decoded(container: InputContainer, streams: list[Playable]) -> Iterator[tuple[int, Media]]:
    """Frames of `streams` in the file's order, each with the number of damaged packets met so far.

    Raises MemoryError; every other fault of the file ends or shortens the iteration.
    """
    for stream in streams:
        stream.codec_context.thread_count = _THREADS
        stream.codec_context.thread_type = "AUTO"
    damage = 0
    packets: Iterator[Packet[Any]] = container.demux(streams) if streams else iter(())
    while True:
        packet, broken = _next(packets)
        damage += broken
        if packet is None:
            break
        frames, broken = _frames(packet.stream, packet)
        damage += broken
        for frame in frames:
            yield damage, frame
    for stream in streams:
        for frame in _frames(stream, None)[0]:
            yield damage, frame


def instant(frame: Media) -> Fraction | None:
    """When the frame is shown, in seconds of the file's clock; None when the file does not say."""
    if frame.pts is None or frame.time_base is None:
        return None
    return frame.pts * frame.time_base


def _maybe_instant(frame: Media | None) -> Fraction | None:
    return None if frame is None else instant(frame)


def _rate(stream: VideoStream | None) -> Fraction:
    rate = stream.average_rate or stream.guessed_rate if stream is not None else None
    return min(max(rate, _RATES[0]), _RATES[1]).limit_denominator(1001) if rate else _USUAL_RATE


def _next(packets: Iterator[Packet[Any]]) -> tuple[Packet[Any] | None, bool]:
    try:
        return next(packets, None), False
    except MemoryError:
        raise
    except (av.error.FFmpegError, EOFError):
        return None, True


def _frames(stream: Playable, packet: Packet[Playable] | None) -> tuple[list[Media], bool]:
    try:
        return list(stream.decode(packet)), False
    except MemoryError:
        raise
    except EOFError:  # flushed already
        return [], False
    except (av.error.FFmpegError, ValueError):
        return [], True
