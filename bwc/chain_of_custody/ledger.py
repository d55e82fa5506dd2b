"""The one writer of the ledger: entries, their journal rows and the head, in the caller's transaction.

What is written and what the business did commit together or not at all. Reading and checking are elsewhere
(`verify`, `export`); signing is in `checkpoints`.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select, text, update
from sqlalchemy.orm import Session

from bwc.chain_of_custody.journal import SALT_SIZE, Event, body_of, commitment, record_of
from bwc.chain_of_custody.merkle import Frontier, leaf_hash
from bwc.core.clock import Clock, iso_utc
from bwc.core.errors import EvidenceError
from bwc.db.models import JournalEntry, LedgerEntry, LedgerHead

HEAD_ID = 1
_LOCK_KEY = 0x6277635F6C656467  # "bwc_ledg": the ledger's place among PostgreSQL's advisory locks


class Ledger:
    """Appends to the ledger. Holds no state of its own: several processes may append, one after the other."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def append(self, session: Session, event: Event) -> int:
        """Write one entry in the caller's write transaction; returns its place, 0 for the first.

        Raises RuntimeError outside `Database.write()`, EvidenceError when the stored head and entries disagree.
        """
        return self.append_many(session, [event])[0]

    def append_many(self, session: Session, events: Iterable[Event]) -> list[int]:
        """Write entries in order, all at the same instant; returns their places. Same errors as `append`."""
        batch = list(events)
        if not batch:
            return []
        head = take_head(session)
        first = head.size
        now, before = self.clock.now(), _last_instant(session, first)
        entries, journal = _rows(batch, head, now, before)
        session.execute(insert(LedgerEntry), entries)
        session.execute(insert(JournalEntry), journal)
        _store_head(session, head, new=first == 0)
        return list(range(first, head.size))


def take_head(session: Session) -> Frontier:
    """The tree's present frontier, nobody else able to append until the caller's transaction ends.

    Raises RuntimeError when the session is not one of `Database.write()`: a programming error.
    """
    connection = session.connection()
    if not connection.get_execution_options().get("bwc_write"):
        raise RuntimeError("the ledger is written inside Database.write() only; this session is for reading")
    if connection.dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
    row = session.execute(select(LedgerHead.size, LedgerHead.frontier).where(LedgerHead.id == HEAD_ID)).first()
    return Frontier() if row is None else Frontier.from_bytes(row.size, bytes(row.frontier))


def _last_instant(session: Session, size: int) -> str:
    """`t` of the last entry, empty for none; raises EvidenceError when the entries do not end where the head says."""
    last = session.execute(select(LedgerEntry.seq, LedgerEntry.body).order_by(LedgerEntry.seq.desc()).limit(1)).first()
    if (-1 if last is None else last.seq) != size - 1:
        raise EvidenceError(f"ledger head says {size} entries, the last one stored is {last and last.seq}")
    if last is None:
        return ""
    try:
        return str(json.loads(last.body)["t"])
    except (ValueError, KeyError, TypeError) as error:
        raise EvidenceError(f"the body of the last entry, {last.seq}, cannot be read") from error


def _rows(
    events: list[Event], head: Frontier, now: datetime, before: str
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of both tables for `events`; moves `head` past them."""
    instant = iso_utc(now)
    entries, journal = [], []
    for event in events:
        place = head.size
        record = record_of(event, place, clock_went_back=instant < before)
        salt = secrets.token_bytes(SALT_SIZE)
        body = body_of(place, instant, event.operation, commitment(salt, record))
        leaf = leaf_hash(body)
        entries.append({"seq": place, "body": body, "leaf_hash": leaf})
        journal.append(
            {
                "seq": place,
                "at": now,
                "operation": str(event.operation),
                "action": event.action,
                "actor_id": event.actor.id,
                "recording_id": event.recording_id,
                "record": record.decode(),
                "salt": salt,
            }
        )
        head.append(leaf)
        before = instant
    return entries, journal


def _store_head(session: Session, head: Frontier, *, new: bool) -> None:
    values = {"size": head.size, "frontier": head.to_bytes()}
    if new:
        session.execute(insert(LedgerHead), {"id": HEAD_ID, **values})
    else:
        session.execute(update(LedgerHead).where(LedgerHead.id == HEAD_ID).values(**values))
