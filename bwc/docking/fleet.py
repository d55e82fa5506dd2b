"""The fleet: who holds which camera. Each hand-over is two events, issue and return, never a field."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from bwc.chain_of_custody.journal import Event, Operation
from bwc.consultation import actor_of
from bwc.core.errors import InputError, RefusedError
from bwc.core.ids import new_id
from bwc.db.models import Camera, CameraIssue, Person
from bwc.installation import Installation


def issue_camera(house: Installation, camera_id: str, person_id: str, by_person_id: str) -> None:
    """Hand a camera to a wearer, now. Raises RefusedError when it is out already or not in service, or when the
    wearer holds another; InputError for an unknown camera or person.
    """
    with house.database.write() as session:
        camera, person, author = _rows(session, camera_id, person_id, by_person_id)
        if camera.state != "in_service":
            raise RefusedError("camera not in service", person=f"{camera.label} n'est pas en service.")
        if open_issue(session, camera_id) is not None:
            raise RefusedError("camera already issued", person=f"{camera.label} est déjà attribuée.")
        other = session.scalars(
            select(CameraIssue).where(CameraIssue.person_id == person_id, CameraIssue.returned_at.is_(None))
        ).first()
        if other is not None:
            raise RefusedError("wearer holds a camera", person=f"{person.display_name} a déjà une caméra.")
        now = house.clock.now()
        session.add(CameraIssue(id=new_id(), camera_id=camera_id, person_id=person_id, issued_at=now))
        detail = {"camera": camera.label, "wearer": person.matricule}
        house.ledger.append(session, Event(Operation.SYSTEME, "camera.issued", actor_of(author), detail=detail))


def return_camera(house: Installation, camera_id: str, by_person_id: str) -> None:
    """Take a camera back, now. Raises RefusedError when nobody holds it."""
    with house.database.write() as session:
        camera, _, author = _rows(session, camera_id, by_person_id, by_person_id)
        issue = open_issue(session, camera_id)
        if issue is None:
            raise RefusedError("camera not issued", person=f"{camera.label} n'est attribuée à personne.")
        issue.returned_at = house.clock.now()
        detail = {"camera": camera.label, "wearer": issue.person_id}
        house.ledger.append(session, Event(Operation.SYSTEME, "camera.returned", actor_of(author), detail=detail))


def open_issue(session: Session, camera_id: str) -> CameraIssue | None:
    """The issue by which somebody holds the camera now."""
    return session.scalars(
        select(CameraIssue).where(CameraIssue.camera_id == camera_id, CameraIssue.returned_at.is_(None)).limit(1)
    ).first()


def _rows(session: Session, camera_id: str, person_id: str, by_id: str) -> tuple[Camera, Person, Person]:
    camera, person, author = session.get(Camera, camera_id), session.get(Person, person_id), session.get(Person, by_id)
    if camera is None or person is None or author is None:
        raise InputError("unknown camera or person", person="Caméra ou personne inconnue.", code="unknown")
    return camera, person, author
