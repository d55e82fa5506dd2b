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
    WAITING = "waiting"
    PULLED = "pulled"
    UNKNOWN = "unknown"
    FAILED = "failed"


@dataclass(frozen=True)
class BayState:
    """One bay. `port` is the last step of its USB path, `left` the time to the end of the copy (None when it
    cannot be told); sizes in bytes.
    """

    number: int
    phase: Phase
    port: int = 0
    camera: str = ""
    serial: str = ""
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
    drift_method: str = ""
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
        bays = session.scalars(select(Bay).order_by(Bay.number)).all()
        latest = _latest_sessions(session)
    return BoardState(now, [_bay(bay, latest.get(bay.number), now) for bay in bays])


_Row = tuple[OffloadSession, Camera | None, Person | None]


def _latest_sessions(session: Session) -> dict[int, _Row]:
    """The last stay of each bay, with its camera and wearer."""
    place = func.row_number().over(
        partition_by=OffloadSession.bay_number,
        order_by=(OffloadSession.opened_at.desc(), OffloadSession.id.desc()),
    )
    numbered = select(OffloadSession.id, place.label("place")).where(OffloadSession.bay_number.is_not(None)).subquery()
    query = (
        select(OffloadSession, Camera, Person)
        .join(numbered, numbered.c.id == OffloadSession.id)
        .outerjoin(Camera, Camera.id == OffloadSession.camera_id)
        .outerjoin(Person, Person.id == OffloadSession.wearer_id)
        .where(numbered.c.place == 1)
    )
    return {stay.bay_number or 0: (stay, camera, person) for stay, camera, person in session.execute(query)}


def phase_of(stay: OffloadSession, now: datetime) -> Phase:
    """The phase of a bay from its last stay.

    `taken` means that the camera left after its stay ended; `gone` that it left in the middle of it, which the bay
    tells for a while.
    """
    if stay.state == "taken":
        return Phase.FREE
    if stay.state == "gone":
        return Phase.PULLED if now - stay.updated_at <= REMEMBER else Phase.FREE
    if stay.state == "copying" and stay.bytes_total and stay.bytes_done >= stay.bytes_total:
        return Phase.VERIFYING
    return _PHASES.get(stay.state, Phase.DETECTING)


_PHASES = {
    "copying": Phase.COPYING,
    "waiting": Phase.WAITING,
    "done": Phase.READY,
    "refused": Phase.UNKNOWN,
    "failed": Phase.FAILED,
}


def _bay(bay: Bay, row: _Row | None, now: datetime) -> BayState:
    port = int(bay.port_path.rpartition(".")[2])
    if row is None or (phase := phase_of(row[0], now)) is Phase.FREE:
        return BayState(bay.number, Phase.FREE, port)
    stay, camera, wearer = row
    return BayState(
        bay.number,
        phase,
        port,
        camera=camera.label if camera else "",
        serial=stay.serial,
        wearer=wearer.display_name if wearer else "",
        matricule=wearer.matricule if wearer else "",
        message=stay.message,
        files_total=stay.files_total,
        files_safe=stay.files_safe,
        bytes_total=stay.bytes_total,
        bytes_done=stay.bytes_done,
        left=_time_left(stay) if phase is Phase.COPYING else None,
        drift_ms=stay.drift_ms,
        drift_known=phase in {Phase.COPYING, Phase.VERIFYING, Phase.READY},
        drift_method=stay.drift_method,
        occupied=phase is not Phase.PULLED,
    )


def _time_left(stay: OffloadSession) -> timedelta | None:
    if stay.bytes_per_s <= 0 or not stay.bytes_total:
        return None
    return timedelta(seconds=max(0, stay.bytes_total - stay.bytes_done) / stay.bytes_per_s)
