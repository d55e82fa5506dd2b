"""Verification of the whole ledger in one pass over the stored bytes (docs/custody-format.md §6.4).

Constant memory but for the checkpoints. Not independent of the writer: tools/verify_ledger.py is.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import structlog

from bwc.chain_of_custody import stored
from bwc.chain_of_custody.check import EntryChecker
from bwc.chain_of_custody.checkpoints import VKEY_FILE, note_file_name, note_files, read_note_file
from bwc.chain_of_custody.faults import Findings, Report
from bwc.chain_of_custody.merkle import Frontier
from bwc.chain_of_custody.note import TreeHead, VerifierKey, parse_note, parse_tree_head, parse_vkey
from bwc.core.errors import EvidenceError
from bwc.db.engine import Database

_PATIENCE_S = 2.0

log = structlog.get_logger(__name__)


def verify_ledger(database: Database, folder: Path | None, vkey: VerifierKey | str) -> Report:
    """Check every entry, journal row and checkpoint, in the table and (unless None) in `folder`.

    `vkey` is the key expected to have signed, from elsewhere than the folder. Never raises for what it finds;
    raises EvidenceError when `vkey` is not a key. The product may go on writing meanwhile.
    """
    began = time.monotonic()
    key = parse_vkey(vkey) if isinstance(vkey, str) else vkey
    findings = Findings()
    files = {} if folder is None else {size: read_note_file(path) for size, path in note_files(folder)}
    with stored.snapshot(database) as session:
        rows = {row.size: row for row in stored.checkpoints(session)}
        signed = _Signed(findings, key)
        signed.read(rows, files)
        tree = _walk(stored.entries(session), signed, findings)
        for seq in stored.stray_journal(session):
            findings.add("journal_extra", "journal_entry", seq, "a ledger entry", "none")
        _check_head(stored.heads(session), tree, findings)
    signed.finish(tree.size)
    if folder is not None:
        _compare_folder(folder, key, rows, files, findings)
    seconds = time.monotonic() - began
    report = Report(
        entries=tree.size,
        checkpoints=len(rows.keys() | files.keys()),
        root=tree.root().hex(),
        seconds=seconds,
        faults=findings.in_order(),
        fault_count=findings.count,
        first_bad=findings.first_bad,
    )
    log.info("ledger verified", ok=report.ok, entries=report.entries, faults=report.fault_count)
    return report


class _Signed:
    """The tree heads that were validly signed, and how the ledger stands against them."""

    def __init__(self, findings: Findings, key: VerifierKey) -> None:
        self.findings = findings
        self.key = key
        self.roots: dict[int, set[bytes]] = {}
        self._agreed = 0
        self._broken = False

    def read(self, rows: dict[int, stored.StoredCheckpoint], files: dict[int, bytes]) -> None:
        """Take in every checkpoint, noting those that are not what they should be."""
        for size, row in rows.items():
            head = self._open("checkpoint", size, row.note)
            if head is not None and (head.size, head.root) != (size, row.root):
                found = f"{size} {row.root.hex()}"
                self.findings.add("checkpoint_columns", "checkpoint", size, f"{head.size} {head.root.hex()}", found)
        for size, data in files.items():
            if size in rows and rows[size].note == data:
                continue
            head = self._open(note_file_name(size), size, data)
            if head is not None and head.size != size:
                self.findings.add("checkpoint_columns", note_file_name(size), size, head.size, size)

    def _open(self, table: str, size: int, data: bytes) -> TreeHead | None:
        try:
            note = parse_note(data)
            head = parse_tree_head(note.text)
        except EvidenceError as error:
            self.findings.add("checkpoint_form", table, size, "a checkpoint note", error)
            return None
        fault = None if head.origin == self.key.name else f"origin {head.origin}"
        try:
            self.key.verify(note)
        except EvidenceError as error:
            fault = str(error)
        if fault is not None:
            self.findings.add("checkpoint_signature", table, size, self.key.vkey(), fault)
            return None
        self.roots.setdefault(head.size, set()).add(head.root)
        return head

    def meet(self, tree: Frontier) -> None:
        """Compare the tree with what was signed at its present size, if anything was."""
        roots = self.roots.get(tree.size)
        if roots is None:
            return
        root = tree.root()
        if roots == {root}:
            self._agreed, self._broken = tree.size, False
            self.findings.agreed()
        elif not self._broken:
            expected = ", ".join(sorted(each.hex() for each in roots))
            first = min(self._agreed, max(tree.size - 1, 0))
            self.findings.add("tree", "ledger_entry", first, expected, root.hex(), last=tree.size - 1)
            self._broken = True

    def finish(self, size: int) -> None:
        """Note that the ledger is shorter than what was signed, if it is."""
        greatest = max(self.roots, default=0)
        if greatest > size:
            self.findings.add("truncated", "ledger_entry", size, f"{greatest} entries", f"{size} entries")


def _walk(entries: Iterator[stored.StoredEntry], signed: _Signed, findings: Findings) -> Frontier:
    """The tree of the entries as stored, each checked on the way."""
    tree, checker, expected = Frontier(), EntryChecker(findings), 0
    signed.meet(tree)
    for entry in entries:
        if entry.seq > expected:
            findings.add("entry_missing", "ledger_entry", expected, expected, entry.seq, last=entry.seq - 1)
        elif entry.seq < expected:
            findings.add("entry_unexpected", "ledger_entry", entry.seq, expected, entry.seq)
        expected = max(expected, entry.seq + 1)
        tree.append(checker.check(entry))
        signed.meet(tree)
    return tree


def _check_head(rows: list[tuple[str, str, bytes]], tree: Frontier, findings: Findings) -> None:
    expected = [("1", str(tree.size), tree.to_bytes())] if tree.size else []
    if rows != expected and not (tree.size == 0 and rows == [("1", "0", b"")]):
        found = " | ".join(f"{place} {size} {frontier.hex()}" for place, size, frontier in rows) or "no row"
        findings.add("head", "ledger_head", tree.size, f"1 {tree.size} {tree.to_bytes().hex()}", found)


def _compare_folder(
    folder: Path,
    key: VerifierKey,
    rows: dict[int, stored.StoredCheckpoint],
    files: dict[int, bytes],
    findings: Findings,
) -> None:
    vkey = folder / VKEY_FILE
    if vkey.exists() and vkey.read_bytes().rstrip(b"\n") != key.vkey().encode():
        findings.add("vkey", VKEY_FILE, None, key.vkey(), vkey.read_bytes())
    for size in sorted(rows.keys() | files.keys()):
        name = note_file_name(size)
        if size not in rows:
            findings.add("checkpoint_row_missing", "checkpoint", size, "a row", f"{name} alone")
        elif size not in files:
            if not _appears(folder / name, newest=size == max(rows)):
                findings.add("checkpoint_file_missing", name, size, "a file", "the row alone")
        elif files[size] != rows[size].note:
            findings.add("checkpoint_differs", name, size, rows[size].note, files[size])


def _appears(path: Path, *, newest: bool) -> bool:
    """Whether the file is there by now: the writer commits a checkpoint's row just before its file."""
    give_up = time.monotonic() + (_PATIENCE_S if newest else 0)
    while not path.exists():
        if time.monotonic() >= give_up:
            return False
        time.sleep(0.05)
    return True
