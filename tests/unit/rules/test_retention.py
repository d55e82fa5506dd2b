# ruff: noqa: DTZ001  (a camera states naive times: they are what is tested)
"""Terms by calendar month in Paris civil time, and the day a recording was made. Rules BWC-RET-1 to BWC-RET-5."""

from __future__ import annotations

import calendar
from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bwc.core.clock import paris_day
from bwc.rules.retention import (
    CLOCK_TOLERANCE,
    DECREE_2022_1395_IN_FORCE,
    OLDEST_BELIEVABLE,
    Term,
    add_months,
    bodycam_term,
    cctv_term,
    claimed_instant,
    recording_day,
)

PARIS = ZoneInfo("Europe/Paris")
DAYS = st.dates(min_value=date(2019, 3, 1), max_value=date(2100, 12, 31))
DAYS_SINCE = st.dates(min_value=DECREE_2022_1395_IN_FORCE, max_value=date(2100, 12, 31))
INSTANTS = st.datetimes(min_value=datetime(2023, 1, 1), max_value=datetime(2060, 1, 1), timezones=st.just(UTC))


def paris(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=PARIS)


# One calendar month


@pytest.mark.parametrize(
    ("recorded", "due"),
    [
        ("2026-01-31", "2026-02-28"),  # clamped, not 3 March
        ("2028-01-31", "2028-02-29"),  # leap year
        ("2028-01-30", "2028-02-29"),
        ("2026-01-28", "2026-02-28"),
        ("2026-01-29", "2026-02-28"),
        ("2026-02-28", "2026-03-28"),  # not the last day of March
        ("2028-02-29", "2028-03-29"),
        ("2026-03-31", "2026-04-30"),
        ("2026-04-30", "2026-05-30"),
        ("2026-08-31", "2026-09-30"),
        ("2026-10-31", "2026-11-30"),
        ("2026-11-22", "2026-12-22"),
        ("2026-12-31", "2027-01-31"),  # over the year's end
        ("2100-01-31", "2100-02-28"),  # 2100 is no leap year
    ],
)
def test_a_month_runs_from_date_to_date_and_is_clamped_to_the_months_end(recorded: str, due: str) -> None:
    term = bodycam_term(date.fromisoformat(recorded))
    assert term.due_on == date.fromisoformat(due)
    assert term.rule == "BWC-RET-1"


def month_later(day: date) -> date:
    """The rule written another way: the same day of the next month, or the last day it has."""
    first_of_next = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
    last = calendar.monthrange(first_of_next.year, first_of_next.month)[1]
    return first_of_next.replace(day=min(day.day, last))


def test_every_day_of_four_centuries_falls_due_where_the_calendar_says() -> None:
    day = DECREE_2022_1395_IN_FORCE
    while day < date(2423, 1, 1):
        assert bodycam_term(day).due_on == month_later(day)
        day += timedelta(days=1)


@given(DAYS_SINCE)
def test_no_recording_is_kept_less_than_28_days_nor_more_than_31(day: date) -> None:
    assert 28 <= (bodycam_term(day).due_on - day).days <= 31


@given(DAYS_SINCE, DAYS_SINCE)
def test_what_was_recorded_earlier_never_falls_due_later(one: date, other: date) -> None:
    first, second = sorted((one, other))
    assert bodycam_term(first).due_on <= bodycam_term(second).due_on


@given(DAYS, st.integers(0, 36), st.integers(0, 36))
def test_more_months_never_bring_the_day_nearer(day: date, few: int, more: int) -> None:
    assert add_months(day, min(few, more)) <= add_months(day, max(few, more))


@given(DAYS, st.integers(0, 60))
def test_adding_months_lands_that_many_months_later_on_that_day_or_the_months_last(day: date, months: int) -> None:
    later = add_months(day, months)
    assert (later.year - day.year) * 12 + later.month - day.month == months
    assert later.day == min(day.day, calendar.monthrange(later.year, later.month)[1])


# Six months before the decree of 2 November 2022


