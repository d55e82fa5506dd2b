"""The journal as pages show it: clear values of the ledger's entries, newest first, and one recording's custody."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, func, or_, select

from bwc.chain_of_custody.journal import Operation
from bwc.core.clock import paris_midnight
from bwc.db.models import Camera, Checkpoint, JournalEntry, Recording
from bwc.installation import Installation
from bwc.rules.access import Permission, Viewer, grants

PAGE_SIZE = 50
ABOUT_BYTES = (Operation.COLLECTE, Operation.MODIFICATION, Operation.EFFACEMENT, Operation.SYSTEME)


@dataclass(frozen=True)
class JournalLine:
    """One entry in clear. `checkpoint` is the size of the first checkpoint that covers it, None when none does."""

    seq: int
    at: datetime
    operation: str
    action: str
    actor_id: str | None
    actor: str
    recording_id: str | None
    motive: str | None
    recipients: tuple[str, ...]
    detail: dict[str, Any]
    checkpoint: int | None


@dataclass(frozen=True)
class JournalFilter:
    """What to list; days are civil days of Paris, both included."""

    operation: str = ""
    person_id: str = ""
    first_day: date | None = None
    last_day: date | None = None


@dataclass(frozen=True)
class JournalPage:
    """One page; `before` is where the next begins, None at the end. `cameras` labels recordings by their id."""

    lines: Sequence[JournalLine]
    before: int | None
    cameras: dict[str, str]


def journal_page(
    house: Installation, wanted: JournalFilter, before: int | None = None, size: int = PAGE_SIZE
) -> JournalPage:
    """Entries in the order last to first, from just before `before`."""
    query = select(JournalEntry).where(*_conditions(wanted)).order_by(JournalEntry.seq.desc()).limit(size + 1)
    if before is not None:
        query = query.where(JournalEntry.seq < before)
    with house.database.read() as session:
        found = session.scalars(query).all()
        covered = _checkpoints(session.scalars(select(Checkpoint.size).order_by(Checkpoint.size)).all())
        ids = {row.recording_id for row in found if row.recording_id}
        labels = select(Recording.id, Camera.label).join(Camera, Recording.camera_id == Camera.id)
        cameras = {row.id: row.label for row in session.execute(labels.where(Recording.id.in_(ids)))}
    lines = [_line(row, covered(row.seq)) for row in found[:size]]
    return JournalPage(lines, lines[-1].seq if len(found) > size else None, cameras)


def custody_of(house: Installation, viewer: Viewer, recording_id: str) -> list[JournalLine]:
    """Entries about one recording, first to last.

    Who may not read the journal sees what became of the bytes and what he did himself: others' consultations may
    belong to a procedure, even one about him.
    """
    query = select(JournalEntry).where(JournalEntry.recording_id == recording_id).order_by(JournalEntry.seq)
    if Permission.JOURNAL_READ not in grants(viewer.role):
        own = JournalEntry.actor_id == viewer.person_id
        query = query.where(or_(JournalEntry.operation.in_(ABOUT_BYTES), own))
    with house.database.read() as session:
        found = session.scalars(query).all()
        sizes = session.scalars(select(Checkpoint.size).order_by(Checkpoint.size)).all()
    covered = _checkpoints(sizes)
    return [_line(row, covered(row.seq)) for row in found]


def journal_size(house: Installation) -> int:
    """How many entries the journal holds."""
    with house.database.read() as session:
        return session.scalar(select(func.count()).select_from(JournalEntry)) or 0


def _checkpoints(sizes: Sequence[int]) -> Callable[[int], int | None]:
    """The size of the first checkpoint that covers an entry, as a function of its place."""

    def covering(seq: int) -> int | None:
        place = bisect_right(sizes, seq)
        return sizes[place] if place < len(sizes) else None

    return covering


def _line(row: JournalEntry, checkpoint: int | None) -> JournalLine:
    record = json.loads(row.record)
    return JournalLine(
        row.seq,
        row.at,
        row.operation,
        row.action,
        row.actor_id,
        record["actor"]["label"],
        row.recording_id,
        record["motive"],
        tuple(record["recipients"]),
        record["detail"],
        checkpoint,
    )


def _conditions(wanted: JournalFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.operation:
        conditions.append(JournalEntry.operation == wanted.operation)
    if wanted.person_id:
        conditions.append(JournalEntry.actor_id == wanted.person_id)
    if wanted.first_day:
        conditions.append(JournalEntry.at >= paris_midnight(wanted.first_day))
    if wanted.last_day:
        conditions.append(JournalEntry.at < paris_midnight(wanted.last_day + timedelta(days=1)))
    return conditions
