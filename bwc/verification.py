"""Verification of the store: every byte read back from disk, decrypted, and held against the catalogue.

A thirtieth every night reads the whole store once a month; `bwc verify` reads all of it. Findings are incidents and
ledger entries, never repaired silently.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import structlog
from sqlalchemy import select

from bwc.chain_of_custody.journal import SYSTEM_ACTOR, Event, Operation
from bwc.core.errors import BwcError
from bwc.core.ids import new_id
from bwc.db.models import Derivative, Incident, Recording, RecordingKey
from bwc.installation import Installation

log = structlog.get_logger()


@dataclass(frozen=True)
class Fault:
    """One container that is not what the catalogue says: `what` is `original`, `poster` or `proxy`."""

    recording_id: str
    what: str
    error: str


@dataclass(frozen=True)
class _Item:
    recording_id: str
    what: str
    vault_name: str
    context: str
    sha256: str
    size: int


def verify_store(
    house: Installation,
    *,
    share: tuple[int, int] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[int, list[Fault]]:
    """Read back the whole store, or the share `(n, of)` of it; returns containers checked and faults found.

    A recording's share is by the digest of its id, so that `of` runs with n = 0 … of-1 read everything once.
    `progress` gets (containers done, containers in all).
    """
    items = [item for item in _items(house) if share is None or _in_share(item.recording_id, share)]
    faults = []
    for number, item in enumerate(items):
        fault = _check(house, item)
        if fault is not None:
            faults.append(fault)
            _report(house, fault)
        if progress is not None:
            progress(number + 1, len(items))
    _record_run(house, share, len(items), len(faults))
    return len(items), faults


def _items(house: Installation) -> Iterator[_Item]:
    with house.database.read() as session:
        for row in session.scalars(select(Recording).where(Recording.state.in_(("held", "quarantined")))).all():
            yield _Item(row.id, "original", row.vault_name, row.id, row.sha256, row.size)
        for made in session.scalars(select(Derivative)).all():
            yield _Item(made.recording_id, made.kind, made.vault_name, made.id, made.sha256, made.size)


def _in_share(recording_id: str, share: tuple[int, int]) -> bool:
    number, of = share
    return int.from_bytes(hashlib.sha256(recording_id.encode()).digest()[:4], "big") % of == number % of


def _check(house: Installation, item: _Item) -> Fault | None:
    with house.database.read() as session:
        wrapped = session.get(RecordingKey, item.recording_id)
        row = session.get(Recording, item.recording_id)
    if row is None or row.state in {"erasing", "erased"}:
        return None  # erased while we walked
    if wrapped is None:
        return Fault(item.recording_id, item.what, "its key is missing")
    try:
        key = house.keys.unwrap(wrapped.day_key_id, item.recording_id, wrapped.wrapped)
        found = house.vault.read_back(item.vault_name, key, item.context)
    except BwcError as error:
        return Fault(item.recording_id, item.what, str(error))
    if found != item.sha256:
        return Fault(item.recording_id, item.what, f"SHA-256 is {found}, catalogue says {item.sha256}")
    if item.what == "original":
        with house.database.write() as session:
            held = session.get(Recording, item.recording_id)
            if held is not None:
                held.verified_at = house.clock.now()
    return None


def _report(house: Installation, fault: Fault) -> None:
    log.error("verification.fault", recording=fault.recording_id, what=fault.what, error=fault.error)
    with house.database.write() as session:
        text = f"Contrôle d'intégrité : {fault.what} de {fault.recording_id} n'est plus conforme."
        session.add(
            Incident(
                id=new_id(), kind="integrity", text=text, recording_id=fault.recording_id, opened_at=house.clock.now()
            )
        )
        detail = {"what": fault.what, "error": fault.error}
        event = Event(
            Operation.SYSTEME,
            "recording.integrity_failed",
            SYSTEM_ACTOR,
            recording_id=fault.recording_id,
            detail=detail,
        )
        house.ledger.append(session, event)


def _record_run(house: Installation, share: tuple[int, int] | None, checked: int, faults: int) -> None:
    detail = {"share": f"{share[0]}/{share[1]}" if share else "all", "checked": checked, "faults": faults}
    with house.database.write() as session:
        house.ledger.append(session, Event(Operation.SYSTEME, "store.verified", SYSTEM_ACTOR, detail=detail))
