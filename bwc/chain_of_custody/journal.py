"""What is told to the ledger, and the two canonical texts that tell it: the record and the body.

The vocabulary of operations is the law's (R241-14, R253-5, directive 2016/680 article 25); the encoding is
docs/custody-format.md §6.1. Pure values: nothing is stored here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from bwc.core.digests import canonical_json, sha256

VERSION = 1
SALT_SIZE = 32
CLOCK_FLAG = "clock_went_back"

_ACTION = re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*")
_ID = re.compile(r"[0-9A-Za-z_-]{1,26}")
MAX_ACTION = 40


class Operation(StrEnum):
    """Kind of processing operation, as the law lists them, plus `systeme` for what the machine does by itself."""

    COLLECTE = "collecte"
    MODIFICATION = "modification"
    CONSULTATION = "consultation"
    COMMUNICATION = "communication"
    EFFACEMENT = "effacement"
    COMBINAISON = "combinaison"
    SYSTEME = "systeme"


@dataclass(frozen=True)
class Actor:
    """Who acted. `id` is the person's, None when no person of the house did; `label` is what a reader sees."""

    id: str | None
    label: str


SYSTEM_ACTOR = Actor(None, "système")


@dataclass(frozen=True)
class Event:
    """One act to be written. `action` is a stable `subject.verb`; `detail` holds strings, integers, booleans, None,
    lists and objects of these, no floats; its member `clock_went_back` is the ledger's own.

    Raises ValueError for an action or an identifier that is not well formed, or for the reserved member.
    """

    operation: Operation
    action: str
    actor: Actor
    recording_id: str | None = None
    motive: str | None = None
    recipients: tuple[str, ...] = ()
    detail: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.action) > MAX_ACTION or not _ACTION.fullmatch(self.action):
            raise ValueError(f"not an action name of at most {MAX_ACTION} letters: {self.action!r}")
        for identifier in (self.actor.id, self.recording_id):
            if identifier is not None and not _ID.fullmatch(identifier):
                raise ValueError(f"not an identifier: {identifier!r}")
        if CLOCK_FLAG in self.detail:
            raise ValueError(f"{CLOCK_FLAG} is written by the ledger alone")


def record_of(event: Event, place: int, *, clock_went_back: bool) -> bytes:
    """Canonical bytes of the record of `event` at `place` (§6.1); raises TypeError or ValueError as canonical_json."""
    detail = dict(event.detail)
    if clock_went_back:
        detail[CLOCK_FLAG] = True
    return canonical_json(
        {
            "n": place,
            "action": event.action,
            "actor": {"id": event.actor.id, "label": event.actor.label},
            "recording": event.recording_id,
            "motive": event.motive,
            "recipients": list(event.recipients),
            "detail": detail,
        }
    )


def commitment(salt: bytes, record: bytes) -> str:
    """SHA-256(salt ‖ record), 64 hex digits: binds the body to the record and tells nothing of it without the salt."""
    return sha256(salt + record).hex()


def body_of(place: int, instant: str, operation: Operation, committed: str) -> bytes:
    """Canonical bytes of a body (§6.1); `instant` as `iso_utc` writes it, `committed` as `commitment` gives it."""
    return canonical_json({"v": VERSION, "n": place, "t": instant, "op": str(operation), "c": committed})
