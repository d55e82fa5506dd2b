"""Values in words, and words understood: formats, the search field, ranges, next pages, tiles of the board."""

from __future__ import annotations

import ast
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bwc.core.clock import PARIS
from bwc.db.models import OffloadSession
from bwc.docking.board import BayState, BoardState, Phase, phase_of
from bwc.ingest.intake import QUARANTINE_REASONS
from bwc.rules.access import MOTIVES, Role
from bwc.web import formats, wording
from bwc.web.auth.locks import FAILURES_BEFORE_LOCK, LONGEST_LOCK_MINUTES, AddressLocks, lock_length, neighbourhood
from bwc.web.dock.tiles import PHASES, SAYINGS, board_json, tiles
from bwc.web.paths import safe_next
from bwc.web.recordings.images import Span, UnsatisfiableError, wanted_span
from bwc.web.recordings.search import AROUND, understand
from tests.factories import NOW, ROOT

TODAY = date(2026, 11, 22)
NARROW = formats.NARROW


class TestFormats:
    @pytest.mark.parametrize(
        ("count", "text"),
        [(0, "0 o"), (999, "999 o"), (1000, "1,0 ko"), (1_235_085, "1,2 Mo"), (340_000_000_000, "340 Go")],
    )
    def test_sizes(self, count: int, text: str) -> None:
        assert formats.size(count) == text.replace(" ", NARROW)

    @pytest.mark.parametrize(
        ("ms", "text"),
        [(None, "—"), (48_000, "48 s"), (725_000, "12 min 05 s"), (3_720_000, "1 h 02 min")],
    )
    def test_lengths(self, ms: int | None, text: str) -> None:
        assert formats.length(ms) == text.replace(" ", NARROW)

    @pytest.mark.parametrize(
        ("ms", "text"),
        [(None, "dérive non mesurable"), (0, "dérive 0 s"), (2000, "dérive +2 s"), (-200_000, "dérive −3 min 20 s")],
    )
    def test_drift(self, ms: int | None, text: str) -> None:
        assert formats.drift(ms).replace(NARROW, " ") == text

    def test_drift_known_to_be_at_least_so_much(self) -> None:
        assert formats.drift(3000, at_least=True).replace(NARROW, " ") == "dérive d'au moins +3 s"

    def test_days_left_is_a_word_at_the_end(self) -> None:
        words = [formats.days_left(days).replace(NARROW, " ") for days in (12, 1, 0, -1)]
        assert words == ["12 jours", "1 jour", "dernier jour", "terme dépassé"]

    def test_times_are_of_paris_and_dated_when_not_of_today(self) -> None:
        instant = datetime(2026, 11, 22, 17, 32, 7, tzinfo=UTC)
        assert formats.moment(instant, TODAY) == "18:32:07"
        assert formats.moment(instant, TODAY + timedelta(days=1)) == "hier 18:32:07"
        assert formats.full_moment(datetime(2026, 7, 1, 22, 30, tzinfo=UTC)) == "02/07/2026 00:30:00"


class TestSearchField:
    @pytest.mark.parametrize(
        ("text", "day"),
        [
            ("aujourd'hui", TODAY),
            ("aujourd’hui", TODAY),
            ("Hier", date(2026, 11, 21)),
            ("avant-hier", date(2026, 11, 20)),
            ("22/11/2026", TODAY),
            ("2026-11-03", date(2026, 11, 3)),
            ("3/11", date(2026, 11, 3)),
            ("24/12", date(2025, 12, 24)),
        ],
    )
    def test_days(self, text: str, day: date) -> None:
        assert understand(text, TODAY).day == day

    @pytest.mark.parametrize(
        ("text", "hour", "minute"), [("hier 18:30", 18, 30), ("hier 18h30", 18, 30), ("9h hier", 9, 0)]
    )
    def test_times_look_around(self, text: str, hour: int, minute: int) -> None:
        middle = datetime(2026, 11, 21, hour, minute, tzinfo=PARIS)
        assert understand(text, TODAY).between == (middle - AROUND, middle + AROUND)

    def test_rest_is_words(self) -> None:
        found = understand("CAM-07 martin hier", TODAY)
        assert found.words == ("CAM-07", "martin")
        assert found.day == date(2026, 11, 21)

    @pytest.mark.parametrize("text", ["32/13/2026", "25:99", "29/02/2026", "2026-02-30"])
    def test_what_is_no_date_is_a_word(self, text: str) -> None:
        assert understand(text, TODAY).words == (text,)

    @given(st.text(max_size=300))
    def test_nothing_breaks_it(self, text: str) -> None:
        assert len(understand(text, TODAY).words) <= 6


class TestRanges:
    @given(st.integers(1, 10**9), st.integers(0, 10**9), st.integers(0, 10**9))
    def test_a_satisfiable_range_is_within_the_file(self, size: int, first: int, last: int) -> None:
        header = f"bytes={first}-{last}"
        if last < first:
            assert wanted_span(header, size) is None
        elif first >= size:
            with pytest.raises(UnsatisfiableError):
                wanted_span(header, size)
        else:
            assert wanted_span(header, size) == Span(first, min(last, size - 1) - first + 1)

    @given(st.text(max_size=40), st.integers(0, 10**6))
    def test_nothing_breaks_it(self, header: str, size: int) -> None:
        try:
            span = wanted_span(header, size)
        except UnsatisfiableError:
            return
        assert span is None or (span.length > 0 and span.start + span.length <= size)


