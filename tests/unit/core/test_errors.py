"""The few errors: each has a French sentence, a stable code, a documented exit code and an HTTP status."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import bwc
from bwc.core import errors
from bwc.core.errors import EXIT_CODES, HTTP_STATUS, BwcError, exit_code, http_status

ROOT = Path(__file__).resolve().parents[3]
NOT_IMPORTED = re.compile(r"\.migrations(\.|$)|__main__$|\.tasks\.worker$")  # they run something when imported


def every_error() -> list[type[BwcError]]:
    """Every error class of the product, in whatever module it stands."""
    for module in pkgutil.walk_packages(bwc.__path__, "bwc."):
        if not NOT_IMPORTED.search(module.name):
            importlib.import_module(module.name)

    def below(kind: type[BwcError]) -> Iterator[type[BwcError]]:
        yield kind
        for child in kind.__subclasses__():
            yield from below(child)

    return sorted(set(below(BwcError)), key=lambda kind: (kind.__module__, kind.__name__))


ERRORS = every_error()


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_says_in_french_what_happened(kind: type[BwcError]) -> None:
    assert kind.person[0].isupper()
    assert kind.person.endswith((".", " !", " ?"))
    assert len(kind.person) >= 20


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_has_a_name_in_error_a_stable_code_and_a_line_on_what_it_is(kind: type[BwcError]) -> None:
    assert kind.__name__.endswith("Error")
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", kind.code)
    assert kind.__dict__.get("__doc__")


def test_both_tables_know_the_same_errors_and_all_of_them() -> None:
    listed = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, BwcError)} - {
        BwcError
    }
    assert set(EXIT_CODES) == set(HTTP_STATUS) == listed


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_but_the_root_has_an_exit_code_of_its_family(kind: type[BwcError]) -> None:
    families = [code for family, code in EXIT_CODES.items() if issubclass(kind, family)]
    error = kind.__new__(kind)  # whatever its constructor asks for
    if kind is BwcError:
        assert (exit_code(error), http_status(error)) == (1, 500)
    else:
        assert [exit_code(error)] == families
        assert 400 <= http_status(error) < 600


def test_exit_codes_are_distinct_and_leave_the_shells_own_alone() -> None:
    codes = list(EXIT_CODES.values())
    assert len(set(codes)) == len(codes)
    assert all(2 <= code < 64 for code in codes)


def test_the_commands_page_lists_exactly_these_exit_codes() -> None:
    page = (ROOT / "docs" / "cli.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| (\d+) \| `?(\w+)`? \|", page, re.MULTILINE))
    for kind, code in EXIT_CODES.items():
        assert rows.get(str(code)) == kind.__name__, f"docs/cli.md: exit code {code} is {kind.__name__}"
    assert {int(code) for code in rows} == {0, 1, 130, *EXIT_CODES.values()}


def test_an_error_carries_its_own_sentence_and_code_when_given_them() -> None:
    error = errors.StorageError("no room", person="Le disque est plein.", code="disk_full")
    assert (str(error), error.person, error.code) == ("no room", "Le disque est plein.", "disk_full")
    assert errors.StorageError("x").person == errors.StorageError.person
