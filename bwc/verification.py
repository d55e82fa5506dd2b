"""Verification of the store: every byte read back from disk, decrypted, and held against the catalogue; the
catalogue's rows held against the ledger (`verification_rows`).

A thirtieth every night reads the whole store once a month; `bwc verify` reads all of it. Findings are incidents and
ledger entries, never repaired silently.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import structlog
from sqlalchemy import select, update

from bwc.chain_of_custody.journal import SYSTEM_ACTOR, Event, Operation
from bwc.core.errors import BwcError
from bwc.core.ids import new_id
from bwc.db.models import Derivative, Incident, Recording, RecordingKey
from bwc.installation import Installation
from bwc.verification_rows import Fault, check_rows

__all__ = ["Fault", "verify_store"]

log = structlog.get_logger()


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
    """Check rows, then read back the whole store, or the share `(n, of)` of both; returns containers read and faults.

    A recording's share is by the digest of its id, so that `of` runs with n = 0 … of-1 read everything once.
    `progress` gets (containers done, containers in all).
    """
    faults = []
    for fault in check_rows(house, lambda recording_id: share is None or _in_share(recording_id, share)):
        faults.append(fault)
        _report(house, fault)
    items = [item for item in _items(house) if share is None or _in_share(item.recording_id, share)]
    for number, item in enumerate(items):
        damage = _check(house, item)
        if damage is not None:
            faults.append(damage)
            _report(house, damage)
        if progress is not None:
            progress(number + 1, len(items))
    _record_run(house, share, len(items), len(faults))
    return len(items), faults


def _items(house: Installation) -> Iterator[_Item]:
    living = Recording.state.in_(("held", "quarantined"))
    originals = select(Recording.id, Recording.vault_name, Recording.sha256, Recording.size).where(living)
    with house.database.read() as session:  # these columns alone: a row elsewhere unreadable must not stop the reading
        for row in session.execute(originals).all():
            yield _Item(row.id, "original", row.vault_name, row.id, row.sha256, row.size)
        for made in session.scalars(select(Derivative)).all():
            yield _Item(made.recording_id, made.kind, made.vault_name, made.id, made.sha256, made.size)


def _in_share(recording_id: str, share: tuple[int, int]) -> bool:
    number, of = share
    return int.from_bytes(hashlib.sha256(recording_id.encode()).digest()[:4], "big") % of == number % of


def _check(house: Installation, item: _Item) -> Fault | None:
    with house.database.read() as session:
        wrapped = session.get(RecordingKey, item.recording_id)
        state = session.scalar(select(Recording.state).where(Recording.id == item.recording_id))
    if state is None or state in {"erasing", "erased"}:
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
            this = update(Recording).where(Recording.id == item.recording_id)
            session.execute(this.values(verified_at=house.clock.now()))
    return None


_FRENCH = {"row": "la fiche", "certificate": "le certificat d'effacement"}


def _report(house: Installation, fault: Fault) -> None:
    log.error("verification.fault", recording=fault.recording_id, what=fault.what, error=fault.error)
    which = f" ({fault.column})" if fault.column else ""
    text = f"Contrôle d'intégrité : {_FRENCH.get(fault.what, fault.what)} de {fault.recording_id} n'est plus conforme"
    detail = {"what": fault.what, "error": fault.error}
    if fault.column:
        detail["column"] = fault.column
    with house.database.write() as session:
        about: str | None = session.scalar(select(Recording.id).where(Recording.id == fault.recording_id))
        if about is None:  # the row is gone, or its id was never one: named in the text alone
            detail["recording"] = fault.recording_id
        session.add(
            Incident(
                id=new_id(),
                kind="integrity",
                text=f"{text[:450]}{which}.",
                recording_id=about,
                opened_at=house.clock.now(),
            )
        )
        house.ledger.append(session, _event(about, detail))


def _event(recording_id: str | None, detail: dict[str, str]) -> Event:
    action = "recording.integrity_failed"
    try:
        return Event(Operation.SYSTEME, action, SYSTEM_ACTOR, recording_id=recording_id, detail=detail)
    except ValueError:  # an edited id is none the ledger may carry
        return Event(Operation.SYSTEME, action, SYSTEM_ACTOR, detail={**detail, "recording": str(recording_id)})


def _record_run(house: Installation, share: tuple[int, int] | None, checked: int, faults: int) -> None:
    detail = {"share": f"{share[0]}/{share[1]}" if share else "all", "checked": checked, "faults": faults}
    with house.database.write() as session:
        house.ledger.append(session, Event(Operation.SYSTEME, "store.verified", SYSTEM_ACTOR, detail=detail))
