"""Who may look: the whole matrix, held against a table written apart. Rules BWC-ACC-1 to BWC-ACC-5, BWC-RET-3."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import product
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bwc.rules.access import (
    MAX_REFERENCE,
    MAX_TEXT,
    MOTIVES,
    Act,
    Permission,
    Role,
    Viewed,
    Viewer,
    check_motive,
    grants,
    has_ground,
    may_consult,
    may_see_listed,
    motive,
    motives_for,
    needs_reference,
)
from bwc.rules.decision import Decision, Refused
from bwc.rules.retention import bodycam_term

PARIS = ZoneInfo("Europe/Paris")
TODAY = date(2026, 11, 22)
NOW = datetime(2026, 11, 22, 18, 42, tzinfo=PARIS)
ME, OTHER = "me", "somebody else"
HERE, ELSEWHERE = "26362", "26058"

ACTS: dict[str, tuple[Act, ...]] = {
    "none": (),
    "in force": (Act("H1", TODAY - timedelta(days=10), TODAY + timedelta(days=10)),),
    "first day": (Act("H2", TODAY, TODAY + timedelta(days=10)),),
    "last day": (Act("H3", TODAY - timedelta(days=10), TODAY),),
    "without end": (Act("H4", TODAY - timedelta(days=10), None),),
    "expired": (Act("H5", TODAY - timedelta(days=10), TODAY - timedelta(days=1)),),
    "to come": (Act("H6", TODAY + timedelta(days=1), None),),
    "expired and in force": (
        Act("H5", TODAY - timedelta(days=10), TODAY - timedelta(days=1)),
        Act("H4", TODAY - timedelta(days=1), None),
    ),
}
ACT_STANDS = {"in force", "first day", "last day", "without end", "expired and in force"}
TERMS = {
    "running": bodycam_term(TODAY),
    "last day": bodycam_term(date(2026, 10, 22)),
    "over": bodycam_term(date(2026, 10, 21)),
}


@dataclass(frozen=True)
class Case:
    """One cell of the matrix."""

    role: Role
    active: bool
    acts: str
    commune: str
    wearer: str | None
    state: str
    term: str

    @property
    def viewer(self) -> Viewer:
        return Viewer(ME, self.role, self.active, frozenset({HERE}), ACTS[self.acts])

    @property
    def viewed(self) -> Viewed:
        return Viewed(self.wearer, self.commune, self.state, TERMS[self.term])


CASES = [
    Case(*values)
    for values in product(
        Role,
        (True, False),
        ACTS,
        (HERE, ELSEWHERE),
        (ME, OTHER, None),
        ("held", "quarantined", "erasing", "erased"),
        TERMS,
    )
]

# The law as a table, apart from the code (CSI R241-12 I, R241-11 II): does the function open images at all, does it
# need an act of habilitation, is it bound to what the person wore himself?
OPENS = {"maire": (True, False, False), "responsable": (True, False, False), "agent_habilite": (True, True, False),
         "porteur": (True, False, True), "dpo": (False, False, False), "inspecteur": (False, False, False),
         "technicien": (False, False, False)}  # fmt: skip


def expected(case: Case) -> tuple[str | None, str | None]:
    """The rules that refuse to list it and to open its images, None for allowed."""
    opens, needs_act, own_only = OPENS[case.role.value]
    listing = None
    if not (case.active and opens):
        listing = "BWC-ACC-1"
    elif needs_act and case.acts not in ACT_STANDS:
        listing = "BWC-ACC-2"
    elif case.commune == ELSEWHERE:
        listing = "BWC-ACC-5"
    elif own_only and case.wearer != ME:
        listing = "BWC-ACC-3"
    gone = case.state in ("erasing", "erased") or case.term == "over"
    return listing, listing or ("BWC-RET-3" if gone else None)


def rule_of(decision: Decision) -> str | None:
    return decision.rule if isinstance(decision, Refused) else None


def test_the_matrix_has_every_cell() -> None:
    assert len(CASES) == len(set(CASES)) == 7 * 2 * 8 * 2 * 3 * 4 * 3
    assert {role.value for role in Role} == set(OPENS)


def test_every_cell_of_the_matrix_is_decided_as_the_table_says() -> None:
    for case in CASES:
        found = (
            rule_of(may_see_listed(case.viewer, case.viewed, NOW)),
            rule_of(may_consult(case.viewer, case.viewed, NOW)),
        )
        assert found == expected(case), case


def test_images_are_never_open_where_even_the_listing_is_closed() -> None:
    for case in CASES:
        if may_consult(case.viewer, case.viewed, NOW):
            assert may_see_listed(case.viewer, case.viewed, NOW)
            assert has_ground(case.viewer, NOW)


@pytest.mark.parametrize("role", [Role.TECHNICIAN, Role.DPO, Role.INSPECTOR])
def test_who_runs_or_controls_the_machine_sees_no_image(role: Role) -> None:
    assert not any(may_consult(case.viewer, case.viewed, NOW) for case in CASES if case.role is role)
    assert not grants(role) & {Permission.RECORDINGS_LIST, Permission.RECORDINGS_VIEW}


def test_a_wearer_opens_his_own_recordings_and_no_others() -> None:
    opened = {case.wearer for case in CASES if case.role is Role.WEARER and may_consult(case.viewer, case.viewed, NOW)}
    assert opened == {ME}


def test_a_recording_without_known_wearer_is_nobodys_own() -> None:
    viewer = Viewer(ME, Role.WEARER, True, frozenset({HERE}), ())
    assert rule_of(may_consult(viewer, Viewed(None, HERE, "held", TERMS["running"]), NOW)) == "BWC-ACC-3"


def test_a_disabled_account_opens_nothing_whatever_its_function() -> None:
    assert not any(may_see_listed(case.viewer, case.viewed, NOW) for case in CASES if not case.active)


def test_a_habilitation_opens_at_midnight_of_its_first_day_and_closes_at_24_00_of_its_last() -> None:
    agent = Viewer(ME, Role.AGENT, True, frozenset({HERE}), (Act("H", date(2026, 11, 1), date(2026, 11, 30)),))
    assert not has_ground(agent, datetime(2026, 10, 31, 23, 59, 59, tzinfo=PARIS))
    assert has_ground(agent, datetime(2026, 11, 1, 0, 0, tzinfo=PARIS))
    assert has_ground(agent, datetime(2026, 11, 30, 23, 59, 59, tzinfo=PARIS))
    assert not has_ground(agent, datetime(2026, 12, 1, 0, 0, tzinfo=PARIS))


def test_images_close_at_24_00_of_the_due_day_and_not_before() -> None:
    chief = Viewer(ME, Role.HEAD, True, frozenset({HERE}), ())
    viewed = Viewed(None, HERE, "held", bodycam_term(TODAY))
    assert may_consult(chief, viewed, datetime(2026, 12, 22, 23, 59, 59, tzinfo=PARIS))
    assert rule_of(may_consult(chief, viewed, datetime(2026, 12, 23, 0, 0, tzinfo=PARIS))) == "BWC-RET-3"


def test_somebody_of_no_commune_sees_nothing() -> None:
    chief = Viewer(ME, Role.HEAD, True, frozenset(), ())
    assert rule_of(may_see_listed(chief, Viewed(None, HERE, "held", TERMS["running"]), NOW)) == "BWC-ACC-5"


# Permissions: the right to knock

COMMON = {"public", "signed_in", "demo:control"}
MAY_ASK: dict[str, set[str]] = {
    "maire": {"recordings:list", "recordings:view", "fleet:read"},
    "responsable": {"recordings:list", "recordings:view", "journal:read", "fleet:read", "fleet:manage"},
    "agent_habilite": {"recordings:list", "recordings:view", "fleet:read"},
    "porteur": {"recordings:list", "recordings:view"},
    "dpo": {"journal:read", "fleet:read", "system:read"},
    "inspecteur": {"journal:read", "fleet:read", "system:read"},
    "technicien": {"fleet:read", "fleet:manage", "system:read"},
}


@pytest.mark.parametrize("role", list(Role), ids=str)
def test_each_function_may_knock_where_the_table_says(role: Role) -> None:
    assert {str(permission) for permission in grants(role)} == MAY_ASK[str(role)] | COMMON


@pytest.mark.parametrize("role", list(Role), ids=str)
def test_the_journal_is_read_by_the_head_of_service_and_the_controllers_only(role: Role) -> None:
    assert (Permission.JOURNAL_READ in grants(role)) == (role in {Role.HEAD, Role.DPO, Role.INSPECTOR})


# Motives (BWC-ACC-4)

WEARERS_FOUR = {"procedure_judiciaire", "prevention_imminente", "secours", "compte_rendu"}
REFERENCED = {"procedure_judiciaire", "procedure_administrative", "procedure_disciplinaire", "droit_acces"}


def test_a_wearer_may_state_the_four_grounds_of_the_law_and_the_others_the_whole_list() -> None:
    assert {stated.code for stated in motives_for(Role.WEARER)} == WEARERS_FOUR
    for role in set(Role) - {Role.WEARER}:
        assert motives_for(role) == MOTIVES


def test_watching_over_ones_agents_is_not_a_motive() -> None:
    text = " ".join(f"{stated.code} {stated.label}" for stated in MOTIVES).lower()
    assert not any(word in text for word in ("contrôle", "controle", "activité", "surveillance", "évaluation"))


def test_codes_are_distinct_and_no_free_other_exists() -> None:
    codes = [stated.code for stated in MOTIVES]
    assert len(set(codes)) == len(codes)
    assert "autre" not in codes
    assert motive("autre") is None


def test_a_procedure_or_a_request_is_stated_with_its_reference() -> None:
    assert {stated.code for stated in MOTIVES if needs_reference(stated.code)} == REFERENCED


@pytest.mark.parametrize("role", list(Role), ids=str)
@pytest.mark.parametrize("code", [*(stated.code for stated in MOTIVES), "", "autre"])
def test_a_motive_fully_stated_is_allowed_exactly_to_those_who_may_state_it(role: Role, code: str) -> None:
    decision = check_motive(role, code, "Recherche d'un véhicule en fuite.", "PV 2026/01234")
    known = code in {stated.code for stated in MOTIVES}
    assert bool(decision) == (known and (role is not Role.WEARER or code in WEARERS_FOUR))
    if not decision:
        assert rule_of(decision) == "BWC-ACC-4"


@given(st.sampled_from(MOTIVES), st.text(max_size=MAX_TEXT + 50), st.text(max_size=MAX_REFERENCE + 20))
def test_a_motive_is_refused_exactly_when_its_text_or_its_reference_is_out_of_bounds(
    stated: object, text: str, reference: str
) -> None:
    chosen = next(one for one in MOTIVES if one is stated)
    text_fits = chosen.min_text <= len(text.strip()) <= MAX_TEXT
    reference_fits = chosen.code not in REFERENCED or 3 <= len(reference.strip()) <= MAX_REFERENCE
    assert bool(check_motive(Role.HEAD, chosen.code, text, reference)) == (text_fits and reference_fits)


def test_blanks_are_no_text_and_no_reference() -> None:
    assert not check_motive(Role.HEAD, "secours", " " * 40, "")
    assert not check_motive(Role.HEAD, "procedure_judiciaire", "", "   ")


def test_every_reason_given_is_a_french_sentence() -> None:
    reasons = {
        decision.reason for case in CASES if isinstance(decision := may_consult(case.viewer, case.viewed, NOW), Refused)
    }
    assert reasons
    assert all(reason.endswith(".") and reason[0].isupper() for reason in reasons)
