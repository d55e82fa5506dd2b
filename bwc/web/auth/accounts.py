"""Whether somebody may sign in, the account's lock, and the journal's entries about it."""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog
from sqlalchemy.orm import Session

from bwc.catalogue import person_by_login
from bwc.chain_of_custody.journal import SYSTEM_ACTOR, Event, Operation
from bwc.consultation import actor_of
from bwc.db.models import Person
from bwc.installation import Installation
from bwc.web.auth.passwords import verify_password

log = structlog.get_logger()

FAILURES_BEFORE_LOCK = 5
LONGEST_LOCK_MINUTES = 15


def sign_in(house: Installation, login: str, password: str, client: str) -> Person | None:
    """The person of these credentials, None when refused; either way the journal says so, committed.

    An unknown login, a wrong password, a locked and a disabled account take the same path and time.
    """
    now = house.clock.now()
    with house.database.read() as session:
        seen = person_by_login(session, login)
    right = verify_password(seen.password_hash if seen else None, password)
    with house.database.write() as session:
        person = session.get(Person, seen.id) if seen else None
        refusal = _refusal(person, right=right, now=now)
        if refusal is None and person is not None:
            _succeed(house, session, person, client)
            return person
        _fail(house, session, person, refusal or "unknown", client)
    log.warning("sign_in_refused", reason=refusal, client=client)
    return None


def record_sign_out(house: Installation, person: Person, client: str) -> None:
    """Write in the journal that a person closed his session."""
    with house.database.write() as session:
        event = Event(Operation.SYSTEME, "session.closed", actor_of(person), detail={"client": client})
        house.ledger.append(session, event)


def lock_length(failures: int) -> timedelta | None:
    """How long the account stays shut after that many failures in a row: 1, 2, 4… minutes from the fifth on."""
    if failures < FAILURES_BEFORE_LOCK:
        return None
    return timedelta(minutes=min(2 ** (failures - FAILURES_BEFORE_LOCK), LONGEST_LOCK_MINUTES))


def _refusal(person: Person | None, *, right: bool, now: datetime) -> str | None:
    if person is None:
        return "unknown"
    if person.locked_until is not None and now < person.locked_until:
        return "locked"
    if not right:
        return "password"
    return None if person.active else "inactive"


def _succeed(house: Installation, session: Session, person: Person, client: str) -> None:
    person.failed_sign_ins, person.locked_until = 0, None
    event = Event(Operation.SYSTEME, "session.opened", actor_of(person), detail={"client": client})
    house.ledger.append(session, event)


def _fail(house: Installation, session: Session, person: Person | None, reason: str, client: str) -> None:
    """Count a wrong password (attempts on a locked account are not counted: nobody can be kept out for ever)."""
    detail: dict[str, object] = {"reason": reason, "client": client}
    if person is not None:
        detail["person"] = actor_of(person).label
        if reason == "password":
            person.failed_sign_ins += 1
            detail["failures"] = person.failed_sign_ins
            shut = lock_length(person.failed_sign_ins)
            person.locked_until = house.clock.now() + shut if shut else None
    house.ledger.append(session, Event(Operation.SYSTEME, "session.refused", SYSTEM_ACTOR, detail=detail))
