"""Whether somebody may sign in, and the journal's entries about it. Who must wait: bwc.web.auth.locks."""

from __future__ import annotations

from datetime import datetime

import structlog
from sqlalchemy.orm import Session

from bwc.catalogue import person_by_login, signed_in_from
from bwc.chain_of_custody.journal import SYSTEM_ACTOR, Event, Operation
from bwc.consultation import actor_of
from bwc.db.models import Person
from bwc.installation import Installation
from bwc.web.auth.locks import AddressLocks, count_failure, neighbourhood, strangers_wait
from bwc.web.auth.passwords import verify_password

log = structlog.get_logger()


def sign_in(house: Installation, locks: AddressLocks, login: str, password: str, client: str) -> Person | None:
    """The person of these credentials, None when refused; either way the journal says so, committed.

    An unknown login, a wrong password, a shut-out address and a disabled account take the same path and time.
    """
    now = house.clock.now()
    with house.database.read() as session:
        seen = person_by_login(session, login)
    right = verify_password(seen.password_hash if seen else None, password)
    with house.database.write() as session:
        person = session.get(Person, seen.id) if seen else None
        shut = locks.shut(login, client, now)
        waits = person is not None and _waits(session, person, client, now)
        refusal = _refusal(person, shut=shut, waits=waits, right=right)
        if refusal is None and person is not None:
            _succeed(house, session, person, client)
            locks.succeeded(login, client)
            return person
        failures = locks.failed(login, client, now) if refusal in {"password", "unknown"} else 0
        _fail(house, session, person, refusal or "unknown", client, failures)
    log.warning("sign_in_refused", reason=refusal, client=client)
    return None


def record_sign_out(house: Installation, person: Person, client: str) -> None:
    """Write in the journal that a person closed his session."""
    with house.database.write() as session:
        event = Event(Operation.SYSTEME, "session.closed", actor_of(person), detail={"client": client})
        house.ledger.append(session, event)


def _waits(session: Session, person: Person, client: str, now: datetime) -> bool:
    if not strangers_wait(person, now):
        return False
    return neighbourhood(client) not in map(neighbourhood, signed_in_from(session, person.id))


def _refusal(person: Person | None, *, shut: bool, waits: bool, right: bool) -> str | None:
    if shut:
        return "locked"
    if person is None:
        return "unknown"
    if waits:
        return "strangers"
    if not right:
        return "password"
    return None if person.active else "inactive"


def _succeed(house: Installation, session: Session, person: Person, client: str) -> None:
    person.failed_sign_ins = 0  # `locked_until` runs out by itself: a spray stays slow while its target works
    event = Event(Operation.SYSTEME, "session.opened", actor_of(person), detail={"client": client})
    house.ledger.append(session, event)


def _fail(
    house: Installation, session: Session, person: Person | None, reason: str, client: str, failures: int
) -> None:
    """Count a wrong password (attempts of who must wait are not counted: nobody can be kept out for ever)."""
    detail: dict[str, object] = {"reason": reason, "client": client}
    if person is not None:
        detail["person"] = actor_of(person).label
        if reason == "password":
            count_failure(person, house.clock.now())
            detail["failures"] = failures
    house.ledger.append(session, Event(Operation.SYSTEME, "session.refused", SYSTEM_ACTOR, detail=detail))
