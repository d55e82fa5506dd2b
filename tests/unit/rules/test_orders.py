"""The prefect's order: what it covers, from when to when, and how many cameras. Rules BWC-ORD-1 to BWC-ORD-3."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bwc.rules.decision import Allowed, Refused
from bwc.rules.orders import Order, covers, may_put_into_service, order_for

VALENCE, BOURG, ROMANS = "26362", "26058", "26281"
ORDER = Order(
    number="26-2022-02-01-00001",
    signed_on=date(2022, 2, 1),
    in_force_from=date(2022, 2, 5),
    in_force_until=date(2027, 2, 4),
    prefecture="Préfecture de la Drôme",
    communes=frozenset({VALENCE, BOURG}),
    camera_count=3,
    medium_commune=VALENCE,
)
DAYS = st.dates(min_value=date(2020, 1, 1), max_value=date(2030, 12, 31))
ORDERS = st.builds(
    Order,
    number=st.text("0123456789-", min_size=1, max_size=8),
    signed_on=DAYS,
    in_force_from=DAYS,
    in_force_until=st.none() | DAYS,
    prefecture=st.just("Préfecture de la Drôme"),
    communes=st.frozensets(st.sampled_from([VALENCE, BOURG, ROMANS]), min_size=1),
    camera_count=st.integers(1, 60),
    medium_commune=st.just(VALENCE),
)


def rule_of(decision: Allowed | Refused) -> str | None:
    return decision.rule if isinstance(decision, Refused) else None


@pytest.mark.parametrize(
    ("day", "covered"),
    [
        (date(2022, 2, 1), False),  # signed, not yet in force
        (date(2022, 2, 4), False),
        (date(2022, 2, 5), True),  # first day counts
        (date(2024, 6, 1), True),
        (date(2027, 2, 4), True),  # last day counts
        (date(2027, 2, 5), False),
    ],
)
def test_both_bounds_of_an_order_count(day: date, covered: bool) -> None:
    assert ORDER.in_force(day) is covered
    assert bool(covers(ORDER, day, VALENCE)) is covered


def test_an_order_without_end_stands_until_another_replaces_it() -> None:
    assert covers(replace(ORDER, in_force_until=None), date(2099, 1, 1), BOURG)


def test_an_order_covers_its_communes_only() -> None:
    assert covers(ORDER, date(2026, 11, 22), BOURG)
    refused = covers(ORDER, date(2026, 11, 22), ROMANS)
    assert rule_of(refused) == "BWC-ORD-1"


def test_without_any_order_nothing_is_covered() -> None:
    assert rule_of(covers(None, date(2026, 11, 22), VALENCE)) == "BWC-ORD-1"
    assert order_for([], date(2026, 11, 22), VALENCE) is None


def test_the_latest_order_in_force_prevails() -> None:
    renewed = replace(ORDER, number="B", in_force_from=date(2026, 1, 1), in_force_until=None)
    corrected = replace(renewed, number="C", signed_on=date(2026, 1, 2))
    day = date(2026, 11, 22)
    assert order_for([renewed, ORDER], day, VALENCE) == renewed
    assert order_for([corrected, renewed, ORDER], day, VALENCE) == corrected
    assert order_for([ORDER, renewed], date(2025, 12, 31), VALENCE) == ORDER


def test_an_order_to_come_does_not_hide_the_one_in_force() -> None:
    to_come = replace(ORDER, number="B", in_force_from=date(2027, 1, 1))
    assert order_for([ORDER, to_come], date(2026, 11, 22), VALENCE) == ORDER


@given(st.lists(ORDERS, max_size=6), DAYS, st.sampled_from([VALENCE, BOURG, ROMANS]))
def test_the_order_found_always_covers_and_none_is_found_only_when_none_does(
    orders: list[Order], day: date, commune: str
) -> None:
    found = order_for(orders, day, commune)
    fitting = [order for order in orders if covers(order, day, commune)]
    assert (found is None) == (not fitting)
    if found is not None:
        assert found in fitting
        assert all(other.in_force_from <= found.in_force_from for other in fitting)


@given(ORDERS, DAYS)
def test_an_order_stands_on_an_unbroken_run_of_days(order: Order, day: date) -> None:
    before, after = day - timedelta(days=1), day + timedelta(days=1)
    if order.in_force(before) and order.in_force(after):
        assert order.in_force(day)


@given(ORDERS)
def test_the_orders_number_of_cameras_is_a_ceiling_and_one_more_is_refused(order: Order) -> None:
    assert may_put_into_service(order, order.camera_count - 1)
    for already in (order.camera_count, order.camera_count + 1):
        refused = may_put_into_service(order, already)
        assert rule_of(refused) == "BWC-ORD-2"
        assert isinstance(refused, Refused)
        assert str(order.camera_count) in refused.reason
