"""A small town in full: people who can sign in, recordings of every state, a dock at work. For pages and pictures."""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

from sqlalchemy import select, update

from bwc.core.clock import SettableClock
from bwc.core.ids import new_id
from bwc.db.models import Camera, CameraIssue, Incident, OffloadSession, Person, Recording
from bwc.demonstration.footage import make_footage
from bwc.ingest.derivatives import make_derivative
from bwc.installation import Installation
from bwc.web.auth.passwords import hash_password
from tests.factories import camera, person, take

SMALL = bytes(range(256)) * 4096  # one mebibyte whose every place is known
PASSWORD = "une phrase de passe assez longue"
LOGINS = {
    "responsable": "responsable",
    "agent": "agent_habilite",
    "porteur": "porteur",
    "dpo": "dpo",
    "technicien": "technicien",
    "maire": "maire",
    "inspecteur": "inspecteur",
}


@dataclass(frozen=True)
class World:
    """Ids of what was put in: `own` is worn by the wearer who signs in, `other` by somebody else."""

    own: str
    other: str
    quarantined: str
    erased: str


@lru_cache(maxsize=1)
def _hash() -> str:
    return hash_password(PASSWORD)


def settle(house: Installation, clock: SettableClock) -> World:
    """Fill the house with a whole town at work, a real video in it."""
    open_accounts(house)
    world = _recordings(house, clock)
    _stays(house)
    house.publish_checkpoint()
    return world


def settle_lightly(house: Installation) -> World:
    """Two recordings only, without pictures: what most tests of the pages need."""
    open_accounts(house)
    taken = [
        take(house, data, camera_label=label).recording_id for data, label in ((SMALL, "CAM-07"), (b"2", "CAM-12"))
    ]
    return World(taken[0], taken[1], "", "")


def open_accounts(house: Installation) -> None:
    """Give everybody a password, and a mayor and an inspector to the service."""
    _passwords(house)
    _more_people(house)
    since = house.clock.now() - timedelta(days=40)
    with house.database.write() as session:
        session.execute(update(CameraIssue).values(issued_at=since))


def _passwords(house: Installation) -> None:
    with house.database.write() as session:
        session.execute(update(Person).where(Person.login.is_not(None)).values(password_hash=_hash()))


def _more_people(house: Installation) -> None:
    commune = house.town.commune
    with house.database.write() as session:
        for login, matricule, last, first in (
            ("maire", "9000", "Lambert", "Élise"),
            ("inspecteur", "9500", "Girard", "Odile"),
        ):
            if session.scalars(select(Person).where(Person.role == LOGINS[login])).first() is None:
                session.add(
                    Person(
                        id=new_id(),
                        matricule=matricule,
                        last_name=last,
                        first_name=first,
                        rank=login.capitalize(),
                        role=LOGINS[login],
                        commune=commune,
                        login=login,
                        password_hash=_hash(),
                    )
                )


def footage(start: datetime, label: str, seconds: float = 4.0) -> bytes:
    """A short recording of the demonstration's street, as a camera leaves it."""
    made = io.BytesIO()
    make_footage(made, start, seconds, label, width=640, height=360, seed=7)
    return made.getvalue()


def _recordings(house: Installation, clock: SettableClock) -> World:
    now = clock.now()
    video = footage(now - timedelta(hours=1, minutes=30), "CAM-07")
    ids = [
        _one(house, clock, now - timedelta(days=29, hours=4), "CAM-07", b"29 days", place="Place des Clercs"),
        _one(house, clock, now - timedelta(days=26, hours=2), "CAM-12", b"26 days"),
        _one(house, clock, now - timedelta(days=12), "CAM-03", b"12 days", place="Rue Madier de Montjau"),
        _one(house, clock, now - timedelta(days=1, hours=1), "CAM-12", b"1 day", place="Gare de Valence-Ville"),
        _one(house, clock, now - timedelta(hours=3), "CAM-07", b"3 hours", place="Parc Jouvet"),
        _one(house, clock, now - timedelta(hours=1), "CAM-07", video, place="Avenue Victor-Hugo"),
    ]
    clock.instant = now
    quarantined = take(house, b"no known camera", camera_label=None, serial="4C4550FF0011").recording_id
    erased = _one(house, clock, now - timedelta(days=20), "CAM-03", b"erased")
    clock.instant = now
    with house.database.write() as session:
        row = session.get_one(Recording, erased)
        row.state, row.erased_at = "erased", now
        session.add(
            Incident(
                id=new_id(),
                kind="late_erasure",
                text="Effacement fait avec deux heures de retard : le serveur était arrêté.",
                recording_id=erased,
                opened_at=now - timedelta(hours=9),
            )
        )
    for kind in ("poster", "proxy"):
        make_derivative(house, ids[-1], kind)
    return World(ids[-1], ids[3], quarantined, erased)


def _one(house: Installation, clock: SettableClock, at: datetime, label: str, data: bytes, place: str = "") -> str:
    clock.instant = at
    taken = take(house, data, camera_label=label, drift_ms=2000)
    if place:
        with house.database.write() as session:
            row = session.get_one(Recording, taken.recording_id)
            row.place, row.place_origin = place, "person"
    return taken.recording_id


def _stays(house: Installation) -> None:
    now = house.clock.now()
    wearer = person(house, "2214")
    other = person(house, "2231")
    one, twelve = camera(house, "CAM-07"), camera(house, "CAM-12")
    gigabyte = 1_000_000_000
    rows = [
        (1, one, wearer, "copying", 12, 8, 6.2, 4.4, 190, None, ""),
        (2, twelve, other, "done", 7, 7, 3.1, 3.1, 200, 2000, ""),
        (3, None, None, "refused", 0, 0, 0, 0, 0, None, "Appareil inconnu : il n'est pas lu. Prévenez le responsable."),
    ]
    with house.database.write() as session:
        for number, cam, who, state, total, safe, size, done, speed, drift, message in rows:
            session.add(
                OffloadSession(
                    id=new_id(),
                    bay_number=number,
                    camera_id=cam.id if cam else None,
                    wearer_id=who.id if who else None,
                    transport="mass_storage",
                    serial=cam.serial if cam else "4C4550FF0011",
                    state=state,
                    message=message,
                    opened_at=now - timedelta(minutes=9 * number),
                    updated_at=now,
                    files_total=total,
                    files_safe=safe,
                    bytes_total=int(size * gigabyte),
                    bytes_done=int(done * gigabyte),
                    bytes_per_s=speed * 1_000_000 // 24,
                    drift_ms=drift,
                    drift_method="not_measurable" if drift is None else "measured",
                )
            )
        for hours, files in ((11, 4), (10, 9), (6, 3), (5, 6), (4, 5)):
            session.add(
                OffloadSession(
                    id=new_id(),
                    bay_number=4,
                    camera_id=twelve.id,
                    wearer_id=other.id,
                    transport="mass_storage",
                    state="taken",
                    opened_at=now - timedelta(hours=hours, minutes=7),
                    updated_at=now - timedelta(hours=hours),
                    closed_at=now - timedelta(hours=hours),
                    files_total=files,
                    files_safe=files,
                    bytes_total=files * 400_000_000,
                    bytes_done=files * 400_000_000,
                    drift_method="not_measurable",
                )
            )
        session.execute(update(Camera).where(Camera.label == "CAM-12").values(last_docked_at=now, last_emptied_at=now))
