"""The fleet as pages show it: each camera with its holder, and the counts the order bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from bwc.core.clock import paris_day
from bwc.db.models import Camera, CameraIssue, Order, Person
from bwc.installation import Installation

UNDOCKED_ALARM = timedelta(days=7)  # a camera out that long without a docking: its month would run out unseen


@dataclass(frozen=True)
class FleetCamera:
    """One camera, who holds it since when (None: it is in), and whether it is late to its dock."""

    camera: Camera
    holder: Person | None
    issued_at: datetime | None
    late: bool


@dataclass(frozen=True)
class FleetState:
    """The inventory by label, the order in force and how many cameras are in service under it."""

    cameras: Sequence[FleetCamera]
    order: Order | None
    in_service: int

    @property
    def alarm_days(self) -> int:
        """Days without a docking after which a camera counts as late."""
        return UNDOCKED_ALARM.days

    @property
    def late(self) -> int:
        """Cameras out for longer than the alarm without a docking."""
        return sum(item.late for item in self.cameras)

    @property
    def lost(self) -> int:
        """Cameras declared lost."""
        return sum(item.camera.state == "lost" for item in self.cameras)


def fleet(house: Installation) -> FleetState:
    """The fleet at this instant."""
    now = house.clock.now()
    with house.database.read() as session:
        cameras = session.scalars(select(Camera).order_by(Camera.label)).all()
        held = {issue.camera_id: (issue, person) for issue, person in _open_issues(session)}
        order = order_in_force(session, paris_day(now))
    rows = [_row(camera, held.get(camera.id), now) for camera in cameras]
    return FleetState(rows, order, sum(camera.state == "in_service" for camera in cameras))


def order_in_force(session: Session, day: date) -> Order | None:
    """The latest prefect's order for body cameras in force on `day`."""
    query = select(Order).where(Order.kind == "bodycam", Order.in_force_from <= day)
    query = query.where((Order.in_force_until.is_(None)) | (Order.in_force_until >= day))
    return session.scalars(query.order_by(Order.in_force_from.desc(), Order.signed_on.desc()).limit(1)).first()


def _open_issues(session: Session) -> list[tuple[CameraIssue, Person]]:
    query = (
        select(CameraIssue, Person)
        .join(Person, Person.id == CameraIssue.person_id)
        .where(CameraIssue.returned_at.is_(None))
        .order_by(CameraIssue.issued_at)
    )
    return [(issue, person) for issue, person in session.execute(query)]


def _row(camera: Camera, held: tuple[CameraIssue, Person] | None, now: datetime) -> FleetCamera:
    if held is None:
        return FleetCamera(camera, None, None, late=False)
    issue, holder = held
    docked_since = camera.last_docked_at is not None and camera.last_docked_at >= issue.issued_at
    since = camera.last_docked_at if docked_since and camera.last_docked_at else issue.issued_at
    return FleetCamera(camera, holder, issue.issued_at, late=now - since > UNDOCKED_ALARM)
