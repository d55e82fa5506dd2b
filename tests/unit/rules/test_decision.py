"""What a rule answers, and the one place where a refusal becomes an error."""

from __future__ import annotations

import pytest

from bwc.core.errors import RefusedError
from bwc.rules.decision import Allowed, Refused, require


def test_allowed_is_true_and_refused_is_false() -> None:
    assert Allowed()
    assert not Refused("BWC-ACC-1", "Non.")


def test_require_lets_an_allowed_act_go_on() -> None:
    require(Allowed())


def test_require_stops_a_refused_act_with_its_rule_and_its_reason() -> None:
    with pytest.raises(RefusedError) as caught:
        require(Refused("BWC-ORD-2", "Toutes les caméras sont en service."))
    assert caught.value.code == "BWC-ORD-2"
    assert caught.value.person == "Toutes les caméras sont en service."
