# ruff: noqa: DTZ001  (naive times are what must be refused)
"""Columns that lose nothing: instants come back aware and in UTC, JSON comes back as it went in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect

from bwc.db import Base, models
from bwc.db.base import Instant, Json

DIALECTS: list[Dialect] = [sqlite.dialect(), postgresql.dialect()]
BOTH = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
AWARE = st.datetimes(
    min_value=datetime(1990, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.timezones() | st.just(UTC)
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=("Cs",))),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@BOTH
@given(instant=AWARE)
def test_an_instant_comes_back_the_same_aware_and_in_utc(dialect: Dialect, instant: datetime) -> None:
    column = Instant()
    back = column.process_result_value(column.process_bind_param(instant, dialect), dialect)
    assert back == instant.astimezone(UTC)  # a time told twice in autumn equals nothing in another zone (PEP 495)
    assert back is not None
    assert back.utcoffset() == timedelta(0)


@BOTH
def test_a_naive_time_never_reaches_the_database(dialect: Dialect) -> None:
    with pytest.raises(ValueError, match="naive"):
        Instant().process_bind_param(datetime(2026, 11, 22, 18, 42), dialect)


@BOTH
def test_no_instant_stays_no_instant(dialect: Dialect) -> None:
    assert Instant().process_bind_param(None, dialect) is None
    assert Instant().process_result_value(None, dialect) is None


def test_sqlite_keeps_naive_utc_so_that_texts_sort_as_instants() -> None:
    summer = datetime(2026, 7, 22, 18, 42, tzinfo=timezone(timedelta(hours=2)))
    assert Instant().process_bind_param(summer, DIALECTS[0]) == datetime(2026, 7, 22, 16, 42)


@BOTH
@given(value=VALUES)
def test_json_comes_back_as_it_went_in(dialect: Dialect, value: Any) -> None:
    column = Json()
    assert column.process_result_value(column.process_bind_param(value, dialect), dialect) == value


def test_every_table_is_exported_and_every_time_column_is_an_instant() -> None:
    exported = {getattr(models, name).__tablename__ for name in models.__all__}
    assert exported == {name for name in Base.metadata.tables if Base.metadata.tables[name].schema is None}
    for table in Base.metadata.tables.values():
        for column in table.columns:
            assert type(column.type).__name__ != "DateTime", f"{table.name}.{column.name} would lose its zone"


def test_every_constraint_has_a_name_that_migrations_can_use() -> None:
    for table in Base.metadata.tables.values():
        assert all(constraint.name for constraint in table.constraints), table.name
