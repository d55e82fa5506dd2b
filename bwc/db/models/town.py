"""The town that runs this installation, and the communes it knows."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from bwc.db.base import Base, Instant


class Commune(Base):
    """A commune by its INSEE code."""

    __tablename__ = "commune"

    insee: Mapped[str] = mapped_column(String(5), primary_key=True)
    name: Mapped[str] = mapped_column(String(120))


class Town(Base):
    """The one row that says whose installation this is; `origin` names its ledger for ever."""

    __tablename__ = "town"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(120))
    siret: Mapped[str] = mapped_column(String(14))
    commune: Mapped[str] = mapped_column(ForeignKey("commune.insee"))
    service: Mapped[str] = mapped_column(String(200))
    post: Mapped[str] = mapped_column(String(120))
    origin: Mapped[str] = mapped_column(String(120))
    demonstration: Mapped[bool] = mapped_column(default=False)
    clock_believed_at: Mapped[datetime] = mapped_column(Instant)
    archives_agreement: Mapped[str | None] = mapped_column(String(200))
