"""Reads a file's facts: runs in the media child only, where a crash costs nothing.

First our own look at the boxes (is it whole, is it a bomb), then MediaInfo for what the container says, then FFmpeg
for the places MediaInfo does not read (`loci`, the `gpmd` telemetry). The parent checks what comes out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from xml.etree import ElementTree

import av
import av.logging
from av.container import InputContainer
from av.stream import Discard
from pymediainfo import MediaInfo

from bwc.ingest import gpmf
from bwc.ingest.media_boxes import Survey, survey
from bwc.ingest.media_facts import MAX_TRACKS, MediaFacts, PlaceSource, Track, Unreadable, clean
from bwc.ingest.media_wire import RemoteSource, Reporter

DEMUXERS: Final = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,asf,flv,ogg,wav,mp3,aac,h264,hevc,mjpeg,"
    "image2,jpeg_pipe,png_pipe,mxf,dv,amr"
)
"""Containers FFmpeg may recognise: none that refers to another file."""

_MAX_PACKETS: Final = 100_000
_MAX_TELEMETRY: Final = 64 << 20
_DAY_MS: Final = 86_400_000
_ISO_6709: Final = re.compile(r"([+-]\d{1,2}(?:\.\d{1,12})?)([+-]\d{1,3}(?:\.\d{1,12})?)(?![\d.])")
_LOCATION_KEYS: Final = ("com.apple.quicktime.location.ISO6709", "location")

MediaInfo.can_parse()
av.logging.set_level(None)  # FFmpeg's threads must not call back into Python: they would wait for each other


def probe(source: RemoteSource, size: int, options: Mapping[str, Any], reporter: Reporter) -> dict[str, Any]:
    """Facts of `source` as `MediaFacts.to_json` writes them."""
    shape = survey(source, size)
    if shape.bomb:
        return _unreadable("bomb", shape)
    if shape.recognised and shape.truncated and not (shape.has_index and shape.has_content) and not shape.fragmented:
        return _unreadable("truncated", shape)
    facts = _said_by_mediainfo(source)
    facts = _said_by_ffmpeg(source, facts, shape)
    kinds = {track.kind for track in facts.tracks}
    if not kinds & {"video", "audio", "image"}:
        return _unreadable("truncated" if shape.truncated else "not_media", shape)
    flags = [name for name, kind in (("no_video", "video"), ("no_sound", "audio")) if kind not in kinds]
    if facts.duration_ms is not None and facts.duration_ms > _DAY_MS:
        flags.append("long_duration")
    truncated = shape.truncated or facts.truncated
    return replace(facts, readable=True, truncated=truncated, flags=tuple(flags)).to_json()


def open_media(source: RemoteSource) -> InputContainer:
    """FFmpeg's view of `source`; no other file, no network. Raises av.error.FFmpegError when it is not media."""
    source.seek(0)
    return av.open(
        source,
        "r",
        metadata_errors="replace",
        container_options={"format_whitelist": DEMUXERS, "protocol_whitelist": "none"},
        buffer_size=1 << 16,
    )


def _unreadable(reason: Unreadable, shape: Survey) -> dict[str, Any]:
    container = "MPEG-4" if shape.recognised else ""
    facts = MediaFacts(readable=False, reason=reason, container=container, truncated=shape.truncated)
    return facts.to_json()


def _said_by_mediainfo(source: RemoteSource) -> MediaFacts:
    source.seek(0)
    try:
        found = MediaInfo.parse(source, parse_speed=0.25, encoding_errors="replace").tracks
    except (ElementTree.ParseError, RuntimeError, ValueError):
        return MediaFacts(readable=False)
    by_kind: dict[str, dict[str, Any]] = {}
    for track in found:
        by_kind.setdefault(str(track.track_type), track.to_data())
    general = by_kind.get("General", {})
    picture = by_kind.get("Video") or by_kind.get("Image") or {}
    sound = by_kind.get("Audio", {})
    text, claim = _claimed_date(general, picture)
    return MediaFacts(
        readable=False,
        container=clean(general.get("format")),
        device=_device(general),
        duration_ms=_longest(picture, sound) or _whole(general.get("duration")),
        video_codec=clean(picture.get("format")),
        width=_whole(picture.get("width")),
        height=_whole(picture.get("height")),
        frame_rate_milli=_whole(picture.get("frame_rate"), 1000),
        rotation=(_whole(picture.get("rotation")) or 0) % 360,
        audio_codec=clean(sound.get("format")),
        audio_channels=_whole(sound.get("channel_s")),
        audio_rate=_whole(sound.get("sampling_rate")),
        started_claim=claim,
        started_text=text,
        truncated=general.get("istruncated") == "Yes",
        tracks=tuple(_tracks(found)),
    )


def _tracks(found: list[Any]) -> Iterator[Track]:
    listed = [track for track in found if track.track_type not in ("General", "Menu")]
    for track in listed[:MAX_TRACKS]:
        data = track.to_data()
        yield Track(
            kind=clean(data.get("track_type")).lower(),
            codec=clean(data.get("codec_id") or data.get("format")),
            title=clean(data.get("title")),
            duration_ms=_whole(data.get("duration")),
        )


