"""The guard of the clock: remembers the last instant that was believed, and stops what a wrong clock would spoil."""

from __future__ import annotations

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from bwc.chain_of_custody.journal import Actor, Event, Operation
from bwc.core.clock import iso_utc
from bwc.core.errors import StorageError
from bwc.core.ids import new_id
from bwc.db.models import Incident, Town
from bwc.installation import Installation
from bwc.rules.clock import clock_believed
from bwc.rules.decision import Refused

log = structlog.get_logger()


class ClockError(StorageError):
    """The machine's clock is not believed: docking and erasure wait (rules BWC-CLK-1, BWC-CLK-2)."""

    code = "clock"


def check_clock(house: Installation) -> None:
    """Believe the clock and remember it, or raise ClockError and open one incident."""
    now = house.clock.now()
    with house.database.write() as session:
        town = session.scalars(select(Town)).one()
        decision = clock_believed(now, town.clock_believed_at)
        if not isinstance(decision, Refused):
            town.clock_believed_at = max(now, town.clock_believed_at)
            return
        _alarm(house, session, decision)
    log.error("clock.not_believed", now=iso_utc(now), rule=decision.rule)
    raise ClockError(f"clock not believed: {decision.rule}", person=decision.reason)


def confirm_clock(house: Installation, actor: Actor) -> None:
    """A person's word that the machine's clock is right: everything goes on from it. Written to the ledger."""
    now = house.clock.now()
    with house.database.write() as session:
        town = session.scalars(select(Town)).one()
        detail = {"now": iso_utc(now), "believed": iso_utc(town.clock_believed_at)}
        town.clock_believed_at = now
        for incident in session.scalars(select(Incident).where(Incident.kind == "clock", Incident.closed_at.is_(None))):
            incident.closed_at = now
        house.ledger.append(session, Event(Operation.SYSTEME, "clock.confirmed", actor, detail=detail))


def _alarm(house: Installation, session: Session, decision: Refused) -> None:
    open_one = session.scalars(
        select(Incident.id).where(Incident.kind == "clock", Incident.closed_at.is_(None)).limit(1)
    ).first()
    if open_one is None:
        now = house.clock.now()
        session.add(Incident(id=new_id(), kind="clock", text=decision.reason, opened_at=now))
