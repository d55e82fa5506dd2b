"""Checkpoints: when to sign the ledger's size and root, and keeping what was signed in the table and in files.

The row is committed first and the file follows; a crash between the two is mended by the next `publish`.
Format: docs/custody-format.md §6.3. Witnesses and timestamps build on what is published here, elsewhere.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import structlog
from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from bwc.chain_of_custody.ledger import HEAD_ID, take_head
from bwc.chain_of_custody.merkle import Frontier
from bwc.chain_of_custody.note import MAX_NOTE_BYTES, Signer, TreeHead, VerifierKey, open_checkpoint
from bwc.core.clock import Clock
from bwc.core.errors import ConfigError, EvidenceError
from bwc.db.engine import Database
from bwc.db.models import Checkpoint as CheckpointRow
from bwc.db.models import JournalEntry, LedgerEntry, LedgerHead

VKEY_FILE = "vkey"
_FILE_NAME = re.compile(r"([0-9]{12,19})\.note")

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """A published statement: at `made_at` (UTC, not covered by the signature) the ledger had this size and root."""

    size: int
    root: bytes
    note: str
    made_at: datetime


def note_file_name(size: int) -> str:
    """Name of a checkpoint's file, `<size, at least 12 digits>.note`."""
    return f"{size:012d}.note"


def note_files(folder: Path) -> Iterator[tuple[int, Path]]:
    """(size by its name, path) of each checkpoint file in `folder`, by size; nothing when there is no folder."""
    paths = list(folder.iterdir()) if folder.is_dir() else []
    named = ((_FILE_NAME.fullmatch(path.name), path) for path in paths if path.is_file())
    yield from sorted((int(match[1]), path) for match, path in named if match)


def read_note_file(path: Path) -> bytes:
    """Bytes of a checkpoint file, cut just over the greatest size a note may have."""
    with path.open("rb") as stream:
        return stream.read(MAX_NOTE_BYTES + 1)


def latest(database: Database) -> Checkpoint | None:
    """The checkpoint of the greatest size in the table."""
    with database.read() as session:
        return _latest(session)


def due(database: Database, clock: Clock, every: int = 100, minutes: int = 10) -> bool:
    """Whether to publish: `every` entries wait, or the oldest waiting has waited `minutes` (or bears a later time)."""
    with database.read() as session:
        last = _latest(session)
        covered = 0 if last is None else last.size
        size = session.scalar(select(LedgerHead.size).where(LedgerHead.id == HEAD_ID)) or 0
        if size <= covered:
            return False
        oldest = session.scalar(select(JournalEntry.at).where(JournalEntry.seq == covered))
    if size - covered >= every or oldest is None:
        return True
    return not timedelta(0) <= clock.now() - oldest < timedelta(minutes=minutes)


def publish(database: Database, clock: Clock, signer: Signer, folder: Path) -> Checkpoint | None:
    """Sign the present size and root, in the table then in `folder`; None when nothing is new.

    Also writes again the files of earlier checkpoints that are missing, and `vkey`. Raises ConfigError when the
    folder's vkey is another key's, EvidenceError (and signs nothing) when the ledger is smaller than, or differs
    from, what was signed before.
    """
    _keep_vkey(folder, signer)
    with database.write() as session:
        made = _sign(session, clock, signer, folder)
    restore_files(database, folder)
    if made is not None:
        log.info("checkpoint published", size=made.size, root=made.root.hex())
    return made


def restore_files(database: Database, folder: Path) -> int:
    """Write the files that the table has and `folder` lacks; returns how many. Never overwrites one."""
    present = {size for size, _ in note_files(folder)}
    with database.read() as session:
        sizes = set(session.scalars(select(CheckpointRow.size))) - present
        for size in sorted(sizes):
            note = session.scalar(select(CheckpointRow.note).where(CheckpointRow.size == size))
            if note is not None:
                _write_durably(folder / note_file_name(size), note.encode())
    return len(sizes)


def _latest(session: Session) -> Checkpoint | None:
    row = session.scalars(select(CheckpointRow).order_by(CheckpointRow.size.desc()).limit(1)).first()
    return None if row is None else Checkpoint(row.size, bytes(row.root), row.note, row.made_at)


def _sign(session: Session, clock: Clock, signer: Signer, folder: Path) -> Checkpoint | None:
    head = take_head(session)
    last = _latest(session)
    _refuse_step_back(session, head, last, folder, signer.verifier)
    if head.size == (0 if last is None else last.size):
        return None
    root = head.root()
    note = signer.sign(TreeHead(signer.name, head.size, root).text()).format()
    made = Checkpoint(head.size, root, note, clock.now())
    session.execute(insert(CheckpointRow), {"size": made.size, "root": root, "note": note, "made_at": made.made_at})
    return made


def _refuse_step_back(
    session: Session, head: Frontier, last: Checkpoint | None, folder: Path, verifier: VerifierKey
) -> None:
    """A restored or cut database must not be signed over: that would be the fork a witness looks for."""
    final = session.scalar(select(func.max(LedgerEntry.seq)))
    stored = 0 if final is None else final + 1
    if stored != head.size:
        raise EvidenceError(f"ledger head says {head.size} entries, {stored} are stored")
    signed = [] if last is None else [(last.size, last.root)]
    in_folder = _latest_file(folder, verifier)
    signed += [] if in_folder is None else [(in_folder.size, in_folder.root)]
    for size, root in signed:
        if head.size < size:
            raise EvidenceError(f"ledger has {head.size} entries, a checkpoint of {size} was signed")
        if head.size == size and root != head.root():
            raise EvidenceError(f"ledger's root at {size} entries is not the one that was signed")


def _latest_file(folder: Path, verifier: VerifierKey) -> TreeHead | None:
    """The greatest checkpoint in `folder` that this key signed; a file that is not one is the verifier's to report."""
    for _, path in reversed(list(note_files(folder))):
        try:
            return open_checkpoint(read_note_file(path), verifier)
        except EvidenceError as error:
            log.warning("checkpoint file unusable", path=str(path), error=str(error))
    return None


def _keep_vkey(folder: Path, signer: Signer) -> None:
    path, vkey = folder / VKEY_FILE, signer.verifier.vkey() + "\n"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _write_durably(path, vkey.encode())
    elif path.read_text(encoding="utf-8") != vkey:
        raise ConfigError(
            f"{path} holds another key than the signer's {signer.verifier.vkey()}",
            person="La clé de signature du registre n'est pas celle qui a été publiée. Rien n'a été signé.",
        )


def _write_durably(path: Path, data: bytes) -> None:
    """All of `data` under `path` after a power cut, or nothing there."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
