"""Recordings, what was derived from them, their keys, their end, and incidents."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from bwc.db.base import Base, Id, Instant, Json
from bwc.db.models.fleet import Camera
from bwc.db.models.orders import Order
from bwc.db.models.people import Person


class Recording(Base):
    """One recording, as delivered by the camera.

    Three clocks that never overwrite one another: `claimed_start` (the camera's word, `claimed_source` says from
    where), `docked_at` (reference time at docking), `received_at` (reference time when it was wholly in).
    `state`: held, quarantined, erasing, erased. `sha256` is of the bytes as delivered, 64 hex digits.
    `media_state`: pending, read, unreadable.
    """

    __tablename__ = "recording"
    __table_args__ = (
        CheckConstraint("state in ('held','quarantined','erasing','erased')", name="state"),
        Index("ix_recording_started", "claimed_start", "id"),
        Index("ix_recording_received", "received_at", "id"),
        Index("ix_recording_due", "due_on", "state"),
        Index("ix_recording_wearer", "wearer_id", "received_at"),
        Index("ix_recording_sha256", "sha256"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    camera_id: Mapped[str | None] = mapped_column(ForeignKey("camera.id"))
    serial: Mapped[str] = mapped_column(String(126), default="")
    wearer_id: Mapped[str | None] = mapped_column(ForeignKey("person.id"))
    wearer_origin: Mapped[str] = mapped_column(String(20), default="")  # issue_register | person | ""
    order_id: Mapped[str | None] = mapped_column(ForeignKey("prefect_order.id"))
    commune: Mapped[str] = mapped_column(ForeignKey("commune.insee"))
    source: Mapped[str] = mapped_column(String(20))  # usb | folder
    source_path: Mapped[str] = mapped_column(String(1000))
    offload_session_id: Mapped[str | None] = mapped_column(ForeignKey("offload_session.id"))

    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    vault_name: Mapped[str] = mapped_column(String(40))
    verified_at: Mapped[datetime | None] = mapped_column(Instant)

    claimed_start: Mapped[datetime | None] = mapped_column(Instant)
    claimed_source: Mapped[str] = mapped_column(String(20), default="")  # file_name | container | card | ""
    docked_at: Mapped[datetime] = mapped_column(Instant)
    received_at: Mapped[datetime] = mapped_column(Instant)
    drift_ms: Mapped[int | None] = mapped_column(BigInteger)

    recorded_on: Mapped[date]
    recorded_on_origin: Mapped[str] = mapped_column(String(20))
    due_on: Mapped[date]
    term_rule: Mapped[str] = mapped_column(String(20))

    state: Mapped[str] = mapped_column(String(20))
    quarantine: Mapped[list[str]] = mapped_column(Json, default=list)
    media_state: Mapped[str] = mapped_column(String(20), default="pending")
    media: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    duration_ms: Mapped[int | None] = mapped_column(BigInteger)
    latitude_e7: Mapped[int | None]
    longitude_e7: Mapped[int | None]
    place: Mapped[str] = mapped_column(String(200), default="")
    place_origin: Mapped[str] = mapped_column(String(20), default="")
    erased_at: Mapped[datetime | None] = mapped_column(Instant)

    camera: Mapped[Camera | None] = relationship(lazy="joined")
    wearer: Mapped[Person | None] = relationship(lazy="joined")
    order: Mapped[Order | None] = relationship(lazy="selectin")
    derivatives: Mapped[list[Derivative]] = relationship(viewonly=True)


class Derivative(Base):
    """What was made from a recording: `poster` or `proxy`, encrypted under the recording's own key."""

    __tablename__ = "derivative"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    recording_id: Mapped[str] = mapped_column(ForeignKey("recording.id"), index=True)
    kind: Mapped[str] = mapped_column(String(20))
    media_type: Mapped[str] = mapped_column(String(60))
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    vault_name: Mapped[str] = mapped_column(String(40))
    made_at: Mapped[datetime] = mapped_column(Instant)


class DayKey(Base):
    """The existence of a day key, never its bytes: those lie in the key folder, outside the database."""

    __tablename__ = "day_key"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    due_on: Mapped[date] = mapped_column(index=True)
    made_at: Mapped[datetime] = mapped_column(Instant)
    destroyed_at: Mapped[datetime | None] = mapped_column(Instant)


class RecordingKey(Base):
    """A recording's key, wrapped by a day key. Its deletion is the erasure."""

    __tablename__ = "recording_key"

    recording_id: Mapped[str] = mapped_column(ForeignKey("recording.id"), primary_key=True)
    day_key_id: Mapped[str] = mapped_column(ForeignKey("day_key.id"), index=True)
    wrapped: Mapped[bytes] = mapped_column(LargeBinary)


class ErasureCertificate(Base):
    """Proof that a recording was erased: what, due when, done when, by which rule. No image, kept for ever."""

    __tablename__ = "erasure_certificate"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    recording_id: Mapped[str] = mapped_column(ForeignKey("recording.id"), unique=True)
    sha256: Mapped[str] = mapped_column(String(64))
    size: Mapped[int] = mapped_column(BigInteger)
    recorded_on: Mapped[date]
    due_on: Mapped[date]
    rule: Mapped[str] = mapped_column(String(20))
    order_number: Mapped[str] = mapped_column(String(60), default="")
    archives_agreement: Mapped[str] = mapped_column(String(200), default="")
    destroyed: Mapped[list[str]] = mapped_column(Json)
    late: Mapped[bool]
    done_at: Mapped[datetime] = mapped_column(Instant)
    ledger_seq: Mapped[int]


class Incident(Base):
    """Something a person must look at: late erasure, failed verification, unknown device, damaged card…"""

    __tablename__ = "incident"
    __table_args__ = (Index("ix_incident_open", "closed_at", "opened_at"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    kind: Mapped[str] = mapped_column(String(40))
    text: Mapped[str] = mapped_column(String(500))
    recording_id: Mapped[str | None] = mapped_column(ForeignKey("recording.id"))
    camera_id: Mapped[str | None] = mapped_column(ForeignKey("camera.id"))
    opened_at: Mapped[datetime] = mapped_column(Instant)
    closed_at: Mapped[datetime | None] = mapped_column(Instant)
