"""Going on with an interrupted copy: the parts kept of a camera's file, and the stream that joins them to the camera.

A part is never written on: what it holds is read, authenticated, and copied anew under a fresh key, followed by the
rest from the camera (docs/adr/0003-fresh-key-per-copy.md).
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlalchemy import Select, delete, select
from sqlalchemy.orm import Session

from bwc.core.clock import paris_day
from bwc.core.errors import BwcError, EvidenceError
from bwc.db.models import Part
from bwc.docking.transport import CameraFile, Transport
from bwc.ingest.intake import Attempt
from bwc.installation import Installation
from bwc.rules.retention import bodycam_term
from bwc.vault.reader import SealedFile

log = structlog.get_logger()

SEAM_BYTES = 1 << 20  # end of the kept part that is compared with the camera before a copy goes on from it


@dataclass(frozen=True)
class FileIdentity:
    """One camera file as it can be met again: serial, path, size, claimed date, SHA-256 of its first 64 KiB."""

    serial: str
    file: CameraFile
    head_sha256: str

    def parts(self) -> Select[Part]:
        """The parts kept of it, newest first."""
        modified = self.file.modified.isoformat() if self.file.modified else None
        return (
            select(Part)
            .where(
                Part.serial == self.serial,
                Part.path == self.file.path[:1000],
                Part.size == self.file.size,
                Part.modified == modified if modified else Part.modified.is_(None),
                Part.head_sha256 == self.head_sha256,
            )
            .order_by(Part.name.desc())
        )


class Parts:
    """The unfinished copies of one installation."""

    def __init__(self, house: Installation) -> None:
        self._house = house

    def begin(self, of: FileIdentity, attempt: Attempt, docked_at: datetime) -> None:
        """Keep the key of a copy about to begin, under the day key of one month after docking."""
        due_on = bodycam_term(paris_day(docked_at)).due_on
        with self._house.database.write() as session:
            day_key = self._house.keys.day_key_for(session, due_on, self._house.clock.now())
            session.add(
                Part(
                    name=attempt.recording_id,
                    serial=of.serial,
                    path=of.file.path[:1000],
                    size=of.file.size,
                    modified=of.file.modified.isoformat() if of.file.modified else None,
                    head_sha256=of.head_sha256,
                    day_key_id=day_key,
                    wrapped=self._house.keys.wrap(day_key, attempt.recording_id, attempt.key),
                )
            )

    def kept(self, of: FileIdentity) -> list[Part]:
        """What earlier copies of this very file left, newest first."""
        with self._house.database.read() as session:
            return list(session.scalars(of.parts()))

    def forget(self, session: Session, parts: list[Part]) -> None:
        """Drop parts' rows in the caller's transaction; `discard` their files once it is committed."""
        session.execute(delete(Part).where(Part.name.in_([part.name for part in parts])))

    def discard(self, parts: list[Part]) -> None:
        """Remove parts' files. Idempotent."""
        for part in parts:
            self._house.vault.discard_part(part.name)

    def drop(self, name: str) -> None:
        """Forget and remove one part whose copy failed for another reason than an unplug."""
        with self._house.database.write() as session:
            session.execute(delete(Part).where(Part.name == name))
        self._house.vault.discard_part(name)

    def source(self, transport: Transport, file: CameraFile, parts: list[Part]) -> io.RawIOBase:
        """The camera's stream, preceded by the newest part that is whole and fits, its seam compared."""
        for part in parts:
            kept = self._open(part)
            if kept is None:
                continue
            if 0 < kept.length <= file.size and _seam_holds(transport, file, kept):
                log.info("offload.resumed", path=file.path, at=kept.length)
                kept.seek(0)
                return _Resumed(kept, transport.open(file, kept.length))
            kept.close()
        return transport.open(file)

    def _open(self, part: Part) -> SealedFile | None:
        try:
            key = self._house.keys.unwrap(part.day_key_id, part.name, part.wrapped)
            return self._house.vault.open_part(part.name, key, part.name)
        except BwcError as error:
            log.warning("part.unreadable", part=part.name, error=str(error))
            return None


class _Resumed(io.RawIOBase):
    """The bytes kept from an interrupted copy, then the camera's from there on."""

    def __init__(self, kept: SealedFile, rest: io.RawIOBase) -> None:
        super().__init__()
        self._kept, self._rest = kept, rest

    def readable(self) -> bool:
        """Always true."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill from the part to its end, then from the camera."""
        return self._kept.readinto(buffer) or self._rest.readinto(buffer) or 0

    def close(self) -> None:
        """Close both."""
        self._kept.close()
        self._rest.close()
        super().close()


def _seam_holds(transport: Transport, file: CameraFile, kept: SealedFile) -> bool:
    """Whether the camera still gives, at the end of the part, the bytes the part holds."""
    start = max(0, kept.length - SEAM_BYTES)
    ours, theirs = bytearray(kept.length - start), bytearray(kept.length - start)
    try:
        kept.seek(start)
        kept.readinto(ours)
    except EvidenceError as error:
        log.warning("part.altered", path=file.path, error=str(error))
        return False
    with transport.open(file, start) as stream:
        stream.readinto(theirs)
    return ours == theirs
