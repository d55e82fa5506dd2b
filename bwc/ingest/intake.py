"""Intake: a stream and its facts in, one recording out, in three steps that a crash may cut anywhere.

1. one pass: read, SHA-256, encrypt, write, made durable under its final name;
2. read back from the disk, decrypted, compared;
3. one transaction: recording, wrapped key, ledger entry, jobs.
Before step 3 commits, the recording does not exist and its source must not be touched; after, it exists wholly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from bwc.chain_of_custody.journal import SYSTEM_ACTOR, Event, Operation
from bwc.core.clock import iso_utc
from bwc.core.errors import BwcError, EvidenceError, StorageError
from bwc.core.ids import new_id
from bwc.db.models import (
    Camera,
    CameraIssue,
    Incident,
    Job,
    Order,
    Recording,
    RecordingKey,
)
from bwc.ingest.media_facts import MediaFacts, read_facts
from bwc.installation import Installation
from bwc.rules.orders import covers, order_for
from bwc.rules.retention import RecordingDay, bodycam_term, claimed_instant, recording_day
from bwc.town import order_value
from bwc.vault.keys import new_key
from bwc.vault.store import ByteSource, Stored

log = structlog.get_logger()

QUARANTINE_REASONS = {
    "unknown_camera": "caméra absente de l'inventaire",
    "no_wearer": "porteur inconnu à cette heure",
    "not_covered": "aucun arrêté ne le couvre",
    "clock_future": "horloge de la caméra en avance : date à confirmer",
    "clock_past": "horloge de la caméra en retard : date à confirmer",
    "clock_absent": "aucune date donnée par la caméra",
    "older_than_term": "date annoncée hors délai : date à confirmer",
    "camera_lost": "caméra déclarée perdue ou retirée",
}


@dataclass(frozen=True)
class Provenance:
    """What is known of a file besides its bytes.

    `path` is the camera's own name for it; `named_start` the start its name tells, `card_time` its date on the card
    (naive: camera's local time); `docked_at` the reference time of docking (aware).
    """

    source: str  # "usb" | "folder"
    path: str
    size: int
    docked_at: datetime
    commune: str
    camera_id: str | None = None
    serial: str = ""
    session_id: str | None = None
    named_start: datetime | None = None
    card_time: datetime | None = None
    drift_ms: int | None = None


@dataclass(frozen=True)
class Attempt:
    """One attempt at a copy: the recording it will become and the key it is written under, used once."""

    recording_id: str
    key: bytes

    @classmethod
    def fresh(cls) -> Attempt:
        """A new one."""
        return cls(new_id(), new_key())


@dataclass(frozen=True)
class Taken:
    """What became of a file: the recording that holds its bytes, whether these were known already, jobs to do."""

    recording_id: str
    sha256: str
    size: int
    duplicate: bool
    read_back_sha256: str  # of the stored container that holds the bytes, read past the cache in this very act
    jobs: tuple[str, ...] = ()


def take_in(
    house: Installation,
    source: ByteSource,
    facts: Provenance,
    *,
    attempt: Attempt | None = None,
    progress: Callable[[int], None] | None = None,
    still_same: Callable[[int], None] | None = None,
    also: Callable[[Session, Taken], None] | None = None,
) -> Taken:
    """Take one file in, wholly or not at all.

    With an `attempt`, what was copied before an interruption stays as a part of that name, for a later one to go on
    from. `still_same` is called with the bytes read once the copy is made and raises if the source changed under
    it; `also` runs in the committing transaction. Raises StorageError (disk full or failing: nothing was kept),
    EvidenceError (what the disk gave back is not what was read), or whatever the source raises.
    """
    if not house.vault.room_for(facts.size):
        raise StorageError(
            f"no room for {facts.size} bytes",
            code="disk_full",
            person="Le disque est plein : la copie attend, les enregistrements restent sur la caméra.",
        )
    this = attempt or Attempt.fresh()
    with house.vault.writing():
        stored = house.vault.take(
            source, this.key, this.recording_id, part=this.recording_id if attempt else None, progress=progress
        )
        try:
            if still_same is not None:
                still_same(stored.size)
            _prove(house, stored, this)
            media = _media(house, stored, this)
            proven = prove_kept(house, stored.sha256, stored.size)
            return _commit(house, stored, this, facts, media, proven, also)
        except BaseException:
            house.vault.destroy(stored.name)
            raise


def _prove(house: Installation, stored: Stored, attempt: Attempt) -> None:
    given_back = house.vault.read_back(stored.name, attempt.key, attempt.recording_id)
    if given_back != stored.sha256:
        raise EvidenceError(
            f"read-back of {attempt.recording_id} gave {given_back}, copied {stored.sha256}", code="read_back"
        )


def _media(house: Installation, stored: Stored, attempt: Attempt) -> MediaFacts:
    with house.vault.open(stored.name, attempt.key, attempt.recording_id) as file:
        return read_facts(file, stored.size)


def _commit(
    house: Installation,
    stored: Stored,
    attempt: Attempt,
    facts: Provenance,
    media: MediaFacts,
    proven: str | None,
    also: Callable[[Session, Taken], None] | None,
) -> Taken:
    with house.database.write() as session:
        known = still_kept(session, proven) if proven else None
        if known is not None:
            taken = Taken(known.id, stored.sha256, stored.size, duplicate=True, read_back_sha256=known.sha256)
            house.ledger.append(session, _duplicate_event(known, facts))
        else:
            taken = _write(house, session, stored, attempt, facts, media)
        if also is not None:
            also(session, taken)
    if taken.duplicate:
        house.vault.destroy(stored.name)
    log.info("recording.taken_in", recording=taken.recording_id, size=taken.size, duplicate=taken.duplicate)
    return taken


def still_kept(session: Session, recording_id: str) -> Recording | None:
    """The recording if it is kept and its key lives, seen in the caller's transaction."""
    row = session.get(Recording, recording_id)
    if row is None or row.state not in {"held", "quarantined"} or session.get(RecordingKey, row.id) is None:
        return None
    return row


def prove_kept(house: Installation, sha256: str, size: int) -> str | None:
    """Id of a recording that is catalogued with these bytes and whose container, read back now, gives them.

    A catalogued copy that does not is an incident, and counts as none: the new copy is then filed beside it.
    """
    with house.database.read() as session:
        rows = session.scalars(
            select(Recording).where(
                Recording.sha256 == sha256, Recording.size == size, Recording.state.in_(("held", "quarantined"))
            )
        ).all()
    for row in rows:
        try:
            with house.database.read() as session:
                wrapped = session.get(RecordingKey, row.id)
            if wrapped is not None:
                key = house.keys.unwrap(wrapped.day_key_id, row.id, wrapped.wrapped)
                if house.vault.read_back(row.vault_name, key, row.id) == sha256:
                    return row.id
        except BwcError as error:
            log.error("duplicate.not_proven", recording=row.id, error=str(error))
        _report_rotten(house, row.id)
    return None


def _report_rotten(house: Installation, recording_id: str) -> None:
    text = f"Contrôle d'intégrité : l'original de {recording_id} n'est plus conforme ; une nouvelle copie est gardée."
    with house.database.write() as session:
        now = house.clock.now()
        session.add(Incident(id=new_id(), kind="integrity", text=text, recording_id=recording_id, opened_at=now))
        event = Event(
            Operation.SYSTEME,
            "recording.integrity_failed",
            SYSTEM_ACTOR,
            recording_id=recording_id,
            detail={"what": "original", "error": "not proven when its bytes were met again"},
        )
        house.ledger.append(session, event)


def _write(
    house: Installation,
    session: Session,
    stored: Stored,
    attempt: Attempt,
    facts: Provenance,
    media: MediaFacts,
) -> Taken:
    now = house.clock.now()
    claimed, claimed_source = _claimed_start(facts, media)
    camera = session.get(Camera, facts.camera_id) if facts.camera_id else None
    day = recording_day(claimed, facts.docked_at, camera.last_emptied_at if camera else None)
    term = bodycam_term(day.day)
    wearer_id = _wearer(session, camera, claimed if day.doubt is None else None, facts.docked_at)
    order, reasons = _grounds(session, day, facts.commune, camera, wearer_id)
    row = Recording(
        id=attempt.recording_id,
        camera_id=camera.id if camera else None,
        serial=facts.serial,
        wearer_id=wearer_id,
        wearer_origin="issue_register" if wearer_id else "",
        order_id=order.id if order else None,
        commune=facts.commune,
        source=facts.source,
        source_path=facts.path,
        offload_session_id=facts.session_id,
        size=stored.size,
        sha256=stored.sha256,
        vault_name=stored.name,
        verified_at=now,
        claimed_start=claimed,
        claimed_source=claimed_source,
        docked_at=facts.docked_at,
        received_at=now,
        drift_ms=facts.drift_ms,
        recorded_on=term.recorded_on,
        recorded_on_origin=day.origin,
        due_on=term.due_on,
        term_rule=term.rule,
        state="quarantined" if reasons else "held",
        quarantine=reasons,
        media_state="read" if media.readable else "unreadable",
        media=media.to_json(),
        duration_ms=media.duration_ms,
        latitude_e7=media.latitude_e7,
        longitude_e7=media.longitude_e7,
        place_origin="camera" if media.latitude_e7 is not None else "",
    )
    session.add(row)
    session.flush()
    day_key = house.keys.day_key_for(session, term.due_on, now)
    session.add(
        RecordingKey(recording_id=row.id, day_key_id=day_key, wrapped=house.keys.wrap(day_key, row.id, attempt.key))
    )
    house.ledger.append(session, _taken_event(row, camera, order))
    if reasons:
        text = "Enregistrement en quarantaine : " + ", ".join(QUARANTINE_REASONS[reason] for reason in reasons) + "."
        session.add(Incident(id=new_id(), kind="quarantine", text=text, recording_id=row.id, opened_at=now))
    jobs = tuple(_queue(session, row, now)) if media.readable else ()
    read_back = stored.sha256  # `_prove` raised unless the disk gave exactly this
    return Taken(row.id, stored.sha256, stored.size, duplicate=False, read_back_sha256=read_back, jobs=jobs)


def _claimed_start(facts: Provenance, media: MediaFacts) -> tuple[datetime | None, str]:
    """The start the camera claims: its file's name first, then the container's date, then the card's."""
    if facts.named_start is not None:
        return claimed_instant(facts.named_start), "file_name"
    if media.started_claim is not None:
        return media.started_claim, "container"
    if facts.card_time is not None:
        return claimed_instant(facts.card_time), "card"
    return None, ""


def _wearer(session: Session, camera: Camera | None, claimed: datetime | None, docked_at: datetime) -> str | None:
    """Who held the camera, by the register of issues: at the recording's start, or at docking when that is unsure."""
    if camera is None:
        return None
    moment = claimed or docked_at
    return session.scalars(
        select(CameraIssue.person_id)
        .where(
            CameraIssue.camera_id == camera.id,
            CameraIssue.issued_at <= moment,
            or_(CameraIssue.returned_at.is_(None), CameraIssue.returned_at > moment),
        )
        .order_by(CameraIssue.issued_at.desc())
        .limit(1)
    ).first()


def _grounds(
    session: Session, day: RecordingDay, commune: str, camera: Camera | None, wearer_id: str | None
) -> tuple[Order | None, list[str]]:
    """The order that covers the recording, and why it must be set apart, if it must (rule BWC-QUA-1)."""
    rows = session.scalars(select(Order).where(Order.kind == "bodycam")).all()
    by_number = {row.number: row for row in rows}
    fitting = order_for((order_value(row) for row in rows), day.day, commune)
    reasons = []
    if camera is None:
        reasons.append("unknown_camera")
    elif camera.state != "in_service":
        reasons.append("camera_lost")
    if not covers(fitting, day.day, commune):
        reasons.append("not_covered")
    if wearer_id is None:
        reasons.append("no_wearer")
    if day.doubt is not None:
        reasons.append(day.doubt)
    return (by_number[fitting.number] if fitting else None), reasons


def _taken_event(row: Recording, camera: Camera | None, order: Order | None) -> Event:
    detail: dict[str, Any] = {
        "sha256": row.sha256,
        "size": row.size,
        "path": row.source_path,
        "source": row.source,
        "camera": camera.label if camera else None,
        "serial": row.serial,
        "wearer": row.wearer_id,
        "order": order.number if order else None,
        "claimed_start": iso_utc(row.claimed_start) if row.claimed_start else None,
        "claimed_source": row.claimed_source,
        "docked_at": iso_utc(row.docked_at),
        "recorded_on": row.recorded_on.isoformat(),
        "recorded_on_origin": row.recorded_on_origin,
        "due_on": row.due_on.isoformat(),
        "rule": row.term_rule,
        "quarantine": row.quarantine,
        "drift_ms": row.drift_ms,
    }
    return Event(Operation.COLLECTE, "recording.taken_in", SYSTEM_ACTOR, recording_id=row.id, detail=detail)


def _duplicate_event(known: Recording, facts: Provenance) -> Event:
    detail = {"path": facts.path, "serial": facts.serial, "session": facts.session_id, "sha256": known.sha256}
    return Event(Operation.COLLECTE, "recording.met_again", SYSTEM_ACTOR, recording_id=known.id, detail=detail)


def _queue(session: Session, row: Recording, now: datetime) -> list[str]:
    kinds = ["poster", "proxy"]
    jobs = [Job(id=new_id(), kind=kind, subject_id=row.id, not_before=now, made_at=now) for kind in kinds]
    session.add_all(jobs)
    return [job.id for job in jobs]
