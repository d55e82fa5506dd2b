"""A file leaves the camera only when its copy is proven and committed. Rules BWC-CUS-1 to BWC-CUS-3."""

from __future__ import annotations

from itertools import product

import pytest

from bwc.rules.custody import CopyFacts, may_delete_from_camera
from bwc.rules.decision import Allowed, Refused

A, B = "a" * 64, "b" * 64
ALL = [
    CopyFacts(*values) for values in product((None, A, B), (None, A, B), (True, False), (True, False), (True, False))
]


def expected(facts: CopyFacts) -> str | None:
    """The rule that stops the deletion, first one that applies; None when it may be done. Written apart on purpose."""
    if facts.copied_sha256 is None or facts.read_back_sha256 is None:
        return "BWC-CUS-1"
    if facts.copied_sha256 != facts.read_back_sha256 or not facts.committed:
        return "BWC-CUS-1"
    if facts.card_damaged:
        return "BWC-CUS-2"
    return None if facts.wipe_allowed_by_profile else "BWC-CUS-3"


@pytest.mark.parametrize("facts", ALL, ids=repr)
def test_every_combination_of_facts_is_decided_as_the_table_says(facts: CopyFacts) -> None:
    decision = may_delete_from_camera(facts)
    found = decision.rule if isinstance(decision, Refused) else None
    assert found == expected(facts)


def test_one_way_only_leads_to_deletion() -> None:
    allowed = [facts for facts in ALL if may_delete_from_camera(facts)]
    assert allowed == [CopyFacts(A, A, True, False, True), CopyFacts(B, B, True, False, True)]


def test_two_missing_digests_are_not_two_equal_ones() -> None:
    assert not may_delete_from_camera(CopyFacts(None, None, True, False, True))


def test_a_refusal_says_in_french_that_the_file_stays() -> None:
    for facts in ALL:
        decision = may_delete_from_camera(facts)
        if isinstance(decision, Refused):
            assert decision.reason.endswith(".")
        else:
            assert decision == Allowed()
