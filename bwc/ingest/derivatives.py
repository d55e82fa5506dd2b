"""Poster and proxy of a recording, made in confinement and kept under the recording's own key."""

from __future__ import annotations

import io
from typing import Final

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from bwc.chain_of_custody.journal import SYSTEM_ACTOR, Event, Operation
from bwc.core.errors import InputError
from bwc.core.ids import new_id
from bwc.db.models import Derivative, Recording, RecordingKey
from bwc.ingest.derive import make_poster, make_proxy
from bwc.installation import Installation
from bwc.vault.store import Stored

log = structlog.get_logger()

MEDIA_TYPES: Final = {"poster": "image/jpeg", "proxy": "video/mp4"}


def make_derivative(house: Installation, recording_id: str, kind: str) -> bool:
    """Make the `poster` or `proxy` of a recording and file it; False when there is nothing to make it from.

    Does nothing when it exists already. Raises InputError for an unknown kind, EvidenceError when the original does
    not authenticate, StorageError when the disk is full.
    """
    if kind not in MEDIA_TYPES:
        raise InputError(f"no derivative of kind {kind!r}")
    opened = _original(house, recording_id, kind)
    if opened is None:
        return False
    row, key = opened
    derivative_id = new_id()
    with house.vault.writing():
        stored = _make(house, row, key, derivative_id, kind)
        if stored is None:
            log.info("derivative.impossible", recording=recording_id, kind=kind)
            return False
        with house.database.write() as session:
            kept = _file(house, session, recording_id, derivative_id, kind, stored)
        if not kept:
            house.vault.destroy(stored.name)
    return kept


def _original(house: Installation, recording_id: str, kind: str) -> tuple[Recording, bytes] | None:
    with house.database.read() as session:
        row = session.get(Recording, recording_id)
        wrapped = session.get(RecordingKey, recording_id)
        if row is None or wrapped is None or row.state not in {"held", "quarantined"}:
            return None
        if any(made.kind == kind for made in row.derivatives):
            return None
        return row, house.keys.unwrap(wrapped.day_key_id, row.id, wrapped.wrapped)


def _make(house: Installation, row: Recording, key: bytes, derivative_id: str, kind: str) -> Stored | None:
    with house.vault.open(row.vault_name, key, row.id) as source:
        if kind == "poster":
            picture = make_poster(source, row.size)
            return None if picture is None else house.vault.take(io.BytesIO(picture), key, derivative_id)
        return _make_proxy(house, row, key, derivative_id, source)


def _make_proxy(
    house: Installation, row: Recording, key: bytes, derivative_id: str, source: io.RawIOBase
) -> Stored | None:
    writer = house.vault.writer(key, derivative_id, derivative_id)
    try:
        result = make_proxy(source, row.size, writer.write, spool_folder=house.settings.data)
    except BaseException:
        writer.abandon()
        house.vault.discard_part(derivative_id)
        raise
    if not result.made:
        writer.abandon()
        house.vault.discard_part(derivative_id)
        log.info("proxy.not_made", recording=row.id, reason=result.reason)
        return None
    return house.vault.seal(writer, derivative_id)


def _file(
    house: Installation, session: Session, recording_id: str, derivative_id: str, kind: str, stored: Stored
) -> bool:
    """File a derivative unless its recording ended meanwhile or somebody made it first."""
    row = session.get_one(Recording, recording_id)
    made = session.scalars(
        select(Derivative).where(Derivative.recording_id == recording_id, Derivative.kind == kind)
    ).first()
    if row.state not in {"held", "quarantined"} or made is not None:
        return False
    session.add(
        Derivative(
            id=derivative_id,
            recording_id=recording_id,
            kind=kind,
            media_type=MEDIA_TYPES[kind],
            size=stored.size,
            sha256=stored.sha256,
            vault_name=stored.name,
            made_at=house.clock.now(),
        )
    )
    detail = {"kind": kind, "sha256": stored.sha256, "size": stored.size, "of": row.sha256}
    event = Event(Operation.MODIFICATION, "derivative.made", SYSTEM_ACTOR, recording_id=recording_id, detail=detail)
    house.ledger.append(session, event)
    return True
