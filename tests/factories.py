"""Makes real things for tests: recordings go through intake, people and cameras are rows."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select

from bwc.chain_of_custody.journal import Actor
from bwc.clock_guard import confirm_clock
from bwc.core.clock import SettableClock
from bwc.db.models import Camera, Person, Recording
from bwc.ingest.intake import Provenance, Taken, take_in
from bwc.installation import Installation

ROOT = Path(__file__).parent.parent
NOW = datetime(2026, 11, 22, 17, 42, tzinfo=UTC)  # 18:42 in Paris, a Sunday


def at(house: Installation, instant: datetime) -> None:
    """Put the house's clock at `instant`, and have a person confirm it: a jump is not believed by itself."""
    assert isinstance(house.clock, SettableClock)
    house.clock.instant = instant
    confirm_clock(house, Actor(None, "test"))


def camera(house: Installation, label: str = "CAM-07") -> Camera:
    with house.database.read() as session:
        return session.scalars(select(Camera).where(Camera.label == label)).one()


def person(house: Installation, matricule: str) -> Person:
    with house.database.read() as session:
        return session.scalars(select(Person).where(Person.matricule == matricule)).one()


def recording(house: Installation, recording_id: str) -> Recording:
    with house.database.read() as session:
        return session.get_one(Recording, recording_id)


def provenance(house: Installation, *, camera_label: str | None = "CAM-07", **changes: Any) -> Provenance:
    now: datetime = house.clock.now()
    row = camera(house, camera_label) if camera_label else None
    base = Provenance(
        source="usb",
        path="DCIM/20261122/CAM07_20261122_173207_0003.MP4",
        size=0,
        docked_at=now,
        commune=house.town.commune,
        camera_id=row.id if row else None,
        serial=row.serial if row else "",
        named_start=(now - timedelta(minutes=30)),
    )
    return replace(base, **changes)


def take(
    house: Installation, data: bytes = b"not a video", *, camera_label: str | None = "CAM-07", **changes: Any
) -> Taken:
    """Put `data` through the real intake."""
    facts = provenance(house, camera_label=camera_label, size=len(data), **changes)
    return take_in(house, io.BytesIO(data), facts)
