"""The catalogue's rows held against the ledger: recordings and erasure certificates, column by column.

A row may be rewritten by whoever reaches the database; the journal may not without `bwc ledger verify` seeing it. So
each row must say what its own entries say (`recording.taken_in`, `.key_destroyed`, `.erased`), no more, no less.
Rows are read by pages, each in one snapshot: a recording taken in or erased meanwhile is seen whole or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from sqlalchemy import Row, exists, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from bwc.core.clock import iso_utc, paris_day
from bwc.db.models import Camera, ErasureCertificate, JournalEntry, Order, Recording
from bwc.installation import Installation
from bwc.rules.retention import MONTHS_SINCE_DECREE, add_months, bodycam_term

TAKEN, DESTROYED, ERASED = "recording.taken_in", "recording.key_destroyed", "recording.erased"
PAGE = 200
ABSENT = "(absent)"

_COLUMNS = (
    *(Recording.id, Recording.sha256, Recording.size, Recording.source_path, Recording.source, Recording.serial),
    *(Recording.wearer_id, Recording.claimed_start, Recording.claimed_source, Recording.docked_at),
    *(Recording.recorded_on, Recording.recorded_on_origin, Recording.due_on, Recording.term_rule),
    *(Recording.quarantine, Recording.drift_ms, Recording.state, Recording.erased_at),
    Camera.label.label("camera"),
    Order.number.label("order_number"),
)
_CERTIFICATE = tuple(column for column in ErasureCertificate.__table__.columns if column.name != "id")

# member of the taken_in entry → column of the recording
_TAKEN_MEMBERS = {
    "sha256": "sha256",
    "size": "size",
    "path": "source_path",
    "source": "source",
    "camera": "camera_id",
    "serial": "serial",
    "wearer": "wearer_id",
    "order": "order_id",
    "claimed_start": "claimed_start",
    "claimed_source": "claimed_source",
    "docked_at": "docked_at",
    "recorded_on": "recorded_on",
    "recorded_on_origin": "recorded_on_origin",
    "due_on": "due_on",
    "rule": "term_rule",
    "quarantine": "quarantine",
    "drift_ms": "drift_ms",
}


@dataclass(frozen=True)
class Fault:
    """One thing that is not as it should be.

    `what` is `original`, `poster` or `proxy` for a container, `row` or `certificate` for a row the ledger does not
    bear out; then `column` names it and `person` says it in French.
    """

    recording_id: str
    what: str
    error: str
    column: str = ""
    person: str = ""


@dataclass(frozen=True)
class _Entry:
    seq: int
    motive: Any
    detail: dict[str, Any]


@dataclass
class _Entries:
    """A recording's entries, by action; an action is met once or the second is a fault."""

    taken: _Entry | None = None
    destroyed: _Entry | None = None
    erased: _Entry | None = None
    twice: list[str] = field(default_factory=list)


def check_rows(house: Installation, wanted: Callable[[str], bool]) -> Iterator[Fault]:
    """Every difference between ledger and rows, of the recordings whose id is `wanted`."""
    last = ""
    while True:
        with _snapshot(house) as session:
            ids = session.scalars(
                select(Recording.id).where(Recording.id > last).order_by(Recording.id).limit(PAGE)
            ).all()
            faults = _page(session, [each for each in ids if wanted(each)])
        yield from faults
        if not ids:
            break
        last = ids[-1]
    yield from _without_row(house, wanted)


@contextmanager
def _snapshot(house: Installation) -> Iterator[Session]:
    with house.database.read() as session:
        if not house.database.is_sqlite:  # SQLite's transactions are snapshots by themselves
            session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        yield session


def _page(session: Session, ids: Sequence[str]) -> list[Fault]:
    if not ids:
        return []
    faults: list[Fault] = []
    entries = _entries(session, ids)
    certificates = _read(session, _CERTIFICATE, ids, "certificate", faults)
    unreadable = {fault.recording_id for fault in faults}
    for recording_id, row in _read(session, _COLUMNS, ids, "row", faults).items():
        known = entries.get(recording_id, _Entries())
        faults += _row_faults(row, known)
        if recording_id not in unreadable:
            faults += _certificate_faults(row, certificates.get(recording_id), known)
    return faults


