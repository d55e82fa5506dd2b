"""The one search field: days and times are understood, every other word is looked for in the facts.

`hier 18:30`, `22/11/2026`, `CAM-07 martin`, `2214 avant-hier 9h`. Never a search on what images show.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from bwc.core.clock import PARIS, as_utc

AROUND = timedelta(minutes=30)
LONGEST = 100
MOST_WORDS = 6

_NEAR = {"aujourd'hui": 0, "aujourdhui": 0, "hier": -1, "avant-hier": -2}
_FRENCH_DAY = re.compile(r"(\d{1,2})[/.-](\d{1,2})(?:[/.-](\d{4}|\d{2}))?")
_ISO_DAY = re.compile(r"(\d{4})-(\d{2})-(\d{2})")
_TIME = re.compile(r"(\d{1,2})(?::|h)(\d{2})?")


@dataclass(frozen=True)
class Search:
    """What was understood: a civil day, instants between which to look, the words left."""

    day: date | None
    between: tuple[datetime, datetime] | None
    words: tuple[str, ...]


def understand(text: str, today: date) -> Search:
    """Read the field; what is no day nor time is a word. A time without a day is today's."""
    day: date | None = None
    hour: time | None = None
    words: list[str] = []
    for token in text.replace("’", "'")[:LONGEST].split():
        if day is None and (found := _day(token.lower(), today)) is not None:
            day = found
        elif hour is None and (at := _time(token.lower())) is not None:
            hour = at
        else:
            words.append(token)
    if hour is None:
        return Search(day, None, tuple(words[:MOST_WORDS]))
    middle = as_utc(datetime.combine(day or today, hour, tzinfo=PARIS))
    return Search(None, (middle - AROUND, middle + AROUND), tuple(words[:MOST_WORDS]))


def _day(token: str, today: date) -> date | None:
    if token in _NEAR:
        return today + timedelta(days=_NEAR[token])
    iso, french = _ISO_DAY.fullmatch(token), _FRENCH_DAY.fullmatch(token)
    try:
        if iso:
            return date(*(int(part) for part in iso.groups()))
        if french:
            return _french(french, today)
    except ValueError:
        return None
    return None


def _french(match: re.Match[str], today: date) -> date:
    """A day without a year is the last one that was."""
    number, month, year = int(match[1]), int(match[2]), match[3]
    if year:
        return date(int(year) + 2000 if len(year) == 2 else int(year), month, number)
    found = date(today.year, month, number)
    return found if found <= today else date(today.year - 1, month, number)


def _time(token: str) -> time | None:
    match = _TIME.fullmatch(token)
    if match is None:
        return None
    hour, minute = int(match[1]), int(match[2] or 0)
    return time(hour, minute) if hour < 24 and minute < 60 else None
