"""An image as an HTTP answer: whole, or the one range asked, decrypted as it leaves and closed in every case."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import structlog
from werkzeug.wrappers import Request, Response

from bwc.consultation import Image
from bwc.core.clock import Clock
from bwc.core.errors import EvidenceError, StorageError

log = structlog.get_logger()

CHUNK = 256 * 1024
_RANGE = re.compile(r"\s*bytes\s*=\s*(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))\s*", re.ASCII)


@dataclass(frozen=True)
class Span:
    """Bytes from `start`, `length` of them."""

    start: int
    length: int


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


def image_answer(image: Image, request: Request, *, tag: str, until: datetime, clock: Clock) -> Response:
    """The answer to a GET or HEAD of `image`: 200, 206 or 416. `tag` is a strong validator of its bytes.

    No byte leaves after `until`. Takes charge of the file: it is closed whatever happens.
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
        body = Chunks(image.file, part, until, clock)
    return Response(body, 206 if span else 200, headers, mimetype=image.media_type, direct_passthrough=True)


def _range_applies(request: Request, tag: str) -> bool:
    """Whether the Range is to be looked at: no If-Range, or one that names these very bytes (§13.1.5)."""
    condition = request.headers.get("If-Range")
    return condition is None or condition.strip() == f'"{tag}"'


class Chunks:
    """The bytes of one span, read as they are sent. Stops with an error, never with unauthenticated bytes."""

    def __init__(self, file: io.RawIOBase, span: Span, until: datetime, clock: Clock) -> None:
        self.file, self.left, self.until, self.clock = file, span.length, until, clock
        self.start = span.start
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
        if self.clock.now() >= self.until:
            raise StorageError("consultation over while streaming", code="consultation_over")
        view = memoryview(self.buffer)[: min(len(self.buffer), self.left)]
        count = self.file.readinto(view) or 0
        if count == 0:
            raise StorageError("image shorter than it is said to be", code="image_short")
        self.left -= count
        return bytes(view[:count])
