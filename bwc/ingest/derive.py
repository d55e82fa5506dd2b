"""Derivatives of a recording: a poster for lists, a proxy for review. They are images: same vault, same logging.

Made in the confined child (`bwc.ingest.sandbox`); here is what the rest of the product calls. Nothing is written in
clear anywhere: the child works in an encrypted spool and its bytes go straight to the caller's sink.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bwc.ingest.sandbox import Done, Failed, Limits, Source, run

POSTER_LIMITS: Final = Limits(cpu_s=30, wall_s=60.0, output=2 << 20, niceness=5)
_JPEG_STARTS: Final = b"\xff\xd8\xff"
_SPARE: Final = 64 << 20
_NICENESS: Final = 10


@dataclass(frozen=True)
class ProxyResult:
    """What was made: length in milliseconds, size in pixels, pictures, whether there is sound, bytes given to the
    sink, and how many damaged packets were left out.

    When `made` is false the sink's bytes are to be thrown away and `reason` says why: `not_media`,
    `nothing_decodable`, or a reason of `bwc.ingest.sandbox.Failed`.
    """

    made: bool
    reason: str | None = None
    duration_ms: int = 0
    width: int = 0
    height: int = 0
    frames: int = 0
    sound: bool = False
    damaged: int = 0
    bytes: int = 0


def proxy_limits(size: int) -> Limits:
    """Limits for a proxy of `size` bytes: two minutes and 100 kB a second, twice the size and 64 MiB of output."""
    seconds = 120 + size // 100_000
    largest = _SPARE + 2 * size
    return Limits(cpu_s=2 * seconds, wall_s=float(seconds), output=largest, spool=largest, niceness=_NICENESS)


def make_poster(source: Source, size: int, *, limits: Limits = POSTER_LIMITS) -> bytes | None:
    """A JPEG at most 640 pixels wide, upright, of the picture at about one second; None when none can be decoded.

    Raises only what `source` raises, and OSError when no process can be made.
    """
    taken = bytearray()
    result = run("poster", source, size, limits, sink=taken.extend)
    if isinstance(result, Failed) or result.report.get("made") is not True or not taken.startswith(_JPEG_STARTS):
        return None
    return bytes(taken)


def make_proxy(
    source: Source,
    size: int,
    sink: Callable[[bytes], None],
    progress: Callable[[int], None] | None = None,
    *,
    spool_folder: Path | None = None,
    limits: Limits | None = None,
) -> ProxyResult:
    """Give `sink`, in order, an MP4 (H.264 at most 540 lines high, AAC) on the same timeline as the original.

    `progress` receives thousandths. `spool_folder` (the system's temporary folder by default) takes an encrypted,
    nameless file of about the proxy's size. Raises only what `source`, `sink` or `progress` raise, and OSError when
    no process or spool can be made.
    """
    result = run(
        "proxy",
        source,
        size,
        limits or proxy_limits(size),
        sink=sink,
        progress=progress,
        spool_folder=spool_folder or Path(tempfile.gettempdir()),
    )
    return _proxy_result(result.report) if isinstance(result, Done) else ProxyResult(False, result.reason)


def _proxy_result(report: Mapping[str, Any]) -> ProxyResult:
    names = ("duration_ms", "width", "height", "frames", "damaged", "bytes")
    numbers = {name: report.get(name, 0) for name in names}
    if any(not isinstance(number, int) or not 0 <= number < 1 << 53 for number in numbers.values()):
        return ProxyResult(False, "refused")
    if report.get("made") is not True:
        reason = report.get("reason")
        return ProxyResult(False, reason if reason in ("not_media", "nothing_decodable") else "refused")
    return ProxyResult(True, sound=report.get("sound") is True, **numbers)
