"""People and cameras entered by hand: each is an act with its ledger entry."""

from __future__ import annotations

from datetime import date

from sqlalchemy import func, or_, select

from bwc.chain_of_custody.journal import Actor, Event, Operation
from bwc.core.clock import paris_day
from bwc.core.errors import InputError
from bwc.core.ids import new_id
from bwc.db.models import Camera, Habilitation, Order, Person
from bwc.installation import Installation
from bwc.rules.access import Role
from bwc.rules.decision import require
from bwc.rules.orders import may_put_into_service, order_for
from bwc.town import order_value

COMMAND_LINE = Actor(None, "ligne de commande")


def add_person(
    house: Installation,
    *,
    matricule: str,
    last_name: str,
    first_name: str,
    rank: str,
    role: Role,
    login: str | None,
    password_hash: str | None,
) -> str:
    """Enter one person; returns the id. Raises InputError when the matricule or the login is taken."""
    with house.database.write() as session:
        same = [Person.matricule == matricule, *([Person.login == login] if login else [])]
        if session.scalar(select(func.count()).select_from(Person).where(or_(*same))):
            raise InputError("matricule or login taken", person="Ce matricule ou cet identifiant existe déjà.")
        person = Person(
            id=new_id(),
            matricule=matricule,
            last_name=last_name,
            first_name=first_name,
            rank=rank,
            role=str(role),
            commune=house.town.commune,
            login=login,
            password_hash=password_hash,
        )
        session.add(person)
        detail = {"matricule": matricule, "role": str(role), "login": login}
        house.ledger.append(session, Event(Operation.SYSTEME, "person.added", COMMAND_LINE, detail=detail))
        return person.id


def add_habilitation(
    house: Installation,
    *,
    matricule: str,
    number: str,
    signed_on: date,
    signatory: str,
    starts_on: date,
    ends_on: date | None,
    scope: str,
) -> None:
    """Enter a habilitation act (R241-12 I 3°): access opens and closes by its dates.

    Raises InputError for an unknown matricule or an act that ends before it starts.
    """
    if ends_on is not None and ends_on < starts_on:
        raise InputError("act ends before it starts", person="L'habilitation finit avant de commencer.")
    with house.database.write() as session:
        person = session.scalars(select(Person).where(Person.matricule == matricule)).one_or_none()
        if person is None:
            raise InputError(f"no person {matricule}", person="Ce matricule n'existe pas.")
        session.add(
            Habilitation(
                id=new_id(),
                person_id=person.id,
                number=number,
                signed_on=signed_on,
                signatory=signatory,
                starts_on=starts_on,
                ends_on=ends_on,
                scope=scope,
            )
        )
        detail = {"matricule": matricule, "act": number, "signatory": signatory, "starts_on": starts_on.isoformat()}
        detail["ends_on"] = ends_on.isoformat() if ends_on else ""
        house.ledger.append(session, Event(Operation.SYSTEME, "habilitation.added", COMMAND_LINE, detail=detail))


def add_camera(house: Installation, *, label: str, serial: str, model: str) -> str:
    """Put one camera into service under the order in force; returns the id.

    Raises RefusedError when the order's number is reached (BWC-ORD-2), InputError when label or serial is taken or
    when no order is known.
    """
    with house.database.write() as session:
        if session.scalar(
            select(func.count()).select_from(Camera).where((Camera.label == label) | (Camera.serial == serial))
        ):
            raise InputError("label or serial taken", person="Ce nom ou ce numéro de série existe déjà.")
        rows = {row.number: row for row in session.scalars(select(Order).where(Order.kind == "bodycam"))}
        today = paris_day(house.clock.now())
        fitting = order_for((order_value(row) for row in rows.values()), today, house.town.commune)
        if fitting is None:
            raise InputError("no order in force", person="Aucun arrêté préfectoral n'est en vigueur pour la commune.")
        order = rows[fitting.number]
        in_service = session.scalar(select(func.count()).select_from(Camera).where(Camera.state == "in_service")) or 0
        require(may_put_into_service(fitting, in_service))
        camera = Camera(
            id=new_id(), label=label, serial=serial, model=model, commune=house.town.commune, order_id=order.id
        )
        session.add(camera)
        detail = {"camera": label, "serial": serial, "order": order.number}
        house.ledger.append(session, Event(Operation.SYSTEME, "camera.put_into_service", COMMAND_LINE, detail=detail))
        return camera.id
