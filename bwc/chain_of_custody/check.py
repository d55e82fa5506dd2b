"""The checks of one entry against itself, its journal row and the entry before it (docs/custody-format.md §6.4).

The tree and the checkpoints are `verify`'s.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any, NoReturn

from bwc.chain_of_custody.faults import Findings
from bwc.chain_of_custody.journal import CLOCK_FLAG, SALT_SIZE, Operation, commitment
from bwc.chain_of_custody.merkle import leaf_hash
from bwc.chain_of_custody.stored import StoredEntry, StoredJournal

_BODY = re.compile(
    rb'\{"c":"([0-9a-f]{64})","n":(0|[1-9][0-9]{0,18}),"op":"([a-z]+)",'
    rb'"t":"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z)","v":1\}'
)
_RECORD = {"n", "action", "actor", "recording", "motive", "recipients", "detail"}
_TEXT_OR_NULL = (str, type(None))
_OPERATIONS = frozenset(str(each) for each in Operation)
BODY_FORM = "canonical JSON of v, n, t, op, c"
RECORD_FORM = "canonical JSON of n, action, actor, recording, motive, recipients, detail"


class EntryChecker:
    """Checks entries one after the other, in the order of the ledger."""

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self._before = ""

    def check(self, entry: StoredEntry) -> bytes:
        """Note every fault of `entry` alone and against the one before; returns the leaf hash of its stored bytes."""
        leaf = leaf_hash(entry.body)
        if leaf != entry.leaf_hash:
            self._add("leaf_hash", "ledger_entry", entry.seq, leaf.hex(), entry.leaf_hash.hex())
        match = _BODY.fullmatch(entry.body)
        committed, place, operation, instant = match.groups() if match else (b"", b"", b"", b"")
        dated = _is_instant(instant)
        if not match or operation.decode() not in _OPERATIONS or not dated:
            self._add("body_form", "ledger_entry", entry.seq, BODY_FORM, why_not_canonical(entry.body))
        elif int(place) != entry.seq:
            self._add("place", "ledger_entry", entry.seq, f"n={entry.seq}", f"n={int(place)}")
        if entry.journal is None:
            self._add("journal_missing", "journal_entry", entry.seq, "one row", "none")
        elif match:
            self._journal(entry.seq, entry.journal, int(place), committed, operation, instant)
        if dated:
            self._before = instant.decode()
        return leaf

    def _journal(
        self, seq: int, row: StoredJournal, place: int, committed: bytes, operation: bytes, instant: bytes
    ) -> None:
        salt, raw = row.salt or b"", row.record or b""
        found = commitment(salt, raw)
        if len(salt) != SALT_SIZE or found.encode() != committed:
            self._add("commitment", "journal_entry", seq, committed, found)
        self._column(seq, "at", instant.replace(b"T", b" ")[:-1], row.at)
        self._column(seq, "operation", operation, row.operation)
        try:
            record = read_record(raw)
        except (ValueError, RecursionError) as error:
            self._add("record_form", "journal_entry", seq, RECORD_FORM, error)
            return
        if record["n"] != place:
            self._add("record_form", "journal_entry", seq, f"n={place}", f"n={record['n']}")
        self._column(seq, "action", record["action"].encode(), row.action)
        self._column(seq, "actor_id", _encode(record["actor"]["id"]), row.actor_id)
        self._column(seq, "recording_id", _encode(record["recording"]), row.recording_id)
        self._clock(seq, instant.decode(), record["detail"])

    def _column(self, seq: int, name: str, expected: bytes | None, found: bytes | None) -> None:
        if expected != found:
            self._add("column", "journal_entry", seq, f"{name}={_show(expected)}", f"{name}={_show(found)}")

    def _clock(self, seq: int, instant: str, detail: dict[str, Any]) -> None:
        flagged = CLOCK_FLAG in detail
        if instant < self._before and not flagged:
            self._add("clock", "ledger_entry", seq, f"t >= {self._before}, or {CLOCK_FLAG}", instant)
        elif flagged and not (instant < self._before and detail[CLOCK_FLAG] is True):
            self._add("clock_flag", "journal_entry", seq, f"no {CLOCK_FLAG}", f"{self._before} then {instant}")

    def _add(self, code: str, table: str, seq: int, expected: object, found: object) -> None:
        self.findings.add(code, table, seq, expected, found)


def _refuse_number(text: str) -> NoReturn:
    raise ValueError(f"not an integer: {text[:20]}")


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("duplicate member")
    return value


# Same bytes as canonical_json, and faster: the decoder has refused the floats already.
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_DECODER = json.JSONDecoder(parse_float=_refuse_number, parse_constant=_refuse_number)
_STRICT_DECODER = json.JSONDecoder(
    parse_float=_refuse_number, parse_constant=_refuse_number, object_pairs_hook=_refuse_duplicates
)


def read_record(raw: bytes) -> dict[str, Any]:
    """The record of canonical bytes. Raises ValueError when they are not canonical or not of §6.1's members."""
    text = raw.decode()
    value = _DECODER.decode(text)
    if _ENCODER.encode(value) != text:
        raise ValueError(why_not_canonical(raw))
    if not isinstance(value, dict) or value.keys() != _RECORD:
        raise ValueError("members are not those of a record")
    actor, recipients = value["actor"], value["recipients"]
    well_typed = (
        type(value["n"]) is int
        and isinstance(value["action"], str)
        and isinstance(actor, dict)
        and actor.keys() == {"id", "label"}
        and isinstance(actor["label"], str)
        and isinstance(actor["id"], _TEXT_OR_NULL)
        and isinstance(value["recording"], _TEXT_OR_NULL)
        and isinstance(value["motive"], _TEXT_OR_NULL)
        and isinstance(recipients, list)
        and all(isinstance(each, str) for each in recipients)
        and isinstance(value["detail"], dict)
    )
    if not well_typed:
        raise ValueError("a member of the record has the wrong type")
    return value


def why_not_canonical(raw: bytes) -> str:
    """Short English reason why `raw` is not canonical JSON, or its beginning when it is."""
    try:
        text = raw.decode()
        if _ENCODER.encode(_STRICT_DECODER.decode(text)) != text:
            return f"not in canonical form: {raw[:120]!r}"
    except (ValueError, RecursionError) as error:
        return f"{error}: {raw[:120]!r}"
    return repr(raw[:160])


def _is_instant(text: bytes) -> bool:
    try:
        datetime.fromisoformat(text.decode())
    except ValueError:
        return False
    return True


def _encode(value: str | None) -> bytes | None:
    return None if value is None else value.encode()


def _show(value: bytes | None) -> str:
    return "NULL" if value is None else value.decode(errors="backslashreplace")
