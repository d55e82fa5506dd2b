"""The ledger (commitments, append-only), the journal (clear values beside them), the checkpoints."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from bwc.db.base import Base, Id, Instant

Sequence = BigInteger().with_variant(Integer, "sqlite")


class LedgerEntry(Base):
    """One leaf: `body` is the canonical JSON that is hashed, kept byte for byte (docs/custody-format.md §6)."""

    __tablename__ = "ledger_entry"

    seq: Mapped[int] = mapped_column(Sequence, primary_key=True, autoincrement=False)
    body: Mapped[bytes] = mapped_column(LargeBinary)
    leaf_hash: Mapped[bytes] = mapped_column(LargeBinary(32))


class LedgerHead(Base):
    """Size and right-hand frontier of the tree, so that an append costs log n. Derived, never trusted to verify."""

    __tablename__ = "ledger_head"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    size: Mapped[int] = mapped_column(BigInteger)
    frontier: Mapped[bytes] = mapped_column(LargeBinary)


class JournalEntry(Base):
    """Clear values of one ledger entry, three years (R241-14). `record` is the canonical JSON committed to."""

    __tablename__ = "journal_entry"
    __table_args__ = (
        Index("ix_journal_entry_recording", "recording_id", "seq"),
        Index("ix_journal_entry_actor", "actor_id", "seq"),
    )

    seq: Mapped[int] = mapped_column(ForeignKey("ledger_entry.seq"), primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(Instant, index=True)
    operation: Mapped[str] = mapped_column(String(20), index=True)
    action: Mapped[str] = mapped_column(String(40))
    actor_id: Mapped[str | None] = mapped_column(Id)
    recording_id: Mapped[str | None] = mapped_column(Id)
    record: Mapped[str] = mapped_column(Text)
    salt: Mapped[bytes] = mapped_column(LargeBinary(32))


class Checkpoint(Base):
    """A signed statement of the ledger's size and root (C2SP tlog-checkpoint, signed note)."""

    __tablename__ = "checkpoint"

    size: Mapped[int] = mapped_column(Sequence, primary_key=True, autoincrement=False)
    root: Mapped[bytes] = mapped_column(LargeBinary(32))
    note: Mapped[str] = mapped_column(Text)
    made_at: Mapped[datetime] = mapped_column(Instant)
