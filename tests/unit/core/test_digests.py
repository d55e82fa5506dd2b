"""Canonical JSON has one form only, reads back to what was written, and refuses what has no form."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bwc.core.digests import ALGORITHM, canonical_json, sha256

TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | TEXTS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS, inner, max_size=5),
    max_leaves=30,
)


def other_order(value: Any) -> Any:
    """The same value, its objects written in the opposite order."""
    if isinstance(value, dict):
        return {key: other_order(value[key]) for key in reversed(value)}
    return [other_order(item) for item in value] if isinstance(value, list) else value


@given(VALUES)
def test_what_is_written_reads_back_the_same(value: Any) -> None:
    assert json.loads(canonical_json(value)) == value


@given(VALUES)
def test_writing_what_was_read_gives_the_same_bytes(value: Any) -> None:
    written = canonical_json(value)
    assert canonical_json(json.loads(written)) == written


@given(VALUES)
def test_the_order_in_which_members_were_put_leaves_no_trace(value: Any) -> None:
    assert canonical_json(other_order(value)) == canonical_json(value)


@given(VALUES, VALUES)
def test_two_values_have_the_same_bytes_only_when_they_are_the_same(one: Any, other: Any) -> None:
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (canonical_json(one) == canonical_json(other)) == same


def test_members_are_sorted_and_nothing_is_spaced_or_escaped_in_vain() -> None:
    value = {"b": [1, True, None], "a": "é « / »\n", "B": {}, "": -0}
    assert canonical_json(value) == '{"":0,"B":{},"a":"é « / »\\n","b":[1,true,null]}'.encode()


@pytest.mark.parametrize("number", [0.0, 1.0, -1.5, 1e300, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    "around", [lambda x: x, lambda x: [x], lambda x: {"a": x}, lambda x: {"a": [{"b": (1, x)}]}], ids=range(4)
)
def test_a_float_is_refused_however_deep_it_hides(number: float, around: Any) -> None:
    with pytest.raises(TypeError, match="float"):
        canonical_json(around(number))


@pytest.mark.parametrize("key", [1, None, True, 1.5, b"a"])
def test_a_key_that_is_no_text_is_refused_rather_than_turned_into_one(key: Any) -> None:
    with pytest.raises(TypeError, match="keys are strings"):
        canonical_json({key: 1})


@pytest.mark.parametrize("value", [b"bytes", {1, 2}, object()])
def test_a_type_json_does_not_know_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        canonical_json({"a": value})


def test_a_lone_surrogate_has_no_bytes() -> None:
    with pytest.raises(ValueError, match="surrogate"):
        canonical_json("\ud800")


@given(st.binary(max_size=200))
def test_a_digest_is_sha_256(data: bytes) -> None:
    assert ALGORITHM == "sha256"
    assert sha256(data) == hashlib.sha256(data).digest()
