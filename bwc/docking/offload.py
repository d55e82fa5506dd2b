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
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from bwc.chain_of_custody.journal import SYSTEM_ACTOR, Event, Operation
from bwc.clock_guard import check_clock
from bwc.core.clock import as_utc, iso_utc
from bwc.core.errors import BwcError, DeviceError, StorageError
from bwc.core.ids import new_id
from bwc.db.models import Camera, Incident, OffloadFile, OffloadSession, Recording
from bwc.docking.emptying import Emptying
from bwc.docking.errors import CardError, ChangedError, DeviceGoneError, MediumError
from bwc.docking.fleet import open_issue
from bwc.docking.profiles import Profile
from bwc.docking.progress import Progress
from bwc.docking.resume import FileIdentity, Parts, head_digest
from bwc.docking.transport import CameraFile, Identity, Transport, stored_path
from bwc.ingest.intake import Attempt, Provenance, Taken, prove_kept, still_kept, take_in
from bwc.installation import Installation
from bwc.rules.retention import claimed_instant, recording_day

log = structlog.get_logger()

READ_BYTES = 1 << 20
LIST_BATCH = 2000
LARGEST = 2**62  # a lying card's sizes stop here: they must fit a column
REPORT_EVERY_S = 0.5
RETRY_AFTER_S = 15.0

