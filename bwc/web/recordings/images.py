"""An image as an HTTP answer: whole, or the one range asked, decrypted as it leaves and closed in every case."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

import structlog
from werkzeug.wrappers import Request, Response

from bwc.consultation import Image
from bwc.core.clock import Clock
from bwc.core.errors import EvidenceError, StorageError

log = structlog.get_logger()

CHUNK = 256 * 1024
ASK_EVERY_S = 1.0
ASK_EVERY_BYTES = 4 * 1024 * 1024
_RANGE = re.compile(r"\s*bytes\s*=\s*(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))\s*", re.ASCII)


@dataclass(frozen=True)
class Span:
    """Bytes from `start`, `length` of them."""

    start: int
    length: int


@dataclass(frozen=True)
class Leave:
    """How long bytes may leave: never from `until` on, nor once `goes_on`, asked over and over, says no."""

    until: datetime
    clock: Clock
    goes_on: Callable[[], bool]


class UnsatisfiableError(Exception):
    """The range asked begins beyond the end."""


def wanted_span(header: str | None, size: int) -> Span | None:
    """The bytes a Range header asks for; None to send all: no header, not one well-formed range of bytes
    (RFC 9110 §14.2 lets a server ignore those). Raises UnsatisfiableError beyond the end.
    """
    match = _RANGE.fullmatch(header or "")
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        length = min(int(suffix), size)
        if length == 0:
            raise UnsatisfiableError
        return Span(size - length, length)
    start, end = int(first), int(last) if last else size - 1
    if last and end < start:
        return None
    if start >= size:
        raise UnsatisfiableError
    return Span(start, min(end, size - 1) - start + 1)


def image_answer(image: Image, request: Request, *, tag: str, leave: Leave) -> Response:
    """The answer to a GET or HEAD of `image`: 200, 206 or 416. `tag` is a strong validator of its bytes.

    No byte goes out beyond `leave`. Takes charge of the file: it is closed whatever happens.
    """
    header = request.headers.get("Range") if _range_applies(request, tag) else None
    try:
        span = wanted_span(header, image.size)
    except UnsatisfiableError:
        image.file.close()
        return Response(status=416, headers={"Content-Range": f"bytes */{image.size}"})
    part = span or Span(0, image.size)
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Length": str(part.length),
        "Content-Disposition": "inline",
        "ETag": f'"{tag}"',
    }
    if span:
        headers["Content-Range"] = f"bytes {span.start}-{span.start + span.length - 1}/{image.size}"
    if request.method == "HEAD":
        image.file.close()
        body: Chunks | list[bytes] = []
    else:
        body = Chunks(image.file, part, leave)
    return Response(body, 206 if span else 200, headers, mimetype=image.media_type, direct_passthrough=True)


def _range_applies(request: Request, tag: str) -> bool:
    """Whether the Range is to be looked at: no If-Range, or one that names these very bytes (§13.1.5)."""
    condition = request.headers.get("If-Range")
    return condition is None or condition.strip() == f'"{tag}"'


class Chunks:
    """The bytes of one span, read as they are sent. Stops with an error, never with unauthenticated bytes.

    Whether they may still leave is asked again before the first byte that follows one second or 4 MiB.
    """

    def __init__(self, file: io.RawIOBase, span: Span, leave: Leave) -> None:
        self.file, self.left, self.leave = file, span.length, leave
        self.start = span.start
        self.asked_at, self.sent_since = time.monotonic(), 0
        self.buffer = bytearray(min(CHUNK, max(span.length, 1)))

    def __iter__(self) -> Iterator[bytes]:
        """Chunks of at most 256 KiB."""
        try:
            self.file.seek(self.start)
            while self.left:
                yield self._next()
        except (EvidenceError, StorageError) as error:
            log.error("image_stream_stopped", code=error.code, error=str(error))
            raise
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the file; called by the server when the client goes away."""
        self.file.close()

    def _next(self) -> bytes:
        self._ask()
        view = memoryview(self.buffer)[: min(len(self.buffer), self.left)]
        count = self.file.readinto(view) or 0
        if count == 0:
            raise StorageError("image shorter than it is said to be", code="image_short")
        self.left -= count
        self.sent_since += count
        return bytes(view[:count])

    def _ask(self) -> None:
        if self.leave.clock.now() >= self.leave.until:
            raise StorageError("consultation over while streaming", code="consultation_over")
        now = time.monotonic()
        if now - self.asked_at < ASK_EVERY_S and self.sent_since < ASK_EVERY_BYTES:
            return
        if not self.leave.goes_on():
            raise StorageError("right to the image lost while streaming", code="consultation_closed")
        self.asked_at, self.sent_since = now, 0
