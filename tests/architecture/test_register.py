"""The law is cited once: docs/legal/register.md and the code's ids are held against each other, both ways."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from functools import cache

import pytest
from source_tree import PACKAGES, ROOT, missing_test, node_ids, python_files, where

REGISTER = ROOT / "docs" / "legal" / "register.md"
_ID = r"(?:BWC|CCTV)-[A-Z]{3}"
_RUN = re.compile(rf"({_ID})-(\d+) to (?:{_ID}-)?(\d+)")
_LIST = re.compile(rf"({_ID})-(\d+)((?:(?:,| and|, and) -\d+)*)")
_DOTTED = re.compile(r"`((?:bwc|integration_cpu)(?:\.\w+)+)`")


@dataclass(frozen=True)
class Row:
    """One row of a table of the register; `id` is empty in the table of duties."""

    id: str
    cells: tuple[str, ...]

    @property
    def functions(self) -> list[str]:
        return _DOTTED.findall(self.cells[-2])

    @property
    def tests(self) -> list[str]:
        return node_ids(self.cells[-1])


def cited(text: str) -> set[str]:
    """Every rule id a text names, `X-1 to X-5` and `X-1, -3, -5` spelled out."""
    found = set()
    for family, first, last in _RUN.findall(text):
        found |= {f"{family}-{number}" for number in range(int(first), int(last) + 1)}
    for family, first, more in _LIST.findall(text):
        found |= {f"{family}-{number}" for number in [first, *re.findall(r"-(\d+)", more)]}
    return found


@cache
def rows() -> tuple[Row, ...]:
    """Rows of both tables, header and rule lines left out."""
    found = []
    for line in REGISTER.read_text("utf-8").splitlines():
        if line.startswith("| ") and not line.startswith(("| id |", "| article |")):
            cells = tuple(cell.strip() for cell in line.strip("| ").split(" | "))
            is_rule = re.fullmatch(rf"{_ID}-\d+", cells[0]) is not None
            found.append(Row(cells[0] if is_rule else "", cells))
    return tuple(found)


@cache
def citations() -> dict[str, set[str]]:
    """Where in the code each id is named."""
    places: dict[str, set[str]] = {}
    for path in python_files(*PACKAGES):
        for name in cited(path.read_text("utf-8")):
            places.setdefault(name, set()).add(where(path))
    return places


RULES = [row for row in rows() if row.id]
DUTIES = [row for row in rows() if not row.id]


def test_the_reader_of_ids_spells_runs_and_lists_out() -> None:
    assert cited("Rules BWC-RET-1 to BWC-RET-3 and CCTV-RET-1.") == {
        "BWC-RET-1",
        "BWC-RET-2",
        "BWC-RET-3",
        "CCTV-RET-1",
    }
    assert cited("(BWC-ACC-3, -5)") == {"BWC-ACC-3", "BWC-ACC-5"}
    assert cited("Rules BWC-RET-1, -3, -5.") == {"BWC-RET-1", "BWC-RET-3", "BWC-RET-5"}
    assert cited("rule BWC-QUA-1") == {"BWC-QUA-1"}
    assert cited("CSI R241-13, CPC 641") == set()


def test_every_id_the_code_cites_has_one_row() -> None:
    ids = [row.id for row in RULES]
    assert len(set(ids)) == len(ids)
    unknown = {name: sorted(places) for name, places in citations().items() if name not in ids}
    assert not unknown, f"cited in code, absent from docs/legal/register.md: {unknown}"


@pytest.mark.parametrize("row", RULES, ids=lambda row: row.id)
def test_every_row_is_cited_in_the_code(row: Row) -> None:
    assert row.id in citations(), f"{row.id} is in docs/legal/register.md and no code cites it"


def test_the_tables_are_there() -> None:
    assert len(RULES) >= 19
    assert len(DUTIES) >= 10


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.id or row.cells[2][:40])
def test_every_row_is_whole(row: Row) -> None:
    assert len(row.cells) == (6 if row.id else 5)
    assert all(row.cells)
    assert row.functions
    assert row.tests


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.id or row.cells[2][:40])
def test_every_function_of_a_row_can_be_imported(row: Row) -> None:
    for dotted in row.functions:
        parts = dotted.split(".")
        for cut in range(len(parts), 0, -1):
            try:
                found: object = importlib.import_module(".".join(parts[:cut]))
            except ModuleNotFoundError:
                continue
            break
        for name in parts[cut:]:
            found = getattr(found, name)
        assert callable(found), dotted


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.id or row.cells[2][:40])
def test_every_test_of_a_row_exists(row: Row) -> None:
    faults = [fault for fault in map(missing_test, row.tests) if fault]
    assert not faults


def test_every_rule_a_refusal_names_is_in_the_register() -> None:
    """What reaches a person's error page and the journal can be looked up."""
    ids = {row.id for row in RULES}
    for path in python_files(*PACKAGES):
        for name in re.findall(rf'Refused\(\s*"({_ID}-\d+)"', path.read_text("utf-8")):
            assert name in ids, f"{where(path)} refuses by {name}"