UNKNOWN = "Appareil inconnu : il n'est pas lu. Prévenez le responsable."
UNEXPECTED = "Erreur inattendue : rien n'est effacé de la caméra. Prévenez l'administrateur."

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
        self._docking_believed = False
        self._docked_at: datetime = house.clock.now()
        self.session_id = new_id()

    def run(self) -> str:
        """Go through the whole stay; returns the session's last state."""
        camera = self._open_session()
        if self._profile is None:
            return self._refuse("unknown_device", UNKNOWN)
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
            except Exception:
                log.exception("offload.crashed", session=self.session_id)
                self._incident("offload_failed", f"Baie {self._bay} : {UNEXPECTED}", camera)
                return self._close("failed", UNEXPECTED, "unexpected")

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
        self._believe_docking(camera)
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
                self._one(transport, file, rows[stored_path(file.path)], camera, card_damaged=bool(damage))
            self._settle(transport, camera, damaged=bool(damage))
        finally:
            transport.close()

    def _believe_docking(self, camera: Camera | None) -> None:
        """Take the docking's instant from a clock that is believed; raises ClockError until it is."""
        check_clock(self._house)
        if not self._docking_believed:
            self._docking_believed = True
            self._docked_at = self._house.clock.now()
            with self._house.database.write() as session:
                if camera is not None:
                    session.get_one(Camera, camera.id).last_docked_at = self._docked_at

    def _wanted(self, file: CameraFile) -> bool:
        return self._model.wants(file.path)

    def _list(self, files: list[CameraFile], camera: Camera | None) -> dict[str, str]:
        """Write the list of files, some thousands a transaction so that nobody waits long for the database; returns
        the id of each path's row. A second attempt in one stay finds the first one's rows.
        """
        with self._house.database.read() as session:
            known = select(OffloadFile.path, OffloadFile.id).where(OffloadFile.session_id == self.session_id)
            rows = {row.path: row.id for row in session.execute(known)}
        new = [
            {
                "id": new_id(),
                "session_id": self.session_id,
                "camera_id": camera.id if camera else None,
                "position": position,
                "path": stored_path(file.path),
                "size": min(file.size, LARGEST),
                "modified": file.modified.isoformat() if file.modified else None,
                "state": "listed",
                "message": "",
            }
            for position, file in enumerate(files)
            if stored_path(file.path) not in rows
        ]
        for start in range(0, len(new), LIST_BATCH):
            with self._house.database.write() as session:
                session.execute(insert(OffloadFile), new[start : start + LIST_BATCH])
        rows |= {str(row["path"]): str(row["id"]) for row in new}
        self._update(
            files_total=len(files),
            bytes_total=min(sum(min(file.size, LARGEST) for file in files), LARGEST),
            bytes_done=0,
            state="copying" if files else "listed",
            message="",
            error_code=None,
        )
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
            log.error("file.not_copied", session=self.session_id, path=file.path, error=str(error))
            self._left(row_id, file, "changed" if isinstance(error, ChangedError) else "damaged", error.person, camera)
            return
        except BwcError:
            raise
        except Exception:
            log.exception("file.crashed", session=self.session_id, path=file.path)
            self._left(row_id, file, "damaged", UNEXPECTED, camera)
            return
        finally:
            self._progress.done = start + min(file.size, LARGEST)
        self._count("files_safe")
        self._announce(taken.jobs)
        self._empty(transport, file, row_id, taken, camera, card_damaged=card_damaged)

    def _left(self, row_id: str, file: CameraFile, state: str, sentence: str, camera: Camera | None) -> None:
        """Say why one file stays on the camera; the others go on."""
        self._file(row_id, state=state, message=sentence)
        self._incident(f"file_{state}", f"Baie {self._bay}, {file.path[:200]} : {sentence}", camera)

    def _safe_copy(self, transport: Transport, file: CameraFile, row_id: str, camera: Camera | None) -> Taken:
        capacity = transport.capacity()
        if capacity is not None and file.size > capacity:
            raise CardError(f"{file.path!r} claims {file.size} bytes on a card of {capacity}")
        head = head_digest(transport, file)
        self._file(row_id, head_sha256=head)
        known = self._known_by_name(file, head, camera)
        if known is not None:
            again = self._met_again(transport, file, known, row_id, head)
            if again is not None:
                return again
        return self._copy(transport, file, row_id, head, camera)

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
                    OffloadFile.path == stored_path(file.path),
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
        proven = prove_kept(self._house, known.sha256, known.size) if digest.hexdigest() == known.sha256 else None
        if proven is None:
            return None
        with self._house.database.write() as session:
            again = still_kept(session, proven)
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
        return Taken(again.id, known.sha256, known.size, duplicate=True, read_back_sha256=known.sha256)

    def _copy(self, transport: Transport, file: CameraFile, row_id: str, head: str, camera: Camera | None) -> Taken:
        attempt = Attempt.fresh()
        identity = FileIdentity(self._identity.serial, file, head)
        earlier = self._parts.kept(identity)
        facts = self._provenance(file, camera)
        claimed = facts.named_start or claimed_instant(facts.card_time)
        last_emptied_at = camera.last_emptied_at if camera else None
        self._parts.begin(identity, attempt, recording_day(claimed, self._docked_at, last_emptied_at))
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
                facts,
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

    def _empty(
        self,
        transport: Transport,
        file: CameraFile,
        row_id: str,
        taken: Taken,
        camera: Camera | None,
        *,
        card_damaged: bool,
    ) -> None:
        """Delete the camera's file if the rule allows it, and say on its row what became of it."""
        emptying = Emptying(
            self._house,
            serial=self._identity.serial,
            card_damaged=card_damaged,
            wipe_allowed=self._wipe and camera is not None,
        )
        try:
            refused = emptying.delete(transport, file, taken)
        except DeviceGoneError:
            raise
        except DeviceError as error:
            log.error("camera.deletion_failed", session=self.session_id, path=file.path, error=str(error))
            self._file(row_id, message="La caméra n'a pas effacé ce fichier.")
            text = f"Baie {self._bay} : {file.path[:200]} n'a pas pu être effacé."
            self._incident("camera_not_emptied", text, camera)
            return
        if refused is not None:
            self._file(row_id, message=refused.reason)
            return
        self._file(row_id, state="deleted", deleted_at=self._house.clock.now(), message="")
        self._count("files_deleted")

    # The end of a stay

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
