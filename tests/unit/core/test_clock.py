# ruff: noqa: DTZ001  (naive times are what must be refused)
"""One injected clock, aware UTC inside, Paris for civil days."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bwc.core.clock import SettableClock, SystemClock, as_utc, iso_utc, paris_day, paris_midnight

PARIS = ZoneInfo("Europe/Paris")
NAIVE = datetime(2026, 11, 22, 18, 42)
AWARE = st.datetimes(
    min_value=datetime(1990, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.timezones() | st.just(UTC)
)


@pytest.mark.parametrize("use", [as_utc, paris_day, iso_utc, SettableClock])
def test_a_naive_time_is_refused_wherever_a_time_is_taken(use: object) -> None:
    assert callable(use)
    with pytest.raises(ValueError, match="naive"):
        use(NAIVE)


def test_the_systems_clock_tells_aware_utc() -> None:
    assert SystemClock().now().utcoffset() == timedelta(0)


def test_a_settable_clock_stands_still_until_it_is_moved() -> None:
    clock = SettableClock(datetime(2026, 11, 22, 18, 42, tzinfo=PARIS))
    assert clock.now() == clock.now() == datetime(2026, 11, 22, 17, 42, tzinfo=UTC)
    assert clock.now().utcoffset() == timedelta(0)
    clock.advance(timedelta(days=31))
    assert clock.now() == datetime(2026, 12, 23, 17, 42, tzinfo=UTC)
    clock.advance(timedelta(hours=-1))
    assert clock.now() == datetime(2026, 12, 23, 16, 42, tzinfo=UTC)


@given(AWARE)
def test_utc_is_the_same_instant_told_otherwise(instant: datetime) -> None:
    assert as_utc(instant) == instant.astimezone(UTC)
    assert as_utc(instant).tzinfo is UTC


@pytest.mark.parametrize(
    ("utc", "day"),
    [
        ("2026-11-22T22:59:59", date(2026, 11, 22)),
        ("2026-11-22T23:00:00", date(2026, 11, 23)),  # winter: Paris is an hour ahead
        ("2026-07-22T21:59:59", date(2026, 7, 22)),
        ("2026-07-22T22:00:00", date(2026, 7, 23)),  # summer: two
    ],
)
def test_the_civil_day_is_the_one_in_paris(utc: str, day: date) -> None:
    assert paris_day(datetime.fromisoformat(utc).replace(tzinfo=UTC)) == day


@given(st.dates(min_value=date(1980, 1, 1), max_value=date(2100, 1, 1)))
def test_a_day_in_paris_begins_at_its_midnight_and_not_a_moment_before(day: date) -> None:
    begins = paris_midnight(day)
    assert paris_day(begins) == day
    assert paris_day(begins - timedelta(microseconds=1)) == day - timedelta(days=1)
    assert begins.astimezone(PARIS).time().isoformat() == "00:00:00"


def test_the_days_on_which_clocks_change_last_23_and_25_hours() -> None:
    def length(day: date) -> timedelta:
        return paris_midnight(day + timedelta(days=1)) - paris_midnight(day)

    assert length(date(2026, 3, 29)) == timedelta(hours=23)
    assert length(date(2026, 10, 25)) == timedelta(hours=25)
    assert length(date(2026, 11, 22)) == timedelta(hours=24)


def test_an_instant_has_one_text_whatever_its_zone() -> None:
    instant = datetime(2026, 11, 22, 18, 32, 7, tzinfo=timezone(timedelta(hours=1)))
    assert iso_utc(instant) == iso_utc(instant.astimezone(UTC)) == "2026-11-22T17:32:07.000000Z"


@given(AWARE, AWARE)
def test_texts_of_instants_sort_as_the_instants_do(one: datetime, other: datetime) -> None:
    assert (iso_utc(one) < iso_utc(other)) == (as_utc(one) < as_utc(other))


@given(AWARE)
def test_the_text_of_an_instant_reads_back_to_it(instant: datetime) -> None:
    assert datetime.fromisoformat(iso_utc(instant)) == as_utc(instant)