class TestNextPage:
    @pytest.mark.parametrize(
        "wanted",
        [
            "//mal.example",
            "https://mal.example",
            "/\\mal",
            "\\\\mal",
            "/a\nb",
            "/\t/mal",
            "",
            None,
            "x",
            "/" + "a" * 600,
        ],
    )
    def test_elsewhere_is_refused(self, wanted: str | None) -> None:
        assert safe_next(wanted, "/ici") == "/ici"

    @pytest.mark.parametrize("wanted", ["/", "/journal?du=2026-11-01&au=", "/enregistrements/ABC#faits"])
    def test_own_pages_are_kept(self, wanted: str) -> None:
        assert safe_next(wanted, "/ici") == wanted


class TestLock:
    def test_grows_then_stays(self) -> None:
        assert [lock_length(failures) for failures in range(FAILURES_BEFORE_LOCK)] == [None] * FAILURES_BEFORE_LOCK
        minutes = [int((lock_length(failures) or timedelta()) / timedelta(minutes=1)) for failures in range(5, 12)]
        assert minutes == [1, 2, 4, 8, 15, 15, 15]
        assert max(minutes) == LONGEST_LOCK_MINUTES

    def test_is_of_one_login_and_one_address_and_is_forgotten(self) -> None:
        locks = AddressLocks()
        for _ in range(FAILURES_BEFORE_LOCK):
            locks.failed("Agent", "203.0.113.9", NOW)
        assert locks.shut("agent", "203.0.113.9", NOW)
        assert not locks.shut("agent", "203.0.113.10", NOW)
        assert not locks.shut("maire", "203.0.113.9", NOW)
        assert not locks.shut("agent", "203.0.113.9", NOW + timedelta(minutes=1))
        assert locks.failed("agent", "203.0.113.9", NOW + timedelta(minutes=1 + LONGEST_LOCK_MINUTES)) == 1

    def test_keeps_so_many_at_most(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("bwc.web.auth.locks.MOST_KEPT", 3)
        locks = AddressLocks()
        for number in range(9):
            locks.failed("agent", f"192.0.2.{number}", NOW)
        assert len(locks._kept) == 3

    @pytest.mark.parametrize(
        ("address", "counted_as"),
        [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("fe80::1%eth0", "fe80::/64"),
            ("", ""),
        ],
    )
    def test_counts_a_subscriber_as_one_address(self, address: str, counted_as: str) -> None:
        assert neighbourhood(address) == counted_as


class TestBoard:
    def stay(self, state: str, **changes: object) -> OffloadSession:
        values = {"bytes_total": 100, "bytes_done": 40, "updated_at": NOW, "opened_at": NOW} | changes
        return OffloadSession(id="s", state=state, **values)

    @pytest.mark.parametrize(
        ("state", "phase"),
        [
            ("detected", Phase.DETECTING),
            ("identified", Phase.DETECTING),
            ("listed", Phase.DETECTING),
            ("copying", Phase.COPYING),
            ("waiting", Phase.WAITING),
            ("done", Phase.READY),
            ("refused", Phase.UNKNOWN),
            ("failed", Phase.FAILED),
            ("gone", Phase.PULLED),
            ("taken", Phase.FREE),
        ],
    )
    def test_phase_of_each_state(self, state: str, phase: Phase) -> None:
        assert phase_of(self.stay(state), NOW) is phase

    def test_copied_bytes_are_then_verified(self) -> None:
        assert phase_of(self.stay("copying", bytes_done=100), NOW) is Phase.VERIFYING

    def test_a_camera_pulled_too_early_is_told_for_a_while(self) -> None:
        stay = self.stay("gone")
        assert phase_of(stay, NOW + timedelta(minutes=15)) is Phase.PULLED
        assert phase_of(stay, NOW + timedelta(minutes=16)) is Phase.FREE

    def test_every_phase_has_its_words(self) -> None:
        assert set(PHASES) == set(SAYINGS) == set(Phase)

    def test_json_and_page_say_the_same(self) -> None:
        board = BoardState(
            NOW, [BayState(1, Phase.READY, camera="CAM-07", files_safe=12, files_total=12, drift_known=True)]
        )
        (tile,) = tiles(board, names=True)
        state = board_json(board, names=True, late=2, lost=0)
        assert state["tiles"][0]["word"] == tile.word == "PRÊTE"
        assert state["hint"] == "Prendre une caméra : CAM-07 (baie 1)"
        assert state["fleet"] == "2 en retard · 0 perdue"

    def test_hidden_names_leave_no_name(self) -> None:
        board = BoardState(NOW, [BayState(1, Phase.COPYING, camera="C", wearer="B. Martin", matricule="2214")])
        assert "Martin" not in str(board_json(board, names=False, late=0, lost=0))


class TestEveryCodeHasItsFrenchWord:
    def test_roles_and_motives(self) -> None:
        assert {role.value for role in Role} == set(wording.ROLES)
        assert all(wording.motive_label(one.code) == one.label for one in MOTIVES)

    def test_quarantine_reasons(self) -> None:
        assert set(QUARANTINE_REASONS) == set(wording.QUARANTINE)

    def test_actions_written_anywhere_in_the_product(self) -> None:
        written = {action for path in _modules() for action in _actions(path)}
        assert "recording.taken_in" in written
        assert not written - set(wording.ACTIONS), "add their French words to bwc/web/wording.py"

    def test_unknown_codes_are_shown_as_they_are(self) -> None:
        assert wording.word(wording.ACTIONS, "new.action") == "new.action"


def _modules() -> list[Path]:
    return [path for path in (ROOT / "bwc").rglob("*.py") if "web" not in path.parts or path.parent.name != "web"]


def _actions(path: Path) -> set[str]:
    """Second argument, when it is a text, of each `Event(…)` of a module."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Event":
            texts = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
            found |= {text for text in texts if re.fullmatch(r"[a-z_]+\.[a-z_]+", text)}
    return found
