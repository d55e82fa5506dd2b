"""Cameras, who holds them, the bays, and each offload session with its files."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from bwc.db.base import Base, Id, Instant


class Camera(Base):
    """A camera of the service's own inventory, known by its USB serial (rule BWC-ORD-3)."""

    __tablename__ = "camera"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    label: Mapped[str] = mapped_column(String(20), unique=True)
    serial: Mapped[str] = mapped_column(String(126), unique=True)
    model: Mapped[str] = mapped_column(String(120), default="")
    commune: Mapped[str] = mapped_column(ForeignKey("commune.insee"))
    order_id: Mapped[str | None] = mapped_column(ForeignKey("prefect_order.id"))
    state: Mapped[str] = mapped_column(String(20), default="in_service")  # in_service | lost | retired
    last_docked_at: Mapped[datetime | None] = mapped_column(Instant)
    last_emptied_at: Mapped[datetime | None] = mapped_column(Instant)


class CameraIssue(Base):
    """A camera handed to a wearer; open until `returned_at`."""

    __tablename__ = "camera_issue"
    __table_args__ = (Index("ix_camera_issue_camera_issued", "camera_id", "issued_at"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    camera_id: Mapped[str] = mapped_column(ForeignKey("camera.id"))
    person_id: Mapped[str] = mapped_column(ForeignKey("person.id"))
    issued_at: Mapped[datetime] = mapped_column(Instant)
    returned_at: Mapped[datetime | None] = mapped_column(Instant)


class Bay(Base):
    """A place of the dock, by the USB port it is wired to; known by its number once it was seen or configured."""

    __tablename__ = "bay"
    __table_args__ = (UniqueConstraint("bus", "port_path"),)

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    bus: Mapped[int]
    port_path: Mapped[str] = mapped_column(String(40))


class OffloadSession(Base):
    """One stay of one device on one bay.

    `state`: detected, identified, listed, copying, waiting (disk full), then done, refused (unknown device), failed
    or gone (pulled out before the end), then taken once a camera whose stay was over has left the bay.
    `error_code` and `message` (French) say why when it is not done. `drift_ms`: camera clock minus reference,
    None when the camera gives no clock; `drift_method` says how it was bounded.
    """

    __tablename__ = "offload_session"
    __table_args__ = (Index("ix_offload_session_bay_opened", "bay_number", "opened_at"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    bay_number: Mapped[int | None] = mapped_column(ForeignKey("bay.number"))
    camera_id: Mapped[str | None] = mapped_column(ForeignKey("camera.id"))
    wearer_id: Mapped[str | None] = mapped_column(ForeignKey("person.id"))
    transport: Mapped[str] = mapped_column(String(20))
    serial: Mapped[str] = mapped_column(String(126), default="")
    device: Mapped[str] = mapped_column(String(300), default="")
    state: Mapped[str] = mapped_column(String(20), default="detected")
    message: Mapped[str] = mapped_column(String(300), default="")
    error_code: Mapped[str | None] = mapped_column(String(40))
    opened_at: Mapped[datetime] = mapped_column(Instant)
    updated_at: Mapped[datetime] = mapped_column(Instant)
    closed_at: Mapped[datetime | None] = mapped_column(Instant)
    files_total: Mapped[int] = mapped_column(default=0)
    files_safe: Mapped[int] = mapped_column(default=0)
    files_deleted: Mapped[int] = mapped_column(default=0)
    bytes_total: Mapped[int] = mapped_column(BigInteger, default=0)
    bytes_done: Mapped[int] = mapped_column(BigInteger, default=0)
    bytes_per_s: Mapped[int] = mapped_column(BigInteger, default=0)
    drift_ms: Mapped[int | None] = mapped_column(BigInteger)
    drift_method: Mapped[str] = mapped_column(String(40), default="")

    files: Mapped[list[OffloadFile]] = relationship(order_by="OffloadFile.position", viewonly=True)


class OffloadFile(Base):
    """One file met on a camera in one session.

    `state`: listed, copying, stored, duplicate, deleted, damaged, changed.
    """

    __tablename__ = "offload_file"
    __table_args__ = (
        UniqueConstraint("session_id", "path"),
        Index("ix_offload_file_known", "camera_id", "path", "size"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    session_id: Mapped[str] = mapped_column(ForeignKey("offload_session.id"))
    camera_id: Mapped[str | None] = mapped_column(ForeignKey("camera.id"))
    position: Mapped[int]
    path: Mapped[str] = mapped_column(String(1000))
    size: Mapped[int] = mapped_column(BigInteger)
    modified: Mapped[str | None] = mapped_column(String(40))
    head_sha256: Mapped[str | None] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(20), default="listed")
    message: Mapped[str] = mapped_column(String(300), default="")
    recording_id: Mapped[str | None] = mapped_column(ForeignKey("recording.id"))
    deleted_at: Mapped[datetime | None] = mapped_column(Instant)


class Part(Base):
    """An unfinished copy that a later session may go on from: the camera file it is of, and its wrapped key.

    Gone in the transaction that commits the recording; at the latest with its day key, one month after docking.
    """

    __tablename__ = "part"
    __table_args__ = (Index("ix_part_file", "serial", "path", "size"),)

    name: Mapped[str] = mapped_column(Id, primary_key=True)
    serial: Mapped[str] = mapped_column(String(126))
    path: Mapped[str] = mapped_column(String(1000))
    size: Mapped[int] = mapped_column(BigInteger)
    modified: Mapped[str | None] = mapped_column(String(40))
    head_sha256: Mapped[str] = mapped_column(String(64))
    day_key_id: Mapped[str] = mapped_column(ForeignKey("day_key.id"), index=True)
    wrapped: Mapped[bytes] = mapped_column(LargeBinary)
