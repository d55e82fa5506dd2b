"""Identifiers name, sort by time of making, and are told from anything else by their form."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bwc.core.ids import is_id, new_id

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LETTER_VALUES = {letter: value for value, letter in enumerate(ALPHABET)}


def made_at_ms(identifier: str) -> int:
    number = 0
    for letter in identifier:
        number = number * 32 + LETTER_VALUES[letter]
    return number >> 80


def at(monkeypatch: pytest.MonkeyPatch, milliseconds: int) -> str:
    monkeypatch.setattr(time, "time_ns", lambda: milliseconds * 1_000_000)
    return new_id()


def test_an_identifier_is_26_letters_that_nobody_misreads() -> None:
    identifier = new_id()
    assert len(identifier) == 26
    assert not set(identifier) - set(ALPHABET)
    assert not set("ILOU") & set(ALPHABET)


def test_ten_thousand_identifiers_are_ten_thousand_names() -> None:
    assert len({new_id() for _ in range(10_000)}) == 10_000


@pytest.mark.parametrize("first", [0, 31, 32, 1_795_368_127_000, (1 << 48) - 2])
def test_what_was_made_a_millisecond_later_sorts_later(monkeypatch: pytest.MonkeyPatch, first: int) -> None:
    assert at(monkeypatch, first) < at(monkeypatch, first + 1)


def test_an_identifier_tells_when_it_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    assert made_at_ms(at(monkeypatch, 1_795_368_127_345)) == 1_795_368_127_345


@given(st.text(max_size=40))
def test_only_26_letters_of_the_alphabet_have_the_form_of_an_identifier(text: str) -> None:
    assert is_id(text) == (len(text) == 26 and set(text) <= set(ALPHABET))


@pytest.mark.parametrize("wrong", ["", "0" * 25, "0" * 27, "o" * 26, "I" * 26, "0" * 25 + "/", "../" + "0" * 23])
def test_what_is_no_identifier_is_told_apart(wrong: str) -> None:
    assert not is_id(wrong)


def test_what_is_made_has_the_form() -> None:
    assert is_id(new_id())
