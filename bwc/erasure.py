"""The end of a recording: term reached, key destroyed, bytes removed, certificate issued. Rules BWC-RET-1, -3, -5.

Order, so that a crash between any two steps leaves something `finish_erasures` can complete and never a recording
whose row says erased while its key lives: 1. one transaction destroys the wrapped key, marks the row `erasing` and
writes the ledger entry; 2. the database's files forget the key; 3. bytes are unlinked; 4. one transaction issues the
certificate and marks the row `erased`. A day key goes with the last recording it protected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import structlog
from sqlalchemy import delete, select, union
from sqlalchemy.orm import Session

from bwc.chain_of_custody.journal import SYSTEM_ACTOR, Event, Operation
from bwc.clock_guard import check_clock
from bwc.consultation import term_of
from bwc.core.clock import iso_utc, paris_day
from bwc.core.errors import StorageError
from bwc.core.ids import new_id
from bwc.db.models import (
    DayKey,
    Derivative,
    ErasureCertificate,
    Incident,
    Job,
    Part,
    Recording,
    RecordingKey,
)
from bwc.installation import Installation

log = structlog.get_logger()

LATE_AFTER = timedelta(hours=24)  # the daily run has one day; beyond it the erasure is late, and an incident


@dataclass(frozen=True)
class Due:
    """A recording whose term is over."""

    recording_id: str
    recorded_on: date
    due_on: date
    sha256: str
    size: int
    late: bool


def due_recordings(house: Installation) -> list[Due]:
    """Every recording whose term is over now and that is not erased yet, oldest first."""
    now = house.clock.now()
    with house.database.read() as session:
        rows = session.scalars(
            select(Recording)
            .where(Recording.state.in_(("held", "quarantined")), Recording.due_on < paris_day(now))
            .order_by(Recording.due_on, Recording.id)
        ).all()
        return [
            Due(row.id, row.recorded_on, row.due_on, row.sha256, row.size, _is_late(row, now))
            for row in rows
            if term_of(row).is_over(now)
        ]


def erase_due(house: Installation) -> list[str]:
    """Erase everything due, finish what a crash left half done; returns the recordings erased by this call.

    Raises ClockError, with nothing begun, when the machine's clock is not believed (BWC-CLK-1, BWC-CLK-2).
    """
    check_clock(house)
    started = [due.recording_id for due in due_recordings(house) if _destroy_key(house, due.recording_id)]
    _expire_parts(house)
    finished = finish_erasures(house)
    log.info("erasure.run", begun=len(started), finished=len(finished))
    return finished


def finish_erasures(house: Installation) -> list[str]:
    """Complete every erasure whose key is destroyed: forget, unlink, certify. Safe to call at any time.

    Raises StorageError when readers keep the database from forgetting; the next run completes it.
    """
    with house.database.read() as session:
        waiting = session.scalars(select(Recording.id).where(Recording.state == "erasing")).all()
        idle = _idle_day_keys(house, session)
    if not waiting and not idle:
        return []
    if not house.database.forget_deleted_bytes():
        raise StorageError("readers keep the write-ahead log from being cut", code="erasure_delayed")
    _destroy_day_keys(house)
    for recording_id in waiting:
        _unlink_and_certify(house, recording_id)
    return list(waiting)


def _is_late(row: Recording, now: datetime) -> bool:
    return now > term_of(row).ends_at + LATE_AFTER


def _destroy_key(house: Installation, recording_id: str) -> bool:
    now = house.clock.now()
    with house.database.write() as session:
        row = session.get(Recording, recording_id)
        if row is None or row.state not in {"held", "quarantined"} or not term_of(row).is_over(now):
            return False
        session.execute(delete(RecordingKey).where(RecordingKey.recording_id == recording_id))
        session.execute(delete(Job).where(Job.subject_id == recording_id, Job.state.in_(("queued", "failed"))))
        row.state = "erasing"
        detail = {
            "sha256": row.sha256,
            "size": row.size,
            "due_on": row.due_on.isoformat(),
            "rule": row.term_rule,
            "late": _is_late(row, now),
        }
        event = Event(
            Operation.EFFACEMENT,
            "recording.key_destroyed",
            SYSTEM_ACTOR,
            recording_id=row.id,
            motive=row.term_rule,
            detail=detail,
        )
        house.ledger.append(session, event)
        if _is_late(row, now):
            text = f"Effacement tardif : le terme était le {row.due_on:%d/%m/%Y}."
            session.add(Incident(id=new_id(), kind="late_erasure", text=text, recording_id=row.id, opened_at=now))
    return True


def _expire_parts(house: Installation) -> None:
    """Unfinished copies of cameras that never came back go one month after their docking, like what they are of."""
    today = paris_day(house.clock.now())
    with house.database.write() as session:
        over = select(DayKey.id).where(DayKey.due_on < today)
        names = list(session.scalars(select(Part.name).where(Part.day_key_id.in_(over))))
        if names:
            session.execute(delete(Part).where(Part.name.in_(names)))
            event = Event(Operation.EFFACEMENT, "parts.expired", SYSTEM_ACTOR, detail={"parts": names})
            house.ledger.append(session, event)
    for name in names:
        house.vault.discard_part(name)


def _idle_day_keys(house: Installation, session: Session) -> Sequence[DayKey]:
    """Day keys of terms that are over and that protect nothing any more."""
    in_use = union(select(RecordingKey.day_key_id), select(Part.day_key_id))
    return session.scalars(
        select(DayKey).where(
            DayKey.destroyed_at.is_(None),
            DayKey.due_on < paris_day(house.clock.now()),
            DayKey.id.not_in(in_use),
        )
    ).all()


def _destroy_day_keys(house: Installation) -> None:
    now = house.clock.now()
    with house.database.write() as session:
        for day_key in _idle_day_keys(house, session):
            house.keys.destroy_day_key(day_key.id)
            day_key.destroyed_at = now


def _unlink_and_certify(house: Installation, recording_id: str) -> None:
    with house.database.read() as session:
        row = session.get_one(Recording, recording_id)
        names = [row.vault_name, *(derivative.vault_name for derivative in row.derivatives)]
        destroyed = ["clé", "original", *sorted(derivative.kind for derivative in row.derivatives)]
    for name in names:
        house.vault.destroy(name)
    with house.database.write() as session:
        _certify(house, session, recording_id, destroyed)


def _certify(house: Installation, session: Session, recording_id: str, destroyed: list[str]) -> None:
    now = house.clock.now()
    row = session.get_one(Recording, recording_id)
    if row.state != "erasing":
        return
    session.execute(delete(Derivative).where(Derivative.recording_id == recording_id))
    late = _is_late(row, now)
    detail = {
        "sha256": row.sha256,
        "due_on": row.due_on.isoformat(),
        "done_at": iso_utc(now),
        "destroyed": destroyed,
        "late": late,
        "archives_agreement": house.town.archives_agreement,
    }
    event = Event(
        Operation.EFFACEMENT,
        "recording.erased",
        SYSTEM_ACTOR,
        recording_id=row.id,
        motive=row.term_rule,
        detail=detail,
    )
    seq = house.ledger.append(session, event)
    row.state = "erased"
    row.erased_at = now
    session.add(
        ErasureCertificate(
            id=new_id(),
            recording_id=row.id,
            sha256=row.sha256,
            size=row.size,
            recorded_on=row.recorded_on,
            due_on=row.due_on,
            rule=row.term_rule,
            order_number=row.order.number if row.order else "",
            archives_agreement=house.town.archives_agreement or "",
            destroyed=destroyed,
            late=late,
            done_at=now,
            ledger_seq=seq,
        )
    )
