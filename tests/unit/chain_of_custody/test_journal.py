"""Events, records and bodies: the vocabulary, the exact bytes, what is refused before it is written."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bwc.chain_of_custody.check import read_record, why_not_canonical
from bwc.chain_of_custody.journal import (
    SYSTEM_ACTOR,
    Actor,
    Event,
    Operation,
    body_of,
    commitment,
    record_of,
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
details = st.dictionaries(texts.filter(lambda key: key != "clock_went_back"), values, max_size=4)
events = st.builds(
    Event,
    st.sampled_from(Operation),
    st.just("recording.viewed"),
    st.builds(Actor, st.none() | st.just("01J0000000000000000000PER1"), texts),
    recording_id=st.none() | st.just("01J0000000000000000000REC1"),
    motive=st.none() | texts,
    recipients=st.lists(texts, max_size=3).map(tuple),
    detail=details,
)


def test_the_exact_bytes() -> None:
    event = Event(
        Operation.COMMUNICATION,
        "extraction.handed_over",
        Actor("01J0000000000000000000PER1", "Léa"),
        recording_id="01J0000000000000000000REC1",
        motive='réquisition "12"',
        recipients=("OPJ",),
        detail={"z": 1, "a": [True, None, "\u2028/\x1f"]},
    )
    record = record_of(event, 7, clock_went_back=True)
    assert record.decode() == (
        '{"action":"extraction.handed_over","actor":{"id":"01J0000000000000000000PER1","label":"Léa"},'
        '"detail":{"a":[true,null,"\u2028/\\u001f"],"clock_went_back":true,"z":1},"motive":"réquisition \\"12\\"",'
        '"n":7,"recipients":["OPJ"],"recording":"01J0000000000000000000REC1"}'
    )
    body = body_of(7, "2026-11-22T18:32:07.000000Z", event.operation, commitment(b"s" * 32, record))
    assert json.loads(body).keys() == {"v", "n", "t", "op", "c"}
    assert body.startswith(b'{"c":"')
    assert body.endswith(b'","n":7,"op":"communication","t":"2026-11-22T18:32:07.000000Z","v":1}')


@given(events, st.integers(0, 10**12), st.booleans())
def test_every_record_written_is_one_the_verifier_accepts(event: Event, place: int, back: bool) -> None:
    record = read_record(record_of(event, place, clock_went_back=back))
    assert record["n"] == place
    assert record["detail"].get("clock_went_back", False) is back
    assert record["recipients"] == list(event.recipients)


@pytest.mark.parametrize(
    "fields",
    [
        {"action": "viewed"},
        {"action": "Recording.viewed"},
        {"action": "recording.viewed\n"},
        {"action": "a." + "b" * 39},
        {"recording_id": "x" * 27},
        {"recording_id": "a b"},
        {"recording_id": ""},
        {"actor": Actor("nul\0", "x")},
        {"detail": {"clock_went_back": False}},
    ],
)
def test_events_that_cannot_be_written(fields: dict) -> None:
    good = {"operation": Operation.SYSTEME, "action": "test.ran", "actor": SYSTEM_ACTOR}
    with pytest.raises(ValueError, match=r"not an action|not an identifier|by the ledger"):
        Event(**{**good, **fields})


def test_floats_are_refused() -> None:
    event = Event(Operation.SYSTEME, "test.ran", SYSTEM_ACTOR, detail={"x": [1.5]})
    with pytest.raises(TypeError, match="floats"):
        record_of(event, 0, clock_went_back=False)


GOOD = record_of(Event(Operation.SYSTEME, "test.ran", SYSTEM_ACTOR, detail={"k": "é"}), 3, clock_went_back=False)
HOSTILE_RECORDS = {
    "space": GOOD.replace(b",", b", ", 1),
    "trailing newline": GOOD + b"\n",
    "escaped letter": GOOD.replace("é".encode(), b"\\u00e9"),
    "member order": GOOD.replace(b'"n":3,"recipients":[]', b'"recipients":[],"n":3'),
    "duplicate member": GOOD.replace(b'"n":3', b'"n":3,"n":3'),
    "duplicate in detail": GOOD.replace(b'"k":', b'"k":1,"k":'),
    "NaN": GOOD.replace('"é"'.encode(), b"NaN"),
    "infinity": GOOD.replace('"é"'.encode(), b"-Infinity"),
    "float": GOOD.replace('"é"'.encode(), b"1.5"),
    "exponent": GOOD.replace('"é"'.encode(), b"1e2"),
    "minus zero": GOOD.replace('"é"'.encode(), b"-0"),
    "number of 5000 digits": GOOD.replace('"é"'.encode(), b"9" * 5000),
    "lone surrogate": GOOD.replace("é".encode(), b"\\ud800"),
    "not UTF-8": GOOD.replace("é".encode(), b"\xff"),
    "very deep": GOOD.replace('"é"'.encode(), b"[" * 100000 + b"]" * 100000),
    "byte order mark": b"\xef\xbb\xbf" + GOOD,
    "missing member": GOOD.replace(b'"n":3,', b""),
    "extra member": GOOD.replace(b'"n":3,', b'"n":3,"o":1,'),
    "n as a boolean": GOOD.replace(b'"n":3', b'"n":true'),
    "recipients as text": GOOD.replace(b'"recipients":[]', b'"recipients":"x"'),
    "actor as text": GOOD.replace('{"id":null,"label":"système"}'.encode(), b'"x"'),
    "action as null": GOOD.replace(b'"test.ran"', b"null"),
    "detail as list": GOOD.replace('{"k":"é"}'.encode(), b"[]"),
    "a list": b"[]",
    "empty": b"",
}


@pytest.mark.parametrize("name", HOSTILE_RECORDS)
def test_hostile_records_are_refused(name: str) -> None:
    assert HOSTILE_RECORDS[name] != GOOD
    with pytest.raises((ValueError, RecursionError)):
        read_record(HOSTILE_RECORDS[name])
    assert why_not_canonical(HOSTILE_RECORDS[name])


def test_the_good_record_is_read() -> None:
    assert read_record(GOOD)["detail"] == {"k": "é"}