def test_a_recording_made_on_3_november_2022_keeps_the_six_months_of_the_earlier_text() -> None:
    assert bodycam_term(date(2022, 11, 3)) == Term(date(2022, 11, 3), date(2023, 5, 3), "BWC-RET-2")


def test_a_recording_made_on_4_november_2022_has_one_month() -> None:
    assert bodycam_term(date(2022, 11, 4)) == Term(date(2022, 11, 4), date(2022, 12, 4), "BWC-RET-1")


def test_six_months_are_clamped_too() -> None:
    assert bodycam_term(date(2022, 8, 31)).due_on == date(2023, 2, 28)
    assert bodycam_term(date(2019, 8, 31)).due_on == date(2020, 2, 29)


@given(st.dates(min_value=date(2019, 3, 1), max_value=date(2022, 11, 3)))
def test_the_six_month_rule_is_named_on_every_term_it_made(day: date) -> None:
    term = bodycam_term(day)
    assert (term.rule, term.due_on) == ("BWC-RET-2", add_months(day, 6))


# The due day counts whole


@pytest.mark.parametrize(
    ("recorded", "last_instant"),
    [
        (date(2026, 11, 22), "2026-12-22T23:59:59.999999+01:00"),
        (date(2026, 6, 10), "2026-07-10T23:59:59.999999+02:00"),
        (date(2026, 2, 28), "2026-03-28T23:59:59.999999+01:00"),  # the night before clocks go forward
        (date(2026, 3, 1), "2026-04-01T23:59:59.999999+02:00"),
        (date(2026, 9, 25), "2026-10-25T23:59:59.999999+01:00"),  # due on the day of 25 hours
        (date(2027, 2, 28), "2027-03-28T23:59:59.999999+02:00"),  # due on the day of 23 hours
    ],
)
def test_the_due_day_counts_whole_until_24_00_in_paris(recorded: date, last_instant: str) -> None:
    term = bodycam_term(recorded)
    last = datetime.fromisoformat(last_instant)
    assert not term.is_over(last)
    assert term.is_over(last + timedelta(microseconds=1))
    assert term.ends_at == last + timedelta(microseconds=1)


@given(DAYS)
def test_a_term_ends_at_the_first_instant_of_the_day_after_its_due_day(day: date) -> None:
    term = bodycam_term(day)
    assert term.ends_at.utcoffset() == timedelta(0)
    assert paris_day(term.ends_at) == term.due_on + timedelta(days=1)
    assert paris_day(term.ends_at - timedelta(microseconds=1)) == term.due_on


@given(DAYS, INSTANTS)
def test_a_term_is_over_exactly_when_paris_has_left_the_due_day(day: date, now: datetime) -> None:
    term = bodycam_term(day)
    assert term.is_over(now) == (paris_day(now) > term.due_on)
    assert term.is_over(now) == (term.days_left(now) < 0)


@given(DAYS, INSTANTS, st.integers(-14, 14))
def test_a_term_does_not_depend_on_the_zone_the_present_is_told_in(day: date, now: datetime, hours: int) -> None:
    elsewhere = now.astimezone(timezone(timedelta(hours=hours)))
    assert bodycam_term(day).is_over(elsewhere) == bodycam_term(day).is_over(now)


def test_days_left_count_the_due_day_as_zero_and_go_below_it_after() -> None:
    term = bodycam_term(date(2026, 11, 22))
    assert term.days_left(paris("2026-11-22T10:00")) == 30
    assert term.days_left(paris("2026-12-22T23:59")) == 0
    assert term.days_left(paris("2026-12-23T00:00")) == -1


def test_a_term_refuses_a_naive_present() -> None:
    with pytest.raises(ValueError, match="naive"):
        bodycam_term(date(2026, 11, 22)).is_over(datetime(2026, 11, 22))


# Fixed cameras


