"""People with their role and habilitation acts, their sessions, and each declared consultation."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from bwc.db.base import Base, Id, Instant, Json


class Person(Base):
    """One person of the service; `login` is None for who wears a camera without signing in."""

    __tablename__ = "person"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    matricule: Mapped[str] = mapped_column(String(20), unique=True)
    last_name: Mapped[str] = mapped_column(String(80))
    first_name: Mapped[str] = mapped_column(String(80))
    rank: Mapped[str] = mapped_column(String(60))
    role: Mapped[str] = mapped_column(String(20))
    commune: Mapped[str] = mapped_column(ForeignKey("commune.insee"))
    login: Mapped[str | None] = mapped_column(String(60), unique=True)
    password_hash: Mapped[str | None] = mapped_column(String(200))
    failed_sign_ins: Mapped[int] = mapped_column(default=0)
    locked_until: Mapped[datetime | None] = mapped_column(Instant)
    active: Mapped[bool] = mapped_column(default=True)

    acts: Mapped[list[Habilitation]] = relationship(lazy="selectin", order_by="Habilitation.starts_on")

    @property
    def display_name(self) -> str:
        """`B. Martin`: initial and last name, as the board shows a wearer."""
        return f"{self.first_name[:1]}. {self.last_name}"


class Habilitation(Base):
    """A habilitation act (R241-12 I 3°)."""

    __tablename__ = "habilitation"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    person_id: Mapped[str] = mapped_column(ForeignKey("person.id"), index=True)
    number: Mapped[str] = mapped_column(String(60))
    signed_on: Mapped[date]
    signatory: Mapped[str] = mapped_column(String(120))
    starts_on: Mapped[date]
    ends_on: Mapped[date | None]
    scope: Mapped[str] = mapped_column(String(200))


class WebSession(Base):
    """A browser's session, server-side; the cookie holds the token, this row its SHA-256 only."""

    __tablename__ = "web_session"

    token_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    person_id: Mapped[str | None] = mapped_column(ForeignKey("person.id"), index=True)
    data: Mapped[dict[str, Any]] = mapped_column(Json)
    opened_at: Mapped[datetime] = mapped_column(Instant)
    seen_at: Mapped[datetime] = mapped_column(Instant)
    ends_at: Mapped[datetime] = mapped_column(Instant)
    revoked_at: Mapped[datetime | None] = mapped_column(Instant)
    client: Mapped[str] = mapped_column(String(200), default="")


class Consultation(Base):
    """One declared look at one recording: the motive, and the minutes during which images may be read."""

    __tablename__ = "consultation"
    __table_args__ = (Index("ix_consultation_recording_opened", "recording_id", "opened_at"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    person_id: Mapped[str] = mapped_column(ForeignKey("person.id"))
    recording_id: Mapped[str] = mapped_column(ForeignKey("recording.id"))
    session_sha256: Mapped[str] = mapped_column(String(64))
    motive: Mapped[str] = mapped_column(String(40))
    motive_text: Mapped[str] = mapped_column(String(500), default="")
    reference: Mapped[str] = mapped_column(String(60), default="")
    opened_at: Mapped[datetime] = mapped_column(Instant)
    ends_at: Mapped[datetime] = mapped_column(Instant)
    ledger_seq: Mapped[int]