def _read(
    session: Session, columns: tuple[Any, ...], ids: Sequence[str], what: str, faults: list[Fault]
) -> dict[str, Row[Any]]:
    """Rows by recording; when a page cannot be read (a date that is none), row by row, naming those that cannot."""
    if what == "row":
        query = select(*columns).outerjoin(Camera, Camera.id == Recording.camera_id)
        query, key = query.outerjoin(Order, Order.id == Recording.order_id), Recording.id
    else:
        query, key = select(*columns), ErasureCertificate.recording_id
    try:
        found = session.execute(query.where(key.in_(ids))).all()
    except (ValueError, TypeError, SQLAlchemyError) as error:
        if len(ids) == 1:
            faults.append(
                Fault(ids[0], what, f"cannot be read: {error}", person=f"{_FRENCH[what]} : illisible ({error})")
            )
            return {}
        merged: dict[str, Row[Any]] = {}
        for each in ids:
            merged |= _read(session, columns, [each], what, faults)
        return merged
    return {row.id if what == "row" else row.recording_id: row for row in found}


def _entries(session: Session, ids: Sequence[str]) -> dict[str, _Entries]:
    found: dict[str, _Entries] = {}
    names = {TAKEN: "taken", DESTROYED: "destroyed", ERASED: "erased"}
    query = select(JournalEntry.seq, JournalEntry.action, JournalEntry.recording_id, JournalEntry.record)
    query = query.where(JournalEntry.recording_id.in_(ids), JournalEntry.action.in_(names))
    for seq, action, recording_id, record in session.execute(query.order_by(JournalEntry.seq)):
        entries = found.setdefault(str(recording_id), _Entries())
        if getattr(entries, names[action]) is None:
            setattr(entries, names[action], _entry(seq, record))
        else:
            entries.twice.append(action)
    return found


def _entry(seq: int, record: str) -> _Entry:
    """The entry, empty when its record cannot be read: every column then differs, and `ledger verify` says why."""
    try:
        told = json.loads(record)
        return _Entry(seq, told["motive"], dict(told["detail"]))
    except (ValueError, KeyError, TypeError):
        return _Entry(seq, ABSENT, {})


def _row_faults(row: Row[Any], entries: _Entries) -> Iterator[Fault]:
    for action in entries.twice:
        yield _said(row.id, "row", f"more than one {action} entry", f"plus d'une inscription {action} au registre")
    if entries.taken is None:
        yield _said(row.id, "row", f"no {TAKEN} entry", "aucune inscription de collecte au registre")
    else:
        told = entries.taken.detail
        for member, column in _TAKEN_MEMBERS.items():
            yield from _compare(row.id, "row", column, told.get(member, ABSENT), _value(row, column))
    yield from _end_faults(row, entries)
    yield from _term_faults(row)


def _end_faults(row: Row[Any], entries: _Entries) -> Iterator[Fault]:
    """State and end, as the entries tell them."""
    for entry, members in (
        (entries.destroyed, ("sha256", "size", "due_on")),
        (entries.erased, ("sha256", "due_on")),
    ):
        if entry is not None:
            for name in members:
                yield from _compare(row.id, "row", name, entry.detail.get(name, ABSENT), _value(row, name))
            yield from _compare(row.id, "row", "term_rule", entry.motive, row.term_rule)
    if entries.erased is not None and entries.destroyed is None:
        yield _said(row.id, "row", f"no {DESTROYED} entry", "aucune inscription de destruction de clé au registre")
    if entries.erased is not None:
        state = "erased"
    elif entries.destroyed is not None:
        state = "erasing"
    else:
        reasons = entries.taken.detail.get("quarantine") if entries.taken is not None else row.quarantine
        state = "quarantined" if reasons else "held"
    yield from _compare(row.id, "row", "state", state, row.state)
    done_at = None if entries.erased is None else entries.erased.detail.get("done_at", ABSENT)
    yield from _compare(row.id, "row", "erased_at", done_at, _value(row, "erased_at"))


def _term_faults(row: Row[Any]) -> Iterator[Fault]:
    """Whatever the ledger says, no row is due later than the law allows (BWC-RET-1, -2, -4)."""
    try:
        term = bodycam_term(row.recorded_on)
        latest = term.due_on
        if term.rule == "BWC-RET-1":
            latest = min(latest, add_months(paris_day(row.docked_at), MONTHS_SINCE_DECREE))
    except (ValueError, OverflowError) as error:  # a day at the end of the calendar
        yield _said(row.id, "row", f"no term can be told: {error}", "terme incalculable", "recorded_on")
        return
    if row.due_on > latest:
        english = f"due_on: {row.due_on}, the law allows {latest} at the latest"
        yield _said(row.id, "row", english, f"due_on : {row.due_on}, la loi admet {latest} au plus tard", "due_on")


