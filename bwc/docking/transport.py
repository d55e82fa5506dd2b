"""The way to a camera's files, whatever the cable: mass storage over USB, or a mounted folder.

Says what an offload session may ask of a camera. Reading is the rule; `delete` is called only with the session's
proof that the stored copy was verified and committed (docs/architecture.md, invariant 1).
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from bwc.core.digests import sha256


@dataclass(frozen=True)
class Identity:
    """Who a device says it is. Every field but the ids may be empty: cheap cameras leave them out."""

    vendor_id: int
    product_id: int
    serial: str
    manufacturer: str = ""
    product: str = ""


@dataclass(frozen=True)
class CameraFile:
    """One file on a camera.

    `path` is the camera's own name for it, '/'-separated, for display and resumption only: it is never used as a
    path on our machine. `size` in bytes. `modified` is the camera's claim: aware when the card states an offset,
    naive (camera's local time, zone unknown) otherwise, None when absent or not a date.
    """

    path: str
    size: int
    modified: datetime | None


PATH_LIMIT = 1000


def stored_path(path: str) -> str:
    """A camera's path as the catalogue keeps it: at most 1,000 characters, and two paths never the same."""
    if len(path) <= PATH_LIMIT:
        return path
    return f"{path[: PATH_LIMIT - 17]}~{sha256(path.encode()).hex()[:16]}"


class Transport(Protocol):
    """One camera, open for reading.

    Every method raises DeviceGoneError once the camera was pulled, MediumError for unreadable blocks, CardError
    for a file system that contradicts itself.
    """

    kind: str

    def identify(self) -> Identity:
        """Who the device says it is."""

    def files(self) -> list[CameraFile]:
        """Every file on the card, folders walked, in card order; damage met on the way is in `damage()`."""

    def damage(self) -> list[str]:
        """English log lines for what could not be walked; a camera with any is never emptied."""

    def capacity(self) -> int | None:
        """Bytes the card can hold, None when that is not known: a file cannot be larger."""

    def open(self, file: CameraFile, offset: int = 0) -> io.RawIOBase:
        """Bytes of `file` from `offset` (0 <= offset <= size); `readinto` fills as much of the buffer as it can
        except at the end, so large buffers mean large transfers.
        """

    def delete(self, file: CameraFile) -> None:
        """Remove one file from the card and make the card durable; raises DeviceError if it is still listed."""

    def close(self) -> None:
        """Release the device; never raises."""
