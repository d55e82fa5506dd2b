"""The list's address and back: filters and place in the list as query parameters, read strictly."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from flask import request

from bwc.catalogue import Cursor, RecordingFilter
from bwc.catalogue.counters import EXTRACTION_ALARM_DAYS
from bwc.core.clock import as_utc, iso_utc
from bwc.core.errors import InputError
from bwc.core.ids import is_id
from bwc.web.recordings.search import understand

STATES = {"surete": "held", "quarantaine": "quarantined", "efface": "erased"}
TO_DO = {"a-extraire", "a-completer"}


@dataclass(frozen=True)
class Asked:
    """What the form holds, to be shown again as it was."""

    text: str
    state: str
    to_do: str
    camera: str
    wearer: str
    first_day: date | None
    last_day: date | None

    def any(self) -> bool:
        """Whether anything narrows the list."""
        return any((self.text, self.state, self.to_do, self.camera, self.wearer, self.first_day, self.last_day))


def asked() -> Asked:
    """The request's parameters; a value that cannot be one is left out."""
    state, to_do = request.args.get("etat", ""), request.args.get("a-faire", "")
    return Asked(
        text=request.args.get("q", "").strip()[:100],
        state=state if state in STATES else "",
        to_do=to_do if to_do in TO_DO else "",
        camera=_id(request.args.get("camera", "")),
        wearer=_id(request.args.get("porteur", "")),
        first_day=read_day(request.args.get("du", "")),
        last_day=read_day(request.args.get("au", "")),
    )


def to_filter(wanted: Asked, today: date) -> RecordingFilter:
    """The catalogue's filter for what was asked."""
    search = understand(wanted.text, today)
    return RecordingFilter(
        state=STATES.get(wanted.state, ""),
        camera_id=wanted.camera,
        wearer_id=wanted.wearer,
        first_day=search.day or wanted.first_day,
        last_day=search.day or wanted.last_day,
        between=search.between,
        words=search.words,
        due_until=today + timedelta(days=EXTRACTION_ALARM_DAYS) if wanted.to_do == "a-extraire" else None,
        incomplete=wanted.to_do == "a-completer",
    )


def read_day(text: str) -> date | None:
    """A date field's value, None when it is empty or no date."""
    try:
        return date.fromisoformat(text) if len(text) == 10 else None
    except ValueError:
        return None


def write_cursor(cursor: Cursor | None) -> str | None:
    """A place in the list as text for an address."""
    if cursor is None:
        return None
    return f"{iso_utc(cursor.started) if cursor.started else '-'}~{cursor.id}"


def read_cursor(text: str) -> Cursor | None:
    """The place of `write_cursor`'s text, None for the list's beginning. Raises InputError for anything else."""
    if not text:
        return None
    started, _, identifier = text.partition("~")
    try:
        instant = None if started == "-" else as_utc(datetime.fromisoformat(started))
    except ValueError:
        instant, identifier = None, ""
    if not is_id(identifier):
        raise InputError("malformed cursor", person="Cette page de la liste n'existe pas.")
    return Cursor(instant, identifier)


def _id(text: str) -> str:
    return text if is_id(text) else ""
