"""What a recording says of itself: duration, size of picture, claimed date, claimed place.

All of it is the camera's claim, read by a confined child from a file that may be hostile; none of it is believed for
a rule (docs/architecture.md, "Time is measured, not assumed"). Values only here; the reading is in
`bwc.ingest.media_probe`, which runs in the child.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any, Final, Literal, Self, get_args

from bwc.ingest.sandbox import Failed, Limits, Source, run

Unreadable = Literal["empty", "truncated", "not_media", "bomb", "timeout", "killed", "memory", "crashed", "refused"]
PlaceSource = Literal["©xyz", "loci", "mdta", "gpmd"]

FACTS_LIMITS: Final = Limits(cpu_s=30, wall_s=60.0)
MAX_TEXT: Final = 200
MAX_TRACKS: Final = 32
MAX_JOURNEY: Final = 10_000
_E7: Final = 10_000_000
_LARGEST: Final = 2**53


@dataclass(frozen=True)
class Track:
    """One track: `kind` is video, audio, image, text or other; `codec` and `title` are cleaned text."""

    kind: str
    codec: str
    title: str = ""
    duration_ms: int | None = None


MEDIA_TYPES: Final = {
    "MPEG-4": "video/mp4",
    "QuickTime": "video/quicktime",
    "WebM": "video/webm",
    "Matroska": "video/x-matroska",
    "AVI": "video/x-msvideo",
    "MPEG-TS": "video/mp2t",
    "Wave": "audio/wav",
    "MPEG Audio": "audio/mpeg",
}


@dataclass(frozen=True)
class MediaFacts:
    """Facts of one file, as its bytes state them.

    `readable` is false with a `reason` when nothing can be played from it as it stands. `frame_rate_milli` is frames
    per 1,000 seconds; `rotation` the clockwise quarter turn to show it upright, in degrees. `started_claim` is UTC
    and present only when the container calls its date UTC; `started_text` is that date as written, because many
    cameras write local time and call it UTC. Places are ten-millionths of a degree, WGS 84. `journey` is
    `(t_ms, latitude_e7, longitude_e7)`, one point a second at most. `truncated`: the file stops before its end.
    `flags`: `long_duration` (more than a day claimed), `no_video`, `no_sound`.
    """

    readable: bool
    reason: Unreadable | None = None
    container: str = ""
    device: str = ""
    duration_ms: int | None = None
    video_codec: str = ""
    width: int | None = None
    height: int | None = None
    frame_rate_milli: int | None = None
    rotation: int = 0
    audio_codec: str = ""
    audio_channels: int | None = None
    audio_rate: int | None = None
    started_claim: datetime | None = None
    started_text: str = ""
    latitude_e7: int | None = None
    longitude_e7: int | None = None
    place_source: PlaceSource | None = None
    gps_fixed_at: datetime | None = None
    journey: tuple[tuple[int, int, int], ...] = ()
    tracks: tuple[Track, ...] = ()
    truncated: bool = False
    flags: tuple[str, ...] = ()

    @property
    def media_type(self) -> str:
        """Internet media type of the file as a browser should be told, `application/octet-stream` when not known."""
        return MEDIA_TYPES.get(self.container, "application/octet-stream")

    @property
    def latitude(self) -> str | None:
        """Decimal degrees with seven decimals, `48.8566000`, or None."""
        return degrees(self.latitude_e7)

    @property
    def longitude(self) -> str | None:
        """Decimal degrees with seven decimals, or None."""
        return degrees(self.longitude_e7)

    def to_json(self) -> dict[str, Any]:
        """The facts as JSON values: integers and strings only, instants in ISO 8601."""
        value = asdict(self)
        for name in ("started_claim", "gps_fixed_at"):
            value[name] = value[name].isoformat() if value[name] else None
        value["journey"] = [list(point) for point in self.journey]
        value["tracks"] = list(value["tracks"])
        value["flags"] = list(self.flags)
        value["media_type"] = self.media_type
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Facts from `to_json` or from a child that is not trusted: texts are cleaned, numbers bounded, unknown names
        and instants outside the years 1 to 9999 dropped. Raises ValueError when a value has the wrong type.
        """
        readers = {
            "readable": _flag,
            "truncated": _flag,
            "reason": _one_of(get_args(Unreadable)),
            "place_source": _one_of(get_args(PlaceSource)),
            "started_claim": _instant,
            "gps_fixed_at": _instant,
            "journey": _journey,
            "tracks": _tracks,
            "flags": lambda raw: tuple(clean(text) for text in _list(raw)[:16]),
            "latitude_e7": lambda raw: _bounded(raw, 90 * _E7),
            "longitude_e7": lambda raw: _bounded(raw, 180 * _E7),
            "rotation": lambda raw: _bounded(raw, 359) or 0,
        }
        texts = {"container", "device", "video_codec", "audio_codec", "started_text"}
        known: dict[str, Any] = {}
        for name in (item.name for item in fields(cls) if item.name in value):
            known[name] = readers.get(name, _text if name in texts else _number)(value[name])
        if "readable" not in known:
            raise ValueError("facts do not say whether the file is readable")
        return cls(**known)


