"""What the dock board shows: for each bay, the camera that sits in it and how far its copy is.

A query over the catalogue, never over the bus: the board tells what the docking process committed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from bwc.db.models import Bay, Camera, OffloadSession, Person
from bwc.installation import Installation

REMEMBER = timedelta(minutes=15)  # how long an empty bay still tells that its last camera went badly


class Phase(StrEnum):
    """What a bay is doing, as whoever stands before it needs to know."""

    FREE = "free"
    DETECTING = "detecting"
    COPYING = "copying"
    VERIFYING = "verifying"
    READY = "ready"
    PULLED = "pulled"
    UNKNOWN = "unknown"
    FAILED = "failed"


@dataclass(frozen=True)
class BayState:
    """One bay. `left` is the time to the end of the copy, None when it cannot be told; sizes in bytes."""

    number: int
    phase: Phase
    camera: str = ""
    wearer: str = ""
    matricule: str = ""
    message: str = ""
    files_total: int = 0
    files_safe: int = 0
    bytes_total: int = 0
    bytes_done: int = 0
    left: timedelta | None = None
    drift_ms: int | None = None
    drift_known: bool = False
    occupied: bool = False

    @property
    def percent(self) -> int:
        """Share of the bytes copied, 0 to 100."""
        if not self.bytes_total:
            return 100 if self.phase is Phase.READY else 0
        return max(0, min(100, self.bytes_done * 100 // self.bytes_total))


@dataclass(frozen=True)
class BoardState:
    """The whole board at `at`: every bay by its number."""

    at: datetime
    bays: Sequence[BayState]

    @property
    def ready(self) -> list[BayState]:
        """Bays whose camera may be taken."""
        return [bay for bay in self.bays if bay.phase is Phase.READY]


def board_state(house: Installation) -> BoardState:
    """The board as the catalogue stands now."""
    now = house.clock.now()
    with house.database.read() as session:
        numbers = session.scalars(select(Bay.number).order_by(Bay.number)).all()
        latest = _latest_sessions(session)
    return BoardState(now, [_bay(number, latest.get(number), now) for number in numbers])


_Row = tuple[OffloadSession, Camera | None, Person | None]


def _latest_sessions(session: Session) -> dict[int, _Row]:
    """The last stay of each bay, with its camera and wearer."""
    place = func.row_number().over(
        partition_by=OffloadSession.bay_number,
        order_by=(OffloadSession.opened_at.desc(), OffloadSession.id.desc()),
    )
    numbered = (
        select(OffloadSession.id, place.label("place")).where(OffloadSession.bay_number.is_not(None)).subquery()
    )
    query = (
        select(OffloadSession, Camera, Person)
        .join(numbered, numbered.c.id == OffloadSession.id)
        .outerjoin(Camera, Camera.id == OffloadSession.camera_id)
        .outerjoin(Person, Person.id == OffloadSession.wearer_id)
        .where(numbered.c.place == 1)
    )
    return {row[0].bay_number: (row[0], row[1], row[2]) for row in session.execute(query)}


def phase_of(stay: OffloadSession, now: datetime) -> Phase:
    """The phase of a bay from its last stay; a stay closed without trouble leaves the bay free."""
    closed = stay.closed_at is not None
    if closed and now - (stay.closed_at or now) > REMEMBER:
        return Phase.FREE
    if stay.state == "done":
        return Phase.FREE if closed else Phase.READY
    if stay.state in {"refused", "failed"}:
        return Phase.UNKNOWN if stay.state == "refused" else Phase.FAILED
    if stay.state == "gone" or closed:
        return Phase.PULLED
    if stay.state != "copying":
        return Phase.DETECTING
    return Phase.VERIFYING if stay.bytes_total and stay.bytes_done >= stay.bytes_total else Phase.COPYING


def _bay(number: int, row: _Row | None, now: datetime) -> BayState:
    if row is None or (phase := phase_of(row[0], now)) is Phase.FREE:
        return BayState(number, Phase.FREE)
    stay, camera, wearer = row
    return BayState(
        number,
        phase,
        camera=camera.label if camera else stay.serial or stay.device,
        wearer=wearer.display_name if wearer else "",
        matricule=wearer.matricule if wearer else "",
        message=stay.message,
        files_total=stay.files_total,
        files_safe=stay.files_safe,
        bytes_total=stay.bytes_total,
        bytes_done=stay.bytes_done,
        left=_time_left(stay) if phase is Phase.COPYING else None,
        drift_ms=stay.drift_ms,
        drift_known=stay.drift_ms is not None or bool(stay.drift_method) or stay.state in {"copying", "done"},
        occupied=stay.closed_at is None and stay.state != "gone",
    )


def _time_left(stay: OffloadSession) -> timedelta | None:
    if stay.bytes_per_s <= 0 or not stay.bytes_total:
        return None
    return timedelta(seconds=max(0, stay.bytes_total - stay.bytes_done) / stay.bytes_per_s)
