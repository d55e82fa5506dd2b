"""Values as French readers expect them: Paris times, days left, sizes, lengths. Template filters."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any

from babel.dates import format_date
from babel.numbers import format_decimal

from bwc.core.clock import PARIS, as_utc, paris_day

NARROW = "\u202f"  # narrow no-break space, before units
_UNITS = ("o", "ko", "Mo", "Go", "To")


def clock_time(instant: datetime) -> str:
    """`18:32:07`, Paris."""
    return as_utc(instant).astimezone(PARIS).strftime("%H:%M:%S")


def short_time(instant: datetime) -> str:
    """`18:32`, Paris."""
    return as_utc(instant).astimezone(PARIS).strftime("%H:%M")


def short_day(day: date) -> str:
    """`22/11/2026`."""
    return day.strftime("%d/%m/%Y")


def long_day(day: date) -> str:
    """`dimanche 22 novembre 2026`."""
    return str(format_date(day, "EEEE d MMMM y", locale="fr"))


def near_day(day: date, today: date) -> str:
    """`aujourd'hui`, `hier`, `demain`, else `dim. 22 nov.` with the year when it is another one."""
    near = {0: "aujourd'hui", -1: "hier", 1: "demain"}.get((day - today).days)
    if near:
        return near
    return str(format_date(day, "EEE d MMM" if day.year == today.year else "EEE d MMM y", locale="fr"))


def moment(instant: datetime, today: date) -> str:
    """`18:32:07` today, else with its day before: `hier 18:32:07`, `dim. 22 nov. 18:32:07`."""
    day = paris_day(instant)
    return clock_time(instant) if day == today else f"{near_day(day, today)} {clock_time(instant)}"


def full_moment(instant: datetime) -> str:
    """`22/11/2026 18:32:07`, Paris: for what goes on record."""
    return f"{short_day(paris_day(instant))} {clock_time(instant)}"


def size(count: int) -> str:
    """Bytes in decimal units: `812 o`, `3,4 Mo`, `1,2 Go`."""
    value, unit = float(count), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    digits = "#,##0" if unit == 0 or value >= 100 else "#,##0.0"
    return f"{format_decimal(value, format=digits, locale='fr')}{NARROW}{_UNITS[unit]}"


def integer(count: int) -> str:
    """`1 234`."""
    return str(format_decimal(count, format="#,##0", locale="fr"))


def length(milliseconds: int | None) -> str:
    """`1 h 02 min`, `12 min 05 s`, `48 s`; an em dash when unknown."""
    if milliseconds is None:
        return "—"
    seconds = round(milliseconds / 1000)
    hours, minutes, rest = seconds // 3600, seconds // 60 % 60, seconds % 60
    if hours:
        return f"{hours}{NARROW}h{NARROW}{minutes:02d}{NARROW}min"
    if minutes:
        return f"{minutes}{NARROW}min{NARROW}{rest:02d}{NARROW}s"
    return f"{rest}{NARROW}s"


def days_left(days: int) -> str:
    """`12 jours`, `1 jour`, `dernier jour`, `terme dépassé`."""
    if days < 0:
        return "terme dépassé"
    if days == 0:
        return "dernier jour"
    return f"{days}{NARROW}jour{plural(days)}"


def plural(count: int) -> str:
    """`s` when French takes a plural (from two on)."""
    return "s" if count >= 2 else ""


def drift(milliseconds: int | None, *, at_least: bool = False) -> str:
    """A camera's clock against the reference: `dérive +2 s`, `dérive 0 s`, or that it cannot be measured."""
    if milliseconds is None:
        return "dérive non mesurable"
    sign = "" if abs(milliseconds) < 500 else "+" if milliseconds > 0 else "−"
    lead = "dérive d'au moins " if at_least else "dérive "
    seconds = round(abs(milliseconds) / 1000)
    if seconds < 86_400:
        return f"{lead}{sign}{length(seconds * 1000)}"
    days = seconds // 86_400
    return f"{lead}{sign}{integer(days)}{NARROW}jour{plural(days)}"


def time_code(milliseconds: int) -> str:
    """`00:01:23`, hours, minutes and seconds into a recording."""
    return str(timedelta(seconds=milliseconds // 1000)).rjust(8, "0")


def digest_groups(hexadecimal: str) -> list[str]:
    """A digest in groups of eight digits, to be read aloud."""
    return [hexadecimal[place : place + 8] for place in range(0, len(hexadecimal), 8)]


def after(instant: datetime, milliseconds: int) -> datetime:
    """The instant so many milliseconds later."""
    return instant + timedelta(milliseconds=milliseconds)


def detail_value(value: object) -> str:
    """A journal detail's value on one line: lists joined, oui or non, integers grouped."""
    if isinstance(value, bool):
        return "oui" if value else "non"
    if isinstance(value, int):
        return integer(value)
    if isinstance(value, list):
        return ", ".join(detail_value(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{key} : {detail_value(item)}" for key, item in value.items())
    return str(value)


FILTERS: dict[str, Callable[..., Any]] = {
    "clock_time": clock_time,
    "short_time": short_time,
    "short_day": short_day,
    "long_day": long_day,
    "near_day": near_day,
    "moment": moment,
    "full_moment": full_moment,
    "size": size,
    "integer": integer,
    "days_left": days_left,
    "plural": plural,
    "drift": drift,
    "time_code": time_code,
    "digest_groups": digest_groups,
    "paris_day": paris_day,
    "after": after,
}
