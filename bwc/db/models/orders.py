"""Prefect's orders and the communes each is for."""

from __future__ import annotations

from datetime import date

from sqlalchemy import CheckConstraint, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from bwc.db.base import Base, Id


class Order(Base):
    """An order authorising body cameras (kind `bodycam`) or fixed cameras (`cctv`). Versions are rows."""

    __tablename__ = "prefect_order"
    __table_args__ = (CheckConstraint("kind in ('bodycam','cctv')", name="kind"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    number: Mapped[str] = mapped_column(String(60))
    kind: Mapped[str] = mapped_column(String(10))
    signed_on: Mapped[date]
    in_force_from: Mapped[date]
    in_force_until: Mapped[date | None]
    prefecture: Mapped[str] = mapped_column(String(120))
    medium_commune: Mapped[str] = mapped_column(ForeignKey("commune.insee"))
    camera_count: Mapped[int]
    retention_days: Mapped[int | None]
    cnil_number: Mapped[str | None] = mapped_column(String(60))
    cnil_on: Mapped[date | None]

    communes: Mapped[list[OrderCommune]] = relationship(cascade="all, delete-orphan", lazy="selectin")


class OrderCommune(Base):
    """One commune of use of an order."""

    __tablename__ = "order_commune"

    order_id: Mapped[str] = mapped_column(ForeignKey("prefect_order.id"), primary_key=True)
    insee: Mapped[str] = mapped_column(ForeignKey("commune.insee"), primary_key=True)