@pytest.mark.parametrize(
    ("recorded", "days", "due"),
    [
        ("2026-11-01", 21, "2026-11-22"),
        ("2026-02-01", 31, "2026-03-01"),  # 31 days would be 4 March: one month at most
        ("2026-01-31", 30, "2026-02-28"),
        ("2026-07-01", 31, "2026-08-01"),
        ("2026-04-01", 31, "2026-05-01"),
        ("2026-11-22", 1, "2026-11-23"),
        ("2026-11-22", 10_000, "2026-12-22"),
    ],
)
def test_a_fixed_camera_keeps_the_orders_days_and_never_past_a_month(recorded: str, days: int, due: str) -> None:
    term = cctv_term(date.fromisoformat(recorded), days)
    assert (term.due_on, term.rule) == (date.fromisoformat(due), "CCTV-RET-1")


@given(DAYS, st.integers(1, 4000))
def test_no_order_keeps_a_fixed_cameras_images_beyond_the_shorter_of_both_limits(day: date, days: int) -> None:
    due = cctv_term(day, days).due_on
    assert day < due <= add_months(day, 1)
    assert due <= day + timedelta(days=days)
    assert due in (add_months(day, 1), day + timedelta(days=days))


@pytest.mark.parametrize("days", [0, -1, -21])
def test_an_order_of_no_day_at_all_is_a_programming_error(days: int) -> None:
    with pytest.raises(ValueError, match="at least one day"):
        cctv_term(date(2026, 11, 22), days)


# The day a recording was made

DOCKED = paris("2026-11-22T18:42")


def test_a_believable_claim_gives_the_day_in_paris_and_no_doubt() -> None:
    found = recording_day(paris("2026-11-21T23:59:59"), DOCKED, None)
    assert (found.day, found.origin, found.doubt) == (date(2026, 11, 21), "camera", None)


def test_a_file_that_crosses_midnight_is_counted_from_the_day_it_began() -> None:
    before, after = paris("2026-11-20T23:59:59.999"), paris("2026-11-21T00:00:00")
    assert recording_day(before, DOCKED, None).day == date(2026, 11, 20)
    assert recording_day(after, DOCKED, None).day == date(2026, 11, 21)


def test_a_claim_in_utc_belongs_to_the_day_it_was_in_paris() -> None:
    assert recording_day(datetime(2026, 7, 10, 22, 30, tzinfo=UTC), paris("2026-07-12T08:00"), None).day == date(
        2026, 7, 11
    )
    assert recording_day(datetime(2026, 11, 10, 22, 59, tzinfo=UTC), DOCKED, None).day == date(2026, 11, 10)


def test_without_a_claim_the_term_runs_from_the_docking_day() -> None:
    found = recording_day(None, DOCKED, None)
    assert (found.day, found.origin, found.doubt) == (date(2026, 11, 22), "docking", "clock_absent")


def test_a_clock_in_the_future_falls_back_to_the_docking_day() -> None:
    found = recording_day(DOCKED + CLOCK_TOLERANCE + timedelta(seconds=1), DOCKED, None)
    assert (found.day, found.origin, found.doubt) == (date(2026, 11, 22), "docking", "clock_future")


def test_a_claim_just_inside_the_tolerance_is_the_cameras_but_never_after_the_docking_day() -> None:
    found = recording_day(DOCKED + CLOCK_TOLERANCE, DOCKED, None)
    assert (found.day, found.origin, found.doubt) == (date(2026, 11, 22), "camera", None)


def test_a_claim_older_than_the_cameras_last_emptying_falls_back_to_the_docking_day() -> None:
    emptied = paris("2026-11-21T07:00")
    found = recording_day(emptied - CLOCK_TOLERANCE - timedelta(seconds=1), DOCKED, emptied)
    assert (found.day, found.origin, found.doubt) == (date(2026, 11, 22), "docking", "clock_past")
    assert recording_day(emptied - CLOCK_TOLERANCE, DOCKED, emptied).doubt is None


def test_a_claim_before_municipal_body_cameras_existed_is_a_clock_in_the_past() -> None:
    found = recording_day(paris("2019-02-28T12:00"), DOCKED, None)
    assert (found.day, found.doubt) == (date(2026, 11, 22), "clock_past")
    assert paris_day(DOCKED) > OLDEST_BELIEVABLE


