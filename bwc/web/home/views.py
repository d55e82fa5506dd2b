"""Home by role, the list of open incidents, the points of conformity."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Blueprint, render_template

from bwc.catalogue import (
    Counters,
    Docking,
    RecordingFilter,
    conformity,
    counters,
    dockings_of,
    fleet,
    list_recordings,
    open_incidents,
)
from bwc.core.clock import paris_day
from bwc.rules.access import Permission, Role, has_ground
from bwc.rules.decision import Refused
from bwc.web.access import may, permission, the_house, viewer

LATEST = 10
FIRST_HOUR, LAST_HOUR = 0, 23

blueprint = Blueprint("home", __name__, template_folder="templates")


@dataclass(frozen=True)
class Hour:
    """One hour of the day's strip: what was docked in it."""

    hour: int
    dockings: list[Docking]


@blueprint.get("/")
@permission(Permission.SIGNED_IN)
def home() -> str:
    """What this person must look at first."""
    house, looking = the_house(), viewer()
    now = house.clock.now()
    ground = has_ground(looking, now)
    with_images = may(Permission.RECORDINGS_LIST) and bool(ground)
    oversees = looking.role is not Role.WEARER
    dockings = dockings_of(house, paris_day(now)) if oversees else []
    return render_template(
        "home/home.html",
        role=looking.role,
        no_ground=ground.reason if isinstance(ground, Refused) and may(Permission.RECORDINGS_LIST) else "",
        counters=_counters() if with_images and oversees else None,
        latest=list_recordings(house, looking, RecordingFilter(), size=LATEST) if with_images else None,
        incidents=open_incidents(house) if may(Permission.FLEET_READ) else None,
        dockings=dockings,
        hours=_hours(dockings),
        points=conformity(house) if oversees else [],
        cameras=fleet(house) if may(Permission.FLEET_READ) else None,
    )


@blueprint.get("/incidents")
@permission(Permission.FLEET_READ)
def incidents() -> str:
    """Every open incident."""
    return render_template("home/incidents.html", incidents=open_incidents(the_house()))


@blueprint.get("/conformite")
@permission(Permission.FLEET_READ)
def conformity_points() -> str:
    """Each requirement with its proof, gaps first."""
    return render_template("home/conformity.html", points=conformity(the_house()))


def _counters() -> Counters:
    return counters(the_house(), viewer())


def _hours(dockings: list[Docking]) -> list[Hour]:
    """The strip's hours; from the first docking's to the last one's, whole day when there is none."""
    if not dockings:
        return []
    return [
        Hour(hour, [docking for docking in dockings if docking.hour == hour])
        for hour in range(FIRST_HOUR, LAST_HOUR + 1)
    ]
