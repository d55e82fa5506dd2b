"""The ledger as one text file that a verifier without a database reads (docs/custody-format.md §6.5)."""

from __future__ import annotations

import base64
from typing import IO, Any

from bwc.chain_of_custody import stored
from bwc.core.digests import canonical_json
from bwc.core.errors import EvidenceError
from bwc.db.engine import Database


def export_ledger(database: Database, out: IO[bytes], *, records: bool = True) -> int:
    """Write every entry, then every checkpoint of the table, then the closing line; returns how many entries.

    Bytes are exported as stored, right or wrong. Without `records` the clear values and salts are withheld: no
    personal data leaves, the tree stays verifiable. Raises EvidenceError when a record or a note is not UTF-8.
    """
    count = notes = 0
    with stored.snapshot(database) as session:
        for entry in stored.entries(session):
            journal = entry.journal if records else None
            line = {
                "seq": entry.seq,
                "body": base64.b64encode(entry.body).decode(),
                "leaf": entry.leaf_hash.hex(),
                "record": None if journal is None else _utf8(journal.record, entry.seq),
                "salt": None if journal is None else (journal.salt or b"").hex(),
            }
            _write(out, line)
            count += 1
        for checkpoint in stored.checkpoints(session):
            _write(out, {"checkpoint": _utf8(checkpoint.note, checkpoint.size), "size": checkpoint.size})
            notes += 1
    _write(out, {"end": {"entries": count, "checkpoints": notes, "records": records}})
    return count


def _write(out: IO[bytes], line: dict[str, Any]) -> None:
    out.write(canonical_json(line) + b"\n")


def _utf8(raw: bytes | None, place: int) -> str:
    try:
        return (raw or b"").decode()
    except UnicodeDecodeError as error:
        raise EvidenceError(f"text at place {place} is not UTF-8") from error