def test_a_claim_past_its_own_term_that_nothing_corroborates_is_kept_from_the_docking_day() -> None:
    found = recording_day(paris("2026-10-21T12:00"), DOCKED, None)
    assert (found.day, found.origin, found.doubt) == (date(2026, 11, 22), "docking", "older_than_term")
    assert recording_day(paris("2026-10-22T00:00"), DOCKED, None).doubt is None


def test_a_claim_past_its_own_term_but_after_the_last_emptying_is_believed() -> None:
    found = recording_day(paris("2026-09-30T12:00"), DOCKED, paris("2026-09-29T12:00"))
    assert (found.day, found.origin, found.doubt) == (date(2026, 9, 30), "camera", None)


MAYBE = st.none() | st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC))


@given(MAYBE, INSTANTS, MAYBE)
def test_whatever_the_camera_claims_nothing_outlives_one_month_from_its_docking(
    claimed: datetime | None, docked: datetime, emptied: datetime | None
) -> None:
    found = recording_day(claimed, docked, emptied)
    assert found.day <= paris_day(docked)
    if found.day >= DECREE_2022_1395_IN_FORCE:
        assert bodycam_term(found.day).due_on <= add_months(paris_day(docked), 1)


@given(MAYBE, INSTANTS, MAYBE)
def test_a_doubt_always_means_the_docking_day_and_certainty_the_cameras(
    claimed: datetime | None, docked: datetime, emptied: datetime | None
) -> None:
    found = recording_day(claimed, docked, emptied)
    if found.doubt is None:
        assert claimed is not None
        assert found.origin == "camera"
        assert found.day == min(paris_day(claimed), paris_day(docked))
    else:
        assert found.doubt in {"clock_future", "clock_past", "clock_absent", "older_than_term"}
        assert (found.origin, found.day) == ("docking", paris_day(docked))


@given(MAYBE, INSTANTS)
def test_an_uncorroborated_claim_never_makes_a_recording_due_at_its_own_docking(
    claimed: datetime | None, docked: datetime
) -> None:
    assert not bodycam_term(recording_day(claimed, docked, None).day).is_over(docked)


# The instant a camera states


def test_a_camera_without_zone_tells_paris_time_in_winter_and_in_summer() -> None:
    assert claimed_instant(datetime(2026, 11, 22, 18, 32, 7)) == datetime(2026, 11, 22, 17, 32, 7, tzinfo=UTC)
    assert claimed_instant(datetime(2026, 7, 22, 18, 32, 7)) == datetime(2026, 7, 22, 16, 32, 7, tzinfo=UTC)


def test_a_camera_whose_profile_says_utc_tells_utc() -> None:
    naive = datetime(2026, 7, 22, 18, 32, 7)
    assert claimed_instant(naive, camera_utc=True) == naive.replace(tzinfo=UTC)


def test_a_claim_that_carries_its_own_offset_keeps_its_instant() -> None:
    stated = datetime(2026, 7, 22, 18, 32, 7, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    for camera_utc in (False, True):
        found = claimed_instant(stated, camera_utc=camera_utc)
        assert found == stated
        assert found is not None
        assert found.utcoffset() == timedelta(0)


def test_no_claim_gives_no_instant() -> None:
    assert claimed_instant(None) is None


@pytest.mark.parametrize("fold", [0, 1])
def test_the_hour_that_happens_twice_in_october_is_taken_at_its_first_occurrence(fold: int) -> None:
    twice = datetime(2026, 10, 25, 2, 30, fold=fold)
    assert claimed_instant(twice) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)


def test_the_hour_that_never_happens_in_march_is_still_an_instant_of_that_day() -> None:
    found = claimed_instant(datetime(2026, 3, 29, 2, 30))
    assert found == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    assert paris_day(found) == date(2026, 3, 29)


@given(st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2090, 1, 1)))
def test_a_paris_claim_stays_on_the_civil_day_the_camera_wrote(naive: datetime) -> None:
    found = claimed_instant(naive)
    assert found is not None
    assert paris_day(found) == naive.date()
