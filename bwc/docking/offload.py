"""The offload session: one stay of one camera on one bay, from its listing to its emptying.

Every step is a row before it is an act, so a session cut by an unplug, a crash or a power failure is gone on from,
never guessed at. States of a session and of its files: bwc/db/models/fleet.py.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from datetime import datetime

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from bwc.chain_of_custody.journal import SYSTEM_ACTOR, Event, Operation
from bwc.core.clock import as_utc, iso_utc
from bwc.core.digests import sha256
from bwc.core.errors import BwcError, DeviceError, StorageError
from bwc.core.ids import new_id
from bwc.db.models import Camera, Incident, OffloadFile, OffloadSession, Recording
from bwc.docking.errors import CardError, ChangedError, DeviceGoneError, MediumError
from bwc.docking.fleet import open_issue
from bwc.docking.profiles import Profile
from bwc.docking.progress import Progress
from bwc.docking.resume import FileIdentity, Parts
from bwc.docking.transport import CameraFile, Identity, Transport
from bwc.ingest.intake import Attempt, Provenance, Taken, known_copy, take_in
from bwc.installation import Installation
from bwc.rules.custody import CopyFacts, may_delete_from_camera
from bwc.rules.decision import Refused
from bwc.rules.retention import claimed_instant

log = structlog.get_logger()

HEAD_BYTES = 65_536
READ_BYTES = 1 << 20
REPORT_EVERY_S = 0.5
RETRY_AFTER_S = 15.0

Announce = Callable[[tuple[str, ...]], None]


class Offload:
    """One stay of one camera. `run` returns when the camera is safe, gone or refused; it raises nothing expected."""

    def __init__(
        self,
        house: Installation,
        *,
        bay: int | None,
        identity: Identity,
        profile: Profile | None,
        connect: Callable[[], Transport],
        announce: Announce = lambda jobs: None,
        gone: threading.Event | None = None,
        wipe: bool | None = None,
    ) -> None:
        """`connect` opens the transport; `gone` is set when the bay is seen empty; `wipe` overrides the profile."""
        self._house = house
        self._bay = bay
        self._identity = identity
        self._profile = profile
        self._connect = connect
        self._announce = announce
        self._gone = gone or threading.Event()
        self._wipe = wipe if wipe is not None else (profile is not None and profile.wipe == "fs-delete")
        self._progress = Progress()
        self._parts = Parts(house)
        self._docked_at: datetime = house.clock.now()
        self.session_id = new_id()

    def run(self) -> str:
        """Go through the whole stay; returns the session's last state."""
        camera = self._open_session()
        if self._profile is None:
            return self._refuse("unknown_device", "Appareil inconnu : il n'est pas lu. Prévenez le responsable.")
        self._model = self._profile
        while True:
            try:
                self._offload(camera)
                return self._close("done", self._done_message())
            except DeviceGoneError as error:
                return self._close("gone", error.person, error.code)
            except StorageError as error:
                self._state("waiting", error.person, error.code)
                log.warning("offload.waiting", session=self.session_id, error=str(error))
                if self._gone.wait(RETRY_AFTER_S):
                    return self._close("gone", DeviceGoneError.person, "device_gone")
            except BwcError as error:
                log.error("offload.failed", session=self.session_id, error=str(error), code=error.code)
                self._incident("offload_failed", f"Baie {self._bay} : {error.person}", camera)
                return self._close("failed", error.person, error.code)

    # The session's row

    def _open_session(self) -> Camera | None:
        now = self._docked_at
        with self._house.database.write() as session:
            camera = self._camera(session)
            issue = open_issue(session, camera.id) if camera else None
            session.add(
                OffloadSession(
                    id=self.session_id,
                    bay_number=self._bay,
                    camera_id=camera.id if camera else None,
                    wearer_id=issue.person_id if issue else None,
                    transport="folder" if self._bay is None else self._profile.transport if self._profile else "",
                    serial=self._identity.serial,
                    device=f"{self._identity.manufacturer} {self._identity.product}".strip()[:300],
                    opened_at=now,
                    updated_at=now,
                    drift_method="not_measurable",
                )
            )
            if camera is not None:
                camera.last_docked_at = now
            detail = {
                "session": self.session_id,
                "bay": self._bay,
                "serial": self._identity.serial,
                "camera": camera.label if camera else None,
                "vendor_id": self._identity.vendor_id,
                "product_id": self._identity.product_id,
                "demonstration": self._house.town.demonstration,
            }
            self._house.ledger.append(session, Event(Operation.SYSTEME, "camera.docked", SYSTEM_ACTOR, detail=detail))
        log.info("camera.docked", session=self.session_id, bay=self._bay, serial=self._identity.serial)
        return camera

    def _camera(self, session: Session) -> Camera | None:
        if not self._identity.serial:
            return None
        return session.scalars(select(Camera).where(Camera.serial == self._identity.serial)).one_or_none()

    def _update(self, **values: object) -> None:
        with self._house.database.write() as session:
            row = session.get_one(OffloadSession, self.session_id)
            for name, value in values.items():
                setattr(row, name, value)
            row.updated_at = self._house.clock.now()

    def _state(self, state: str, message: str = "", code: str | None = None) -> None:
        self._update(state=state, message=message[:300], error_code=code)

    def _close(self, state: str, message: str, code: str | None = None) -> str:
        self._update(state=state, message=message[:300], error_code=code, closed_at=self._house.clock.now())
        log.info("offload.closed", session=self.session_id, state=state, code=code)
        return state

    def _refuse(self, code: str, message: str) -> str:
        self._incident(code, f"Baie {self._bay} : {message}", None)
        return self._close("refused", message, code)

    def _incident(self, kind: str, text: str, camera: Camera | None) -> None:
        with self._house.database.write() as session:
            session.add(
                Incident(
                    id=new_id(),
                    kind=kind,
                    text=text[:500],
                    camera_id=camera.id if camera else None,
                    opened_at=self._house.clock.now(),
                )
            )

    def _done_message(self) -> str:
        with self._house.database.read() as session:
            row = session.get_one(OffloadSession, self.session_id)
            left = [file.path for file in row.files if file.state in {"damaged", "changed", "stored", "duplicate"}]
        if not left:
            return "Caméra vide et vérifiée : vous pouvez la reprendre."
        return f"Copie terminée ; {len(left)} fichier(s) restent sur la caméra."

    # The way of the files

    def _offload(self, camera: Camera | None) -> None:
        self._state("identified")
        transport = self._connect()
        try:
            files = [file for file in transport.files() if self._wanted(file)]
            damage = transport.damage()
            rows = self._list(files, camera)
            if damage:
                log.error("card.damaged", session=self.session_id, lines=damage[:20])
                self._incident("card_damaged", f"Baie {self._bay} : {CardError.person}", camera)
            self._progress = Progress(started=time.monotonic())
            for file in files:
                self._one(transport, file, rows[file.path], camera, card_damaged=bool(damage))
            self._settle(transport, camera, damaged=bool(damage))
        finally:
            transport.close()

    def _wanted(self, file: CameraFile) -> bool:
        return self._model.wants(file.path)

    def _list(self, files: list[CameraFile], camera: Camera | None) -> dict[str, str]:
        """Write the list of files; returns the id of each path's row. A second attempt finds the first one's rows."""
        rows: dict[str, str] = {}
        with self._house.database.write() as session:
            known = {
                row.path: row
                for row in session.scalars(select(OffloadFile).where(OffloadFile.session_id == self.session_id))
            }
            for position, file in enumerate(files):
                row = known.get(file.path[:1000])
                if row is None:
                    row = OffloadFile(
                        id=new_id(),
                        session_id=self.session_id,
                        camera_id=camera.id if camera else None,
                        position=position,
                        path=file.path[:1000],
                        size=min(file.size, 2**62),
                        modified=file.modified.isoformat() if file.modified else None,
                    )
                    session.add(row)
                rows[file.path] = row.id
            session_row = session.get_one(OffloadSession, self.session_id)
            session_row.files_total = len(files)
            session_row.bytes_total = sum(min(file.size, 2**62) for file in files)
            session_row.bytes_done = 0
            session_row.state = "copying" if files else "listed"
            session_row.message, session_row.error_code = "", None
        return rows

    def _one(
        self, transport: Transport, file: CameraFile, row_id: str, camera: Camera | None, *, card_damaged: bool
    ) -> None:
        """Bring one file to safety and off the camera, or say on its row why not; only an unplug, a full disk or
        failed evidence stops the session.
        """
        start = self._progress.done
        try:
            taken = self._safe_copy(transport, file, row_id, camera)
        except DeviceGoneError:
            raise
        except (MediumError, CardError, ChangedError) as error:
            state = "changed" if isinstance(error, ChangedError) else "damaged"
            log.error("file.not_copied", session=self.session_id, path=file.path, error=str(error))
            self._file(row_id, state=state, message=error.person)
            self._incident(f"file_{state}", f"Baie {self._bay}, {file.path[:200]} : {error.person}", camera)
            return
        finally:
            self._progress.done = start + min(file.size, 2**62)
        self._count("files_safe")
        self._announce(taken.jobs)
        self._delete(transport, file, row_id, taken, camera, card_damaged=card_damaged)

    def _safe_copy(self, transport: Transport, file: CameraFile, row_id: str, camera: Camera | None) -> Taken:
        capacity = transport.capacity()
        if capacity is not None and file.size > capacity:
            raise CardError(f"{file.path!r} claims {file.size} bytes on a card of {capacity}")
        head = self._head(transport, file)
        self._file(row_id, head_sha256=head)
        known = self._known_by_name(file, head, camera)
        if known is not None:
            again = self._met_again(transport, file, known, row_id, head)
            if again is not None:
                return again
        return self._copy(transport, file, row_id, head, camera)

    def _head(self, transport: Transport, file: CameraFile) -> str:
        buffer = bytearray(min(HEAD_BYTES, file.size))
        with transport.open(file) as stream:
            stream.readinto(buffer)
        return sha256(bytes(buffer)).hex()

    def _known_by_name(self, file: CameraFile, head: str, camera: Camera | None) -> Recording | None:
        """A recording this very camera file became in an earlier session that could not delete it."""
        if camera is None:
            return None
        with self._house.database.read() as session:
            return session.scalars(
                select(Recording)
                .join(OffloadFile, OffloadFile.recording_id == Recording.id)
                .where(
                    OffloadFile.camera_id == camera.id,
                    OffloadFile.path == file.path[:1000],
                    OffloadFile.size == file.size,
                    OffloadFile.head_sha256 == head,
                    Recording.state.in_(("held", "quarantined")),
                )
                .limit(1)
            ).first()

    def _met_again(
        self, transport: Transport, file: CameraFile, known: Recording, row_id: str, head: str
    ) -> Taken | None:
        """Read the camera's file through; if it is the known recording to the last byte, nothing is copied twice."""
        digest = hashlib.sha256()
        buffer = memoryview(bytearray(READ_BYTES))
        with transport.open(file) as stream:
            while count := stream.readinto(buffer):
                digest.update(buffer[:count])
                self._report(count)
        if digest.hexdigest() != known.sha256:
            return None
        with self._house.database.write() as session:
            again = known_copy(session, known.sha256, known.size)
            if again is None:
                return None
            detail = {"path": file.path, "serial": self._identity.serial, "session": self.session_id}
            detail["sha256"] = known.sha256
            event = Event(Operation.COLLECTE, "recording.met_again", SYSTEM_ACTOR, recording_id=again.id, detail=detail)
            self._house.ledger.append(session, event)
            row = session.get_one(OffloadFile, row_id)
            row.state, row.recording_id = "duplicate", again.id
            left = list(session.scalars(FileIdentity(self._identity.serial, file, head).parts()))
            self._parts.forget(session, left)
        self._parts.discard(left)
        return Taken(known.id, known.sha256, known.size, duplicate=True)

    def _copy(self, transport: Transport, file: CameraFile, row_id: str, head: str, camera: Camera | None) -> Taken:
        attempt = Attempt.fresh()
        identity = FileIdentity(self._identity.serial, file, head)
        earlier = self._parts.kept(identity)
        self._parts.begin(identity, attempt, self._docked_at)
        self._file(row_id, state="copying")
        source = self._parts.source(transport, file, earlier)
        copied = 0

        def progress(total: int) -> None:
            nonlocal copied
            self._report(total - copied)
            copied = total

        def also(session: Session, taken: Taken) -> None:
            self._committed(session, taken, row_id)
            self._parts.forget(session, list(session.scalars(identity.parts())))

        try:
            taken = take_in(
                self._house,
                source,
                self._provenance(file, camera),
                attempt=attempt,
                progress=progress,
                still_same=lambda size: self._still_same(transport, file, size),
                also=also,
            )
        except DeviceGoneError:
            raise
        except BaseException:
            self._parts.drop(attempt.recording_id)
            raise
        finally:
            source.close()
        self._parts.discard(earlier)
        return taken

    def _still_same(self, transport: Transport, file: CameraFile, size: int) -> None:
        if size != file.size:
            raise ChangedError(f"{file.path!r}: listed {file.size} bytes, read {size}")
        if transport.kind == "folder":
            transport.open(file).close()  # raises when the file is no longer the one that was listed

    def _provenance(self, file: CameraFile, camera: Camera | None) -> Provenance:
        named = self._model.parse_name(file.path).start
        return Provenance(
            source="folder" if self._bay is None else "usb",
            path=file.path,
            size=file.size,
            docked_at=self._docked_at,
            commune=camera.commune if camera else self._house.town.commune,
            camera_id=camera.id if camera else None,
            serial=self._identity.serial,
            session_id=self.session_id,
            named_start=claimed_instant(named, camera_utc=self._model.clock == "utc"),
            card_time=file.modified,
        )

    def _committed(self, session: Session, taken: Taken, row_id: str) -> None:
        row = session.get_one(OffloadFile, row_id)
        row.state = "duplicate" if taken.duplicate else "stored"
        row.recording_id = taken.recording_id

    # Off the camera

    def _delete(
        self,
        transport: Transport,
        file: CameraFile,
        row_id: str,
        taken: Taken,
        camera: Camera | None,
        *,
        card_damaged: bool,
    ) -> None:
        """Delete the camera's file if the rule allows it: ordered in the ledger first, then done, then told."""
        facts = CopyFacts(
            copied_sha256=taken.sha256,
            read_back_sha256=taken.sha256,
            committed=self._is_committed(taken),
            card_damaged=card_damaged,
            wipe_allowed_by_profile=self._wipe and camera is not None,
        )
        decision = may_delete_from_camera(facts)
        if isinstance(decision, Refused):
            self._file(row_id, message=decision.reason)
            return
        self._deletion_event("camera.deletion_ordered", file, taken, {})
        try:
            transport.delete(file)
        except DeviceGoneError:
            raise
        except DeviceError as error:
            log.error("camera.deletion_failed", session=self.session_id, path=file.path, error=str(error))
            self._deletion_event("camera.deletion_failed", file, taken, {"error": str(error)[:200]})
            self._file(row_id, message="La caméra n'a pas effacé ce fichier.")
            self._incident(
                "camera_not_emptied", f"Baie {self._bay} : {file.path[:200]} n'a pas pu être effacé.", camera
            )
            return
        self._deletion_event("camera.file_deleted", file, taken, {})
        self._file(row_id, state="deleted", deleted_at=self._house.clock.now(), message="")
        self._count("files_deleted")

    def _is_committed(self, taken: Taken) -> bool:
        with self._house.database.read() as session:
            row = session.get(Recording, taken.recording_id)
            return row is not None and row.sha256 == taken.sha256 and self._house.vault.exists(row.vault_name)

    def _deletion_event(self, action: str, file: CameraFile, taken: Taken, more: dict[str, str]) -> None:
        detail = {"path": file.path, "serial": self._identity.serial, "sha256": taken.sha256, **more}
        event = Event(
            Operation.EFFACEMENT,
            action,
            SYSTEM_ACTOR,
            recording_id=taken.recording_id,
            motive="BWC-CUS-1",
            detail=detail,
        )
        with self._house.database.write() as session:
            self._house.ledger.append(session, event)

    def _settle(self, transport: Transport, camera: Camera | None, *, damaged: bool) -> None:
        """List the camera again: empty, or what is left; note the drift as far as a disk without a clock tells it."""
        left = [file for file in transport.files() if self._wanted(file)]
        with self._house.database.write() as session:
            row = session.get_one(OffloadSession, self.session_id)
            row.bytes_done, row.bytes_per_s = row.bytes_total, self._progress.rate()
            newest = max(
                (as_utc(file.modified) for file in left if file.modified and file.modified.tzinfo), default=None
            )
            if newest is not None and newest > self._docked_at:
                row.drift_ms = int((newest - self._docked_at).total_seconds() * 1000)
                row.drift_method = "at_least_by_newest_file"
            if camera is not None and not left and not damaged:
                session.get_one(Camera, camera.id).last_emptied_at = self._docked_at
            detail = {
                "session": self.session_id,
                "serial": self._identity.serial,
                "files": row.files_total,
                "safe": row.files_safe,
                "deleted": row.files_deleted,
                "left": len(left),
                "ended_at": iso_utc(self._house.clock.now()),
            }
            event = Event(Operation.SYSTEME, "camera.offloaded", SYSTEM_ACTOR, detail=detail)
            self._house.ledger.append(session, event)

    # Rows, briefly

    def _file(self, row_id: str, **values: object) -> None:
        with self._house.database.write() as session:
            row = session.get_one(OffloadFile, row_id)
            for name, value in values.items():
                setattr(row, name, value)

    def _count(self, name: str) -> None:
        with self._house.database.write() as session:
            row = session.get_one(OffloadSession, self.session_id)
            setattr(row, name, getattr(row, name) + 1)
            row.bytes_done = self._progress.done
            row.updated_at = self._house.clock.now()

    def _report(self, count: int) -> None:
        """Count bytes; write them at most twice a second; stop as soon as the bay is seen empty."""
        if self._gone.is_set():
            raise DeviceGoneError("bay seen empty")
        self._progress.done += count
        now = time.monotonic()
        if now - self._progress.reported >= REPORT_EVERY_S:
            self._progress.reported = now
            self._update(bytes_done=self._progress.done, bytes_per_s=self._progress.rate())