def read_facts(source: Source, size: int, *, limits: Limits = FACTS_LIMITS) -> MediaFacts:
    """Facts of the `size` bytes of `source`, whatever they are; bounded by `limits`.

    Raises only what `source` raises when it is read (a vault's integrity error, say), and OSError when no process
    can be made.
    """
    if size == 0:
        return MediaFacts(readable=False, reason="empty")
    result = run("facts", source, size, limits)
    if isinstance(result, Failed):
        return MediaFacts(readable=False, reason=result.reason)
    try:
        return MediaFacts.from_json(result.report)
    except ValueError:
        return MediaFacts(readable=False, reason="refused")


def clean(text: object) -> str:
    """`text` on one line, without control or unassigned characters, at most 200 of them; "" for anything else."""
    if not isinstance(text, str):
        return ""
    spaced = " ".join(text[: 8 * MAX_TEXT].split())
    return "".join(letter for letter in spaced if letter.isprintable())[:MAX_TEXT].strip()


def degrees(e7: int | None) -> str | None:
    """Ten-millionths of a degree as decimal text, `-0.5000000`; None stays None."""
    if e7 is None:
        return None
    whole, rest = divmod(abs(e7), _E7)
    return f"{'-' if e7 < 0 else ''}{whole}.{rest:07d}"


def _flag(raw: object) -> bool:
    if not isinstance(raw, bool):
        raise ValueError("a flag is not true or false")  # noqa: TRY004 - one error for every malformed value
    return raw


def _number(raw: object) -> int | None:
    return _bounded(raw, _LARGEST)


def _bounded(raw: object, largest: int) -> int | None:
    if raw is None:
        return None
    if not isinstance(raw, int) or isinstance(raw, bool) or abs(raw) > largest:
        raise ValueError("a number is not an integer within bounds")
    return raw


def _text(raw: object) -> str:
    if not isinstance(raw, str):
        raise ValueError("a text is not text")  # noqa: TRY004 - one error for every malformed value
    return clean(raw)


def _list(raw: object) -> list[Any]:
    if not isinstance(raw, list):
        raise ValueError("a list is not a list")  # noqa: TRY004 - one error for every malformed value
    return raw


def _one_of(choices: tuple[str, ...]) -> Any:
    def read(raw: object) -> str | None:
        if raw is not None and raw not in choices:
            raise ValueError("a word is not one of those known")
        return None if raw is None else str(raw)

    return read


def _instant(raw: object) -> datetime | None:
    if raw is None:
        return None
    moment = datetime.fromisoformat(_text(raw))
    if moment.tzinfo is None:
        raise ValueError("an instant has no zone")
    try:
        return moment.astimezone(UTC)
    except OverflowError:  # before year 1 or after year 9999 once in UTC
        return None


def _journey(raw: object) -> tuple[tuple[int, int, int], ...]:
    points = []
    for point in _list(raw)[:MAX_JOURNEY]:
        t_ms, latitude, longitude = (_bounded(number, _LARGEST) for number in _list(point))
        if t_ms is None or latitude is None or longitude is None:
            raise ValueError("a point lacks a number")
        points.append((t_ms, latitude, longitude))
    return tuple(points)


def _tracks(raw: object) -> tuple[Track, ...]:
    tracks = []
    for item in _list(raw)[:MAX_TRACKS]:
        if not isinstance(item, dict):
            raise ValueError("a track is not an object")  # noqa: TRY004 - one error for every malformed value
        kind, codec, title = (_text(item.get(name, "")) for name in ("kind", "codec", "title"))
        tracks.append(Track(kind, codec, title, _number(item.get("duration_ms"))))
    return tuple(tracks)
