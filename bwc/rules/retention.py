"""How long an image may exist: terms by calendar month in Paris civil time, and the day a recording was made.

Rules BWC-RET-1 to BWC-RET-5 and CCTV-RET-1 of docs/legal/register.md. No role, setting or task can lengthen a term.
"""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from bwc.core.clock import PARIS, as_utc, paris_day, paris_midnight

DECREE_2022_1395_IN_FORCE = date(2022, 11, 4)
MONTHS_BEFORE_DECREE = 6
MONTHS_SINCE_DECREE = 1
CLOCK_TOLERANCE = timedelta(hours=26)  # a camera set to any zone's local time is not "in the future"
OLDEST_BELIEVABLE = date(2019, 3, 1)  # decree 2019-140 of 27 Feb 2019: no municipal body camera before it


@dataclass(frozen=True)
class Term:
    """A recording's end: the due day counts whole, from its 24:00 in Paris nothing may be read."""

    recorded_on: date
    due_on: date
    rule: str

    @property
    def ends_at(self) -> datetime:
        """Instant (UTC) of 24:00 Paris on the due day: unreadable and due for erasure from then on."""
        return paris_midnight(self.due_on + timedelta(days=1))

    def is_over(self, now: datetime) -> bool:
        """Whether the term has run out at `now` (aware)."""
        return as_utc(now) >= self.ends_at

    def days_left(self, now: datetime) -> int:
        """Whole civil days left, the due day counting as 0; negative once over."""
        return (self.due_on - paris_day(now)).days


def add_months(day: date, months: int) -> date:
    """Same day of the month `months` later, clamped to that month's last day (31 Jan + 1 = 28 or 29 Feb)."""
    index = day.year * 12 + day.month - 1 + months
    year, month = divmod(index, 12)
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


def bodycam_term(recorded_on: date) -> Term:
    """Term of a body-camera recording made on the civil day `recorded_on` (Paris).

    One calendar month (CSI R241-13 since 4 Nov 2022); six months for a recording made before that decree.
    """
    if recorded_on < DECREE_2022_1395_IN_FORCE:
        return Term(recorded_on, add_months(recorded_on, MONTHS_BEFORE_DECREE), "BWC-RET-2")
    return Term(recorded_on, add_months(recorded_on, MONTHS_SINCE_DECREE), "BWC-RET-1")


def cctv_term(recorded_on: date, order_days: int) -> Term:
    """Term of a fixed camera's recording: the order's days, never past one calendar month (CSI L252-5).

    Raises ValueError unless 1 <= order_days.
    """
    if order_days < 1:
        raise ValueError("an order keeps recordings at least one day")
    return Term(recorded_on, min(recorded_on + timedelta(days=order_days), add_months(recorded_on, 1)), "CCTV-RET-1")


@dataclass(frozen=True)
class RecordingDay:
    """The civil day a term runs from, where it comes from, and whether a person must look at it."""

    day: date
    origin: str  # "camera" | "docking"
    doubt: str | None  # None | "clock_future" | "clock_past" | "clock_absent" | "older_than_term"


def recording_day(claimed: datetime | None, docked_at: datetime, last_emptied_at: datetime | None) -> RecordingDay:
    """Day a recording was made, as the camera claims it unless the register of dockings contradicts it.

    `claimed` is the start the camera states, `docked_at` the instant it was docked, `last_emptied_at` the instant
    that camera was last seen empty. A recording is never made after its docking nor before the camera was last
    emptied: a claim outside these bounds, or already past its own term when nothing corroborates it, falls back
    to the docking day, the latest day possible, so that a wrong clock can neither erase evidence nor keep it
    beyond one month of a day that is certain. Rule BWC-RET-4.
    """
    docked_day = paris_day(docked_at)
    if claimed is None:
        return RecordingDay(docked_day, "docking", "clock_absent")
    if as_utc(claimed) > as_utc(docked_at) + CLOCK_TOLERANCE:
        return RecordingDay(docked_day, "docking", "clock_future")
    if last_emptied_at is not None and as_utc(claimed) < as_utc(last_emptied_at) - CLOCK_TOLERANCE:
        return RecordingDay(docked_day, "docking", "clock_past")
    day = min(paris_day(claimed), docked_day)
    if day < OLDEST_BELIEVABLE:
        return RecordingDay(docked_day, "docking", "clock_past")
    if last_emptied_at is None and bodycam_term(day).is_over(docked_at):
        return RecordingDay(docked_day, "docking", "older_than_term")
    return RecordingDay(day, "camera", None)


def claimed_instant(text_or_naive: datetime | None, camera_utc: bool = False) -> datetime | None:
    """A camera's stated time as an aware instant: its own offset, UTC when the profile says so, else Paris time.

    The hour that happens twice in October is taken at its first occurrence; the drift recorded beside shows it.
    """
    if text_or_naive is None:
        return None
    if text_or_naive.tzinfo is None:
        text_or_naive = text_or_naive.replace(tzinfo=UTC if camera_utc else PARIS, fold=0)
    try:
        return text_or_naive.astimezone(UTC)
    except OverflowError:  # year 1 or 9999, pushed out of the calendar by its offset: no date at all
        return None
