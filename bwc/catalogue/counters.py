"""The home page's four counters, each the head of a list, the day's dockings, and the open incidents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import func, select

from bwc.catalogue.recordings import RecordingFilter, list_recordings
from bwc.core.clock import PARIS, paris_day, paris_midnight
from bwc.db.models import Camera, Incident, JournalEntry, OffloadSession, Person, Recording
from bwc.installation import Installation
from bwc.rules.access import Viewer

EXTRACTION_ALARM_DAYS = 10  # the first of the alarms before erasure (legal.md §1.7: D-10, D-5, D-2)
HEAD_ROWS = 5


@dataclass(frozen=True)
class Counter:
    """How many, and the first of them."""

    total: int
    rows: Sequence[Recording]


@dataclass(frozen=True)
class Counters:
    """The three lists of recordings somebody must act on."""

    to_extract: Counter
    to_complete: Counter
    quarantined: Counter
    extract_until: date


@dataclass(frozen=True)
class Docking:
    """One stay on the dock, as the day's strip shows it; `hour` is Paris time."""

    session: OffloadSession
    camera: str
    wearer: str
    hour: int


def counters(house: Installation, viewer: Viewer) -> Counters:
    """The lists as this viewer may know them, nearest term first."""
    until = paris_day(house.clock.now()) + timedelta(days=EXTRACTION_ALARM_DAYS)

    def counted(wanted: RecordingFilter) -> Counter:
        page = list_recordings(house, viewer, wanted, size=HEAD_ROWS, by_term=True)
        return Counter(page.total, page.rows)

    return Counters(
        counted(RecordingFilter(due_until=until)),
        counted(RecordingFilter(incomplete=True)),
        counted(RecordingFilter(state="quarantined")),
        until,
    )


def open_incidents(house: Installation) -> Sequence[Incident]:
    """Incidents nobody has closed, latest first."""
    query = select(Incident).where(Incident.closed_at.is_(None)).order_by(Incident.opened_at.desc())
    with house.database.read() as session:
        return session.scalars(query).all()


def dockings_of(house: Installation, day: date) -> list[Docking]:
    """Stays that began on the civil day, first to last."""
    query = (
        select(OffloadSession, Camera.label, Person)
        .outerjoin(Camera, Camera.id == OffloadSession.camera_id)
        .outerjoin(Person, Person.id == OffloadSession.wearer_id)
        .where(OffloadSession.opened_at >= paris_midnight(day))
        .where(OffloadSession.opened_at < paris_midnight(day + timedelta(days=1)))
        .order_by(OffloadSession.opened_at)
    )
    with house.database.read() as session:
        return [_docking(*row) for row in session.execute(query)]


def count_actions(house: Installation, action: str, since: datetime) -> int:
    """How many entries of that action the journal holds from `since` on."""
    query = select(func.count()).select_from(JournalEntry)
    query = query.where(JournalEntry.action == action, JournalEntry.at >= since)
    with house.database.read() as session:
        return session.scalar(query) or 0


def _docking(session: OffloadSession, label: str | None, wearer: Person | None) -> Docking:
    hour = session.opened_at.astimezone(PARIS).hour
    return Docking(session, label or session.serial or "inconnue", wearer.display_name if wearer else "", hour)
