"""Recordings as lists and as one: filters, keyset pages, and the right to know that they exist."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import ColumnElement, Select, and_, false, func, or_, select
from sqlalchemy.orm import joinedload, selectinload

from bwc.consultation import viewed_of
from bwc.db.models import Camera, Consultation, OffloadSession, Person, Recording
from bwc.installation import Installation
from bwc.rules.access import Role, Viewer, has_ground, may_see_listed

PAGE_SIZE = 50
SEGMENT = timedelta(minutes=30)  # longest file cameras write before they begin the next


@dataclass(frozen=True)
class Cursor:
    """Place in the list: the last row shown. `started` is None among recordings without a claimed start."""

    started: datetime | None
    id: str


@dataclass(frozen=True)
class RecordingFilter:
    """What to list. Days are civil days of Paris, both included; `between` bounds instants the recording touches.

    Each of `words` must be found in the camera's label, the wearer's names or matricule, or the place.
    """

    state: str = ""  # "" = not erased, or held, quarantined, erased
    camera_id: str = ""
    wearer_id: str = ""
    first_day: date | None = None
    last_day: date | None = None
    between: tuple[datetime, datetime] | None = None
    words: tuple[str, ...] = ()
    due_until: date | None = None
    incomplete: bool = False


@dataclass(frozen=True)
class RecordingPage:
    """One page; `after` is where the next begins, None at the end; `total` counts the whole list."""

    rows: Sequence[Recording]
    after: Cursor | None
    total: int


def list_recordings(
    house: Installation,
    viewer: Viewer,
    wanted: RecordingFilter,
    cursor: Cursor | None = None,
    size: int = PAGE_SIZE,
    *,
    by_term: bool = False,
) -> RecordingPage:
    """Recordings the viewer may know of, latest start first (or nearest term first, then without a cursor)."""
    now = house.clock.now()
    conditions = [*visible_to(viewer, now), *_conditions(wanted)]
    query = select(Recording).where(*conditions).limit(size + 1)
    if by_term:
        query = query.order_by(Recording.due_on, Recording.claimed_start, Recording.id)
    else:
        query = query.order_by(Recording.claimed_start.desc().nulls_last(), Recording.id.desc())
        query = query if cursor is None else query.where(_after(cursor))
    with house.database.read() as session:
        found = session.scalars(query).all()
        total = session.scalar(_count(conditions)) or 0
    rows = [row for row in found[:size] if may_see_listed(viewer, viewed_of(row), now)]
    last = found[size - 1] if len(found) > size else None
    return RecordingPage(rows, Cursor(last.claimed_start, last.id) if last else None, total)


def one_recording(house: Installation, viewer: Viewer, recording_id: str) -> Recording | None:
    """The recording with all its page shows, None when there is none or the viewer may not know of it."""
    query = (
        select(Recording)
        .where(Recording.id == recording_id)
        .options(joinedload(Recording.camera), joinedload(Recording.wearer), selectinload(Recording.order))
        .options(selectinload(Recording.derivatives))
    )
    with house.database.read() as session:
        found = session.scalars(query).one_or_none()
    if found is None or not may_see_listed(viewer, viewed_of(found), house.clock.now()):
        return None
    return found


def drift_method_of(house: Installation, recording: Recording) -> str:
    """How the camera's drift was bounded at the docking the recording came from; empty when it was not."""
    if recording.offload_session_id is None:
        return ""
    with house.database.read() as session:
        found = session.get(OffloadSession, recording.offload_session_id)
        return found.drift_method if found else ""


def consultation_of(house: Installation, person_id: str, consultation_id: str) -> Consultation | None:
    """A consultation of that person's own, None otherwise."""
    with house.database.read() as session:
        found = session.get(Consultation, consultation_id)
    return found if found is not None and found.person_id == person_id else None


def visible_to(viewer: Viewer, now: datetime) -> list[ColumnElement[bool]]:
    """The rule `may_see_listed` as conditions on recordings, so that a page is filtered where it is cut."""
    if not has_ground(viewer, now):
        return [false()]
    conditions: list[ColumnElement[bool]] = [Recording.commune.in_(viewer.communes)]
    if viewer.role is Role.WEARER:
        conditions.append(Recording.wearer_id == viewer.person_id)
    return conditions


def incomplete_condition() -> ColumnElement[bool]:
    """No wearer, or neither a place nor a position (R241-10 3° and 4°)."""
    no_place = and_(Recording.place == "", Recording.latitude_e7.is_(None))
    return or_(Recording.wearer_id.is_(None), no_place)


def _conditions(wanted: RecordingFilter) -> list[ColumnElement[bool]]:
    states = {"": ("held", "quarantined"), "erased": ("erasing", "erased")}
    conditions: list[ColumnElement[bool]] = [Recording.state.in_(states.get(wanted.state, (wanted.state,)))]
    if wanted.camera_id:
        conditions.append(Recording.camera_id == wanted.camera_id)
    if wanted.wearer_id:
        conditions.append(Recording.wearer_id == wanted.wearer_id)
    if wanted.first_day:
        conditions.append(Recording.recorded_on >= wanted.first_day)
    if wanted.last_day:
        conditions.append(Recording.recorded_on <= wanted.last_day)
    if wanted.due_until:
        conditions.append(Recording.due_on <= wanted.due_until)
    if wanted.incomplete:
        conditions.append(incomplete_condition())
    if wanted.between:
        conditions += _touching(*wanted.between)
    return conditions + [_has_word(word) for word in wanted.words]


def _touching(first: datetime, last: datetime) -> list[ColumnElement[bool]]:
    """Recordings that started between the two, or a camera's usual segment length before."""
    return [Recording.claimed_start >= first - SEGMENT, Recording.claimed_start <= last]


def _has_word(word: str) -> ColumnElement[bool]:
    in_camera = select(Camera.id).where(Camera.label.icontains(word, autoescape=True))
    in_person = select(Person.id).where(
        or_(
            Person.last_name.icontains(word, autoescape=True),
            Person.first_name.icontains(word, autoescape=True),
            Person.matricule.icontains(word, autoescape=True),
        )
    )
    return or_(
        Recording.camera_id.in_(in_camera),
        Recording.wearer_id.in_(in_person),
        Recording.place.icontains(word, autoescape=True),
    )


def _after(cursor: Cursor) -> ColumnElement[bool]:
    if cursor.started is None:
        return and_(Recording.claimed_start.is_(None), Recording.id < cursor.id)
    earlier = Recording.claimed_start < cursor.started
    same = and_(Recording.claimed_start == cursor.started, Recording.id < cursor.id)
    return or_(earlier, same, Recording.claimed_start.is_(None))


def _count(conditions: list[ColumnElement[bool]]) -> Select[int]:
    return select(func.count()).select_from(Recording).where(*conditions)
