"""Time: one injected clock, aware UTC inside, Europe/Paris for civil rules.

Nothing else in the product reads the machine's clock for a date that matters.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

PARIS = ZoneInfo("Europe/Paris")


class Clock(Protocol):
    """Gives the present instant, always aware and in UTC."""

    def now(self) -> datetime:
        """Present instant, aware, UTC."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Present instant, aware, UTC."""
        return datetime.now(UTC)


class SettableClock:
    """A clock that stands where it is put: tests and the demonstration's jump past a term."""

    def __init__(self, instant: datetime) -> None:
        self.instant = as_utc(instant)

    def now(self) -> datetime:
        """Instant last set, aware, UTC."""
        return self.instant

    def advance(self, by: timedelta) -> None:
        """Move the clock forward (or backward when `by` is negative)."""
        self.instant += by


def as_utc(instant: datetime) -> datetime:
    """Same instant in UTC; raises ValueError for a naive datetime."""
    if instant.tzinfo is None:
        raise ValueError("naive datetime where an aware one is required")
    return instant.astimezone(UTC)


def paris_day(instant: datetime) -> date:
    """Civil day in Paris of an aware instant."""
    return as_utc(instant).astimezone(PARIS).date()


def paris_midnight(day: date) -> datetime:
    """Instant, in UTC, at which the civil day `day` begins in Paris."""
    return datetime(day.year, day.month, day.day, tzinfo=PARIS).astimezone(UTC)


def iso_utc(instant: datetime) -> str:
    """RFC 3339 text in UTC with microseconds, `2026-11-22T18:32:07.000000Z`; sorts as it reads."""
    return as_utc(instant).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
