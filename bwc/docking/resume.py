"""Going on with an interrupted copy: the parts kept of a camera's file, and the stream that joins them to the camera.

A part is never written on: what it holds is read, authenticated, and copied anew under a fresh key, followed by the
rest from the camera (docs/adr/0003-fresh-key-per-copy.md).
"""

from __future__ import annotations

import io
import secrets
from dataclasses import dataclass
from datetime import timedelta

import structlog
from sqlalchemy import Select, delete, select
from sqlalchemy.orm import Session

from bwc.core.clock import paris_day
from bwc.core.digests import sha256
from bwc.core.errors import BwcError, EvidenceError
from bwc.db.models import Part
from bwc.docking.transport import CameraFile, Transport, stored_path
from bwc.ingest.intake import Attempt
from bwc.installation import Installation
from bwc.rules.retention import RecordingDay, bodycam_term
from bwc.vault.reader import SealedFile

log = structlog.get_logger()

HEAD_BYTES = 65_536
SEAM_BYTES = 1 << 20  # end of a kept part, compared whole with the camera before a copy goes on from it
SAMPLE_BYTES = 65_536
SAMPLES = 64  # blocks of the part, at places nobody can foresee, compared too (docs/threat-model.md)


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
                Part.path == stored_path(self.file.path),
                Part.size == self.file.size,
                Part.modified == modified if modified else Part.modified.is_(None),
                Part.head_sha256 == self.head_sha256,
            )
            .order_by(Part.name.desc())
        )


def head_digest(transport: Transport, file: CameraFile) -> str:
    """SHA-256, in hex, of the first 64 KiB the camera gives of a file."""
    buffer = bytearray(min(HEAD_BYTES, file.size))
    with transport.open(file) as stream:
        stream.readinto(buffer)
    return sha256(bytes(buffer)).hex()


class Parts:
    """The unfinished copies of one installation."""

    def __init__(self, house: Installation) -> None:
        self._house = house

    def begin(self, of: FileIdentity, attempt: Attempt, day: RecordingDay) -> None:
        """Keep the key of a copy about to begin, under the day key of the term it will have.

        A copy of what is over already is kept until tomorrow at least, so that the copy under way can end.
        """
        now = self._house.clock.now()
        due_on = max(bodycam_term(day.day).due_on, paris_day(now) + timedelta(days=1))
        with self._house.database.write() as session:
            day_key = self._house.keys.day_key_for(session, due_on, now)
            session.add(
                Part(
                    name=attempt.recording_id,
                    serial=of.serial,
                    path=stored_path(of.file.path),
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
        """The camera's stream, preceded by the newest part that is whole and still fits the camera's file."""
        for part in parts:
            kept = self._open(part)
            if kept is None:
                continue
            if 0 < kept.length <= file.size and _prefix_holds(transport, file, kept):
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


def _prefix_holds(transport: Transport, file: CameraFile, kept: SealedFile) -> bool:
    """Whether the camera still gives what the part holds: its end whole, and blocks drawn at random before it."""
    seam = max(0, kept.length - SEAM_BYTES)
    chance = secrets.SystemRandom()
    places = sorted(chance.randrange(seam) for _ in range(SAMPLES)) if seam else []
    spans = [(place, min(SAMPLE_BYTES, seam - place)) for place in places] + [(seam, kept.length - seam)]
    for start, count in spans:
        ours, theirs = bytearray(count), bytearray(count)
        try:
            kept.seek(start)
            kept.readinto(ours)
        except EvidenceError as error:
            log.warning("part.altered", path=file.path, error=str(error))
            return False
        with transport.open(file, start) as stream:
            stream.readinto(theirs)
        if ours != theirs:
            log.warning("part.not_of_this_file", path=file.path, at=start)
            return False
    return True
