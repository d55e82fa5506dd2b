"""An installation of its own for a benchmark, and the provenance of what it takes in."""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path

import structlog
from sqlalchemy import select

from benchmarks.measure import ROOT
from bwc.db.models import Camera
from bwc.ingest.intake import Provenance
from bwc.installation import Installation
from bwc.settings import Settings

CAMERA = "CAM-07"


def settings_in(folder: Path, **changes: object) -> Settings:
    """Settings of an installation wholly under `folder`."""
    base = Settings(data=folder / "data", root_key_file=folder / "root.key", town=ROOT / "config" / "valence.toml")
    return base.model_copy(update=changes)


def furnish(settings: Settings) -> Installation:
    """A data folder with the demonstration's people and cameras."""
    from bwc.demonstration.accounts import initialise_demonstration  # slow to import: not for what is measured
    from bwc.web.auth.passwords import hash_password

    quiet()
    return initialise_demonstration(settings, hash_password)


def quiet() -> None:
    """Only warnings are logged, so that a subject's last line is its own."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))


def provenance(house: Installation, size: int) -> Provenance:
    """A file of a known camera, recorded half an hour ago."""
    now = house.clock.now()
    with house.database.read() as session:
        camera = session.scalars(select(Camera).where(Camera.label == CAMERA)).one()
    return Provenance(
        source="usb",
        path="DCIM/benchmark.MP4",
        size=size,
        docked_at=now,
        commune=house.town.commune,
        camera_id=camera.id,
        serial=camera.serial,
        named_start=now - timedelta(minutes=30),
    )
