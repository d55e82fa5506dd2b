"""Work to be done later. The row is the truth; a message of the broker carries only its id."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from bwc.db.base import Base, Id, Instant


class Job(Base):
    """`state`: queued, running, done, failed. `claim` names the worker's run that holds it."""

    __tablename__ = "job"
    __table_args__ = (
        Index("ix_job_state_after", "state", "not_before"),
        Index("ix_job_subject", "subject_id"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    kind: Mapped[str] = mapped_column(String(40))
    subject_id: Mapped[str] = mapped_column(Id)
    state: Mapped[str] = mapped_column(String(20), default="queued")
    attempts: Mapped[int] = mapped_column(default=0)
    not_before: Mapped[datetime] = mapped_column(Instant)
    claim: Mapped[str | None] = mapped_column(Id)
    claimed_at: Mapped[datetime | None] = mapped_column(Instant)
    made_at: Mapped[datetime] = mapped_column(Instant)
    ended_at: Mapped[datetime | None] = mapped_column(Instant)
    error: Mapped[str] = mapped_column(String(500), default="")
