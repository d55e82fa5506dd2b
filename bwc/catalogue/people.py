"""People as pages need them: for a choice in a form, for signing in."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from bwc.db.models import JournalEntry, Person
from bwc.installation import Installation
from bwc.rules.access import Role, Viewer

_SIGN_INS_LOOKED_AT = 50
_WEAR = (Role.WEARER, Role.AGENT, Role.HEAD)


def people(house: Installation) -> Sequence[Person]:
    """Everybody, by name."""
    with house.database.read() as session:
        return session.scalars(select(Person).order_by(Person.last_name, Person.first_name)).all()


def wearers(house: Installation, viewer: Viewer) -> Sequence[Person]:
    """Active people of the viewer's communes who may wear a camera, by name."""
    query = (
        select(Person)
        .where(Person.active, Person.role.in_(_WEAR), Person.commune.in_(viewer.communes))
        .order_by(Person.last_name, Person.first_name)
    )
    with house.database.read() as session:
        return session.scalars(query).all()


def person_by_login(session: Session, login: str) -> Person | None:
    """The person of that login, letters' case aside."""
    return session.scalars(select(Person).where(func.lower(Person.login) == login.lower())).one_or_none()


def signed_in_from(session: Session, person_id: str) -> frozenset[str]:
    """Addresses from which the person signed in, the last fifty times, as the journal has them."""
    query = (
        select(JournalEntry.record)
        .where(JournalEntry.actor_id == person_id, JournalEntry.action == "session.opened")
        .order_by(JournalEntry.seq.desc())
        .limit(_SIGN_INS_LOOKED_AT)
    )
    details = (json.loads(record).get("detail", {}) for record in session.scalars(query))
    return frozenset(str(detail["client"]) for detail in details if "client" in detail)