def _device(general: Mapping[str, Any]) -> str:
    names = ("performer", "make", "comapplequicktimemake", "model", "comapplequicktimemodel")
    return clean(" ".join(str(general[name]) for name in names if general.get(name)))


def _claimed_date(*tracks: Mapping[str, Any]) -> tuple[str, datetime | None]:
    """The first date written in `tracks`, as text, and as an instant when it says UTC."""
    names = ("encoded_date", "recorded_date", "mastered_date", "tagged_date")
    text = next((clean(track[name]) for track in tracks for name in names if track.get(name)), "")
    match = re.fullmatch(r"(?:UTC )?(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d(?:\.\d{1,6})?) ?(?:UTC|Z)?", text)
    if match is None or not ("UTC" in text or text.endswith("Z")):
        return text, None
    try:
        return text, datetime.fromisoformat(f"{match[1]}T{match[2]}").replace(tzinfo=UTC)
    except ValueError:
        return text, None


def _whole(raw: object, times: int = 1) -> int | None:
    """`raw` times `times` as a whole number from 0 to 2^53, or None."""
    try:
        value = Decimal(str(raw)) * times
    except InvalidOperation:
        return None
    return int(value) if value.is_finite() and 0 <= value <= 2**53 else None


def _longest(*tracks: Mapping[str, Any]) -> int | None:
    """Duration of picture or sound in milliseconds: telemetry tracks often run past both."""
    return max((_whole(track.get("duration")) or 0 for track in tracks), default=0) or None


def _said_by_ffmpeg(source: RemoteSource, facts: MediaFacts, shape: Survey) -> MediaFacts:
    """`facts` with the place, the journey, and the tracks when MediaInfo saw none."""
    try:
        with open_media(source) as container:
            if not facts.tracks:
                facts = replace(facts, **_streams(container))
            facts = _placed(facts, container, shape)
            return _travelled(facts, container)
    except (av.error.FFmpegError, EOFError, ValueError):
        return facts


def _streams(container: InputContainer) -> dict[str, Any]:
    tracks = [Track(kind=stream.type, codec=clean(stream.name)) for stream in list(container.streams)[:MAX_TRACKS]]
    duration = container.duration // 1000 if container.duration and container.duration > 0 else None
    picture = next(iter(container.streams.video), None)
    found: dict[str, Any] = {
        "tracks": tuple(tracks),
        "duration_ms": duration,
        "container": clean(container.format.name),
    }
    if picture is not None:
        found |= {"width": picture.width, "height": picture.height, "video_codec": clean(picture.codec_context.name)}
    return found


def _placed(facts: MediaFacts, container: InputContainer, shape: Survey) -> MediaFacts:
    for key in _LOCATION_KEYS:
        place = place_of(container.metadata.get(key, ""))
        if place is not None:
            return replace(facts, latitude_e7=place[0], longitude_e7=place[1], place_source=_origin(key, shape))
    return facts


def _origin(key: str, shape: Survey) -> PlaceSource:
    if key != "location":
        return "mdta"
    return "©xyz" if "©xyz" in shape.places else "loci"


def place_of(text: str) -> tuple[int, int] | None:
    """Ten-millionths of a degree from ISO 6709 decimal degrees (`+48.8566+002.3522/`); None for 0, 0 or nonsense."""
    match = _ISO_6709.match(text.strip())
    if match is None:
        return None
    latitude, longitude = (int(Decimal(part).scaleb(7)) for part in match.groups())
    if abs(latitude) > 900_000_000 or abs(longitude) > 1_800_000_000 or (latitude, longitude) == (0, 0):
        return None
    return latitude, longitude


def _travelled(facts: MediaFacts, container: InputContainer) -> MediaFacts:
    journey = gpmf.read(_telemetry(container))
    if journey.first is None:
        return facts
    seconds: dict[int, tuple[int, int, int]] = {}
    for point in journey.track:
        seconds.setdefault(point[0] // 1000, point)
    return replace(
        facts,
        latitude_e7=journey.first.latitude_e7,
        longitude_e7=journey.first.longitude_e7,
        gps_fixed_at=journey.first.at,
        place_source="gpmd",
        journey=tuple(seconds.values()),
    )


def _telemetry(container: InputContainer) -> Iterator[gpmf.Payload]:
    """GPMF packets of the data streams, within fixed counts; the other streams' bytes are not read."""
    streams = [stream for stream in container.streams if stream.type == "data"]
    if not streams:
        return
    for stream in container.streams:
        stream.discard = Discard.default if stream in streams else Discard.all
    met = taken = 0
    for packet in container.demux(streams):
        met += 1
        if met > _MAX_PACKETS or taken > _MAX_TELEMETRY:
            return
        if packet.size < 8 or packet.pts is None or packet.time_base is None:
            continue
        data = bytes(packet)
        if data.startswith(b"DEVC"):
            taken += len(data)
            start = int(packet.pts * packet.time_base * 1000)
            yield gpmf.Payload(start, int((packet.duration or 0) * packet.time_base * 1000), data)