def _certificate_faults(row: Row[Any], certificate: Row[Any] | None, entries: _Entries) -> Iterator[Fault]:
    if certificate is None:
        if entries.erased is not None or row.state == "erased":
            yield _missing_certificate(row.id)
        return
    if entries.erased is None:
        yield _said(row.id, "certificate", f"no {ERASED} entry", "aucune inscription d'effacement au registre")
        return
    erased, taken = entries.erased.detail, entries.taken.detail if entries.taken else {}
    destroyed = entries.destroyed.detail if entries.destroyed else {}
    expected = {
        "sha256": erased.get("sha256", ABSENT),
        "size": destroyed.get("size", ABSENT),
        "recorded_on": taken.get("recorded_on", ABSENT),
        "due_on": erased.get("due_on", ABSENT),
        "rule": entries.erased.motive,
        "order_number": taken.get("order", ABSENT) or "",
        "archives_agreement": erased.get("archives_agreement", ABSENT) or "",
        "destroyed": erased.get("destroyed", ABSENT),
        "late": erased.get("late", ABSENT),
        "done_at": erased.get("done_at", ABSENT),
        "ledger_seq": entries.erased.seq,
    }
    for column, told in expected.items():
        yield from _compare(row.id, "certificate", column, told, _value(certificate, column))


def _without_row(house: Installation, wanted: Callable[[str], bool]) -> Iterator[Fault]:
    """What the ledger took in or erased, and certificates, of which no recording is left."""
    last = -1
    no_row = ~exists().where(Recording.id == JournalEntry.recording_id)
    query = select(JournalEntry.seq, JournalEntry.action, JournalEntry.recording_id)
    query = query.where(JournalEntry.action.in_((TAKEN, ERASED)), no_row).order_by(JournalEntry.seq).limit(PAGE)
    while True:
        with _snapshot(house) as session:
            found = session.execute(query.where(JournalEntry.seq > last)).all()
            certified = set(session.scalars(_certificates_of([str(each.recording_id) for each in found])))
        for seq, action, recording_id in found:
            last = seq
            if not wanted(str(recording_id)):
                continue
            if action == TAKEN:
                said = f"entry {seq} took it in, no row holds it"
                yield _said(str(recording_id), "row", said, f"l'inscription {seq} la reçoit, aucune fiche ne la porte")
            elif recording_id not in certified:
                yield _missing_certificate(str(recording_id))
        if not found:
            break
    place = ""
    stray = select(ErasureCertificate.recording_id).order_by(ErasureCertificate.recording_id).limit(PAGE)
    stray = stray.where(~exists().where(Recording.id == ErasureCertificate.recording_id))
    while True:
        with _snapshot(house) as session:
            ids = session.scalars(stray.where(ErasureCertificate.recording_id > place)).all()
        for place in ids:
            if wanted(place):
                yield _said(place, "certificate", "no recording row", "aucune fiche d'enregistrement")
        if not ids:
            break


def _certificates_of(ids: Sequence[str]) -> Any:
    return select(ErasureCertificate.recording_id).where(ErasureCertificate.recording_id.in_(ids))


_FRENCH = {"row": "fiche", "certificate": "certificat d'effacement"}


def _missing_certificate(recording_id: str) -> Fault:
    return _said(recording_id, "certificate", "erased without a certificate", "effacé sans certificat")


def _said(recording_id: str, what: str, error: str, person: str, column: str = "") -> Fault:
    return Fault(recording_id, what, error, column, f"{_FRENCH[what]} : {person}")


def _compare(recording_id: str, what: str, column: str, told: Any, found: Any) -> Iterator[Fault]:
    if type(told) is type(found) and told == found:
        return
    ledger, here = (json.dumps(value, ensure_ascii=False, default=str) for value in (told, found))
    yield _said(
        recording_id,
        what,
        f"{column}: the ledger says {ledger}, the row says {here}",
        f"{column} : le registre dit {ledger}, la base dit {here}",
        column,
    )


_SHOWN_AS = {"camera_id": "camera", "order_id": "order_number"}  # the ledger names cameras and orders by their names


def _value(row: Row[Any], column: str) -> Any:
    """The column as the ledger writes it."""
    value = getattr(row, _SHOWN_AS.get(column, column))
    if isinstance(value, datetime):
        return iso_utc(value)
    return value.isoformat() if isinstance(value, date) else value
