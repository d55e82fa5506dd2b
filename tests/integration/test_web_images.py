"""Images leave logged, to their one viewer, in time, whole or by range; and never otherwise."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import delete, select, update

from bwc.core.clock import SettableClock
from bwc.core.errors import EvidenceError, StorageError
from bwc.db.models import Consultation, Habilitation, JournalEntry, Person, Recording, Town, WebSession
from bwc.erasure import erase_due
from bwc.installation import Installation
from bwc.rules.retention import Term
from bwc.vault.container import PAGE, SEGMENT
from bwc.vault.reader import SealedFile
from bwc.web import web_app
from bwc.web.recordings.images import ASK_EVERY_BYTES, ASK_EVERY_S, CHUNK
from tests.browser.clients import consult, send, signed_in
from tests.browser.world import SMALL, World, settle_lightly
from tests.factories import person, recording, take


@pytest.fixture
def world(house: Installation) -> World:
    return settle_lightly(house)


@pytest.fixture
def web(house: Installation, world: World) -> Flask:
    made = web_app(house)
    made.testing = True
    return made


@pytest.fixture
def head(web: Flask) -> FlaskClient:
    return signed_in(web, "responsable")


@pytest.fixture
def image(head: FlaskClient, world: World) -> str:
    """Address of the original, a consultation of it just opened."""
    return consult(head, world.own).headers["Location"] + "/images/original"


def entries(house: Installation, action: str) -> list[JournalEntry]:
    with house.database.read() as session:
        return list(session.scalars(select(JournalEntry).where(JournalEntry.action == action)))


class TestMotive:
    def test_is_in_the_journal_before_any_byte(
        self, house: Installation, head: FlaskClient, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The first byte is read from the vault only once the entry is there and committed."""
        seen: list[int] = []
        real = SealedFile.readinto

        def spy(self: SealedFile, buffer: memoryview) -> int:
            seen.append(len(entries(house, "recording.viewed")))
            return real(self, buffer)

        address = consult(head, world.own, "procedure_judiciaire", reference="2026/114-PV").headers["Location"]
        monkeypatch.setattr(SealedFile, "readinto", spy)
        assert head.get(f"{address}/images/original").data == SMALL
        assert seen
        assert set(seen) == {1}
        (entry,) = entries(house, "recording.viewed")
        record = json.loads(entry.record)
        assert record["motive"] == "procedure_judiciaire"
        assert record["detail"]["reference"] == "2026/114-PV"
        assert record["actor"]["label"].startswith("2001 Claire Faure")

    @pytest.mark.parametrize(
        "form",
        [
            {"motive": ""},
            {"motive": "curiosite"},
            {"motive": "procedure_judiciaire"},
            {"motive": "secours", "text": "trop court"},
            {"motive": "compte_rendu", "text": "x" * 501},
        ],
    )
    def test_incomplete_opens_nothing_and_is_in_the_journal(
        self, house: Installation, head: FlaskClient, world: World, form: dict[str, str]
    ) -> None:
        answer = consult(head, world.own, **form)
        assert answer.status_code == 422
        assert 'role="alert"' in answer.text
        assert len(entries(house, "recording.view_refused")) == 1
        with house.database.read() as session:
            assert session.scalars(select(Consultation)).first() is None

    def test_form_comes_back_as_it_was_typed(self, head: FlaskClient, world: World) -> None:
        answer = consult(head, world.own, "procedure_judiciaire", text="à la demande de l'OPJ", reference="x")
        assert "à la demande de l&#39;OPJ" in answer.text
        assert 'value="procedure_judiciaire" required data-reference="1" data-min-text="0" checked' in answer.text

    def test_wearer_states_his_four_grounds_only(self, web: Flask, world: World) -> None:
        wearer = signed_in(web, "porteur")
        assert wearer.get(f"/enregistrements/{world.own}").text.count('type="radio"') == 4
        assert consult(wearer, world.own, "procedure_administrative", reference="2026-1").status_code == 422
        assert consult(wearer, world.own).status_code == 303


class TestWhoSees:
    def test_wearer_sees_his_own_and_does_not_learn_of_others(
        self, house: Installation, web: Flask, world: World
    ) -> None:
        wearer = signed_in(web, "porteur")
        assert wearer.get(f"/enregistrements/{world.own}").status_code == 200
        assert wearer.get(f"/enregistrements/{world.other}").status_code == 404
        assert world.other not in wearer.get("/enregistrements").text
        forged = send(wearer, "/", f"/enregistrements/{world.other}/consultation", motive="compte_rendu")
        never = send(wearer, "/", f"/enregistrements/{'0' * 26}/consultation", motive="compte_rendu")
        assert forged.status_code == never.status_code == 404
        assert len(entries(house, "recording.view_refused")) == 1, "a forged attempt is in the journal"

    def test_wearer_does_not_learn_who_else_looked_and_why(self, web: Flask, head: FlaskClient, world: World) -> None:
        consult(head, world.own, "procedure_disciplinaire", reference="DISC-2026-3")
        wearer = signed_in(web, "porteur")
        consult(wearer, world.own)
        page = wearer.get(f"/enregistrements/{world.own}").text
        assert "DISC-2026-3" not in page
        assert "Claire Faure" not in page
        assert "2214 Bastien Martin" in page
        assert "DISC-2026-3" in head.get(f"/enregistrements/{world.own}").text

    @pytest.mark.parametrize("login", ["dpo", "technicien", "inspecteur"])
    def test_technician_dpo_and_inspector_never(self, web: Flask, world: World, image: str, login: str) -> None:
        client = signed_in(web, login)
        assert client.get(f"/enregistrements/{world.own}").status_code == 403
        assert client.get(image).status_code == 403
        assert send(client, "/", f"/enregistrements/{world.own}/consultation", motive="formation").status_code == 403
        assert f"/enregistrements/{world.own}" not in client.get("/").text

    def test_agent_without_an_act_in_force_is_shut_out_at_once(
        self, house: Installation, web: Flask, world: World
    ) -> None:
        agent = signed_in(web, "agent")
        address = consult(agent, world.own).headers["Location"]
        assert agent.get(f"{address}/images/original").status_code == 200
        with house.database.write() as session:
            session.execute(delete(Habilitation))
        assert agent.get(f"{address}/images/original").status_code == 403
        assert agent.get("/enregistrements").status_code == 403
        assert "habilitation" in agent.get("/").text

    def test_another_commune_does_not_exist(
        self, house: Installation, head: FlaskClient, world: World, image: str
    ) -> None:
        with house.database.write() as session:
            session.execute(update(Recording).where(Recording.id == world.own).values(commune="26058"))
        assert head.get(f"/enregistrements/{world.own}").status_code == 404
        assert world.own not in head.get("/enregistrements").text
        assert head.get(image).status_code == 404

    def test_consultation_is_its_viewers_alone(self, web: Flask, image: str) -> None:
        agent = signed_in(web, "agent")
        assert agent.get(image).status_code == 404
        assert agent.get(image.rpartition("/images")[0]).status_code == 404

    def test_consultation_is_of_one_session(self, web: Flask, image: str) -> None:
        again = signed_in(web, "responsable")
        assert again.get(image).status_code == 403
        assert again.get(image.rpartition("/images")[0]).status_code == 403

    def test_consultation_ends(self, head: FlaskClient, clock: SettableClock, image: str) -> None:
        clock.advance(timedelta(minutes=14, seconds=59))
        assert head.get(image).status_code == 200
        clock.advance(timedelta(seconds=1))
        over = head.get(image)
        assert over.status_code == 403
        assert SMALL[:64] not in over.data
        assert "terminée" in head.get(image.rpartition("/images")[0]).text

    def test_nothing_is_read_past_the_term(
        self, house: Installation, web: Flask, clock: SettableClock, world: World
    ) -> None:
        row = recording(house, world.own)
        clock.instant = Term(row.recorded_on, row.due_on, row.term_rule).ends_at - timedelta(minutes=5)
        client = signed_in(web, "responsable")
        address = consult(client, world.own).headers["Location"] + "/images/original"
        assert client.get(address).status_code == 200
        clock.advance(timedelta(minutes=5))
        assert client.get(address).status_code == 403
        assert "terme légal" in client.get(f"/enregistrements/{world.own}").text

    def test_image_that_is_not_made_yet(self, head: FlaskClient, image: str) -> None:
        assert head.get(image.replace("original", "proxy")).status_code == 404
        assert head.get(image.replace("original", "../original")).status_code == 404


class TestRanges:
    @pytest.mark.parametrize(
        ("asked", "first", "last"),
        [
            ("bytes=0-", 0, len(SMALL) - 1),
            ("bytes=0-0", 0, 0),
            ("bytes=300000-700000", 300_000, 700_000),
            ("bytes=1048570-", 1_048_570, len(SMALL) - 1),
            ("bytes=1048570-9999999", 1_048_570, len(SMALL) - 1),
            ("bytes=-10", len(SMALL) - 10, len(SMALL) - 1),
            ("bytes=-99999999", 0, len(SMALL) - 1),
        ],
    )
    def test_one_range(self, head: FlaskClient, image: str, asked: str, first: int, last: int) -> None:
        answer = head.get(image, headers={"Range": asked})
        assert answer.status_code == 206
        assert answer.data == SMALL[first : last + 1]
        assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{len(SMALL)}"
        assert answer.headers["Content-Length"] == str(last - first + 1)

    @pytest.mark.parametrize("asked", ["bytes=1048576-", "bytes=9999999999-", "bytes=-0"])
    def test_beyond_the_end(self, head: FlaskClient, image: str, asked: str) -> None:
        answer = head.get(image, headers={"Range": asked})
        assert answer.status_code == 416
        assert answer.headers["Content-Range"] == f"bytes */{len(SMALL)}"
        assert answer.data == b""

    @pytest.mark.parametrize(
        "asked",
        [
            "bytes=5-2",
            "bytes=a-b",
            "bytes=",
            "octets=0-1",
            "bytes=-",
            "bytes=0-1,5-9",
            "bytes=0-" + "9" * 400,
            "\u00b2",
        ],
    )
    def test_malformed_or_many_are_ignored(self, head: FlaskClient, image: str, asked: str) -> None:
        answer = head.get(image, headers={"Range": asked})
        assert answer.status_code == 200
        assert answer.data == SMALL

    def test_if_range(self, head: FlaskClient, image: str) -> None:
        tag = head.get(image, headers={"Range": "bytes=0-0"}).headers["ETag"]
        for condition, status in ((tag, 206), ('"another"', 200), ("Sun, 22 Nov 2026 17:00:00 GMT", 200)):
            answer = head.get(image, headers={"Range": "bytes=0-0", "If-Range": condition})
            assert answer.status_code == status

    def test_head_has_the_length_and_no_byte(self, head: FlaskClient, image: str) -> None:
        answer = head.head(image)
        assert answer.status_code == 200
        assert answer.headers["Content-Length"] == str(len(SMALL))
        assert answer.data == b""

    def test_nothing_of_it_may_be_kept(self, head: FlaskClient, image: str) -> None:
        headers = head.get(image).headers
        assert headers["Cache-Control"] == "no-store"
        assert headers["Content-Disposition"] == "inline"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


class TestAlteredBytes:
    def test_are_never_sent(self, house: Installation, head: FlaskClient, world: World, image: str) -> None:
        """One flipped bit on the disk: the answer stops with an error, before the first byte of that segment."""
        path = house.vault._path(recording(house, world.own).vault_name)
        raw = bytearray(path.read_bytes())
        raw[PAGE + 10] ^= 1
        path.chmod(0o600)
        path.write_bytes(raw)
        with pytest.raises(EvidenceError):  # the client asks for the first chunk at once
            head.get(image)
        past_it = {"Range": f"bytes={SEGMENT // 2}-"}
        with pytest.raises(EvidenceError):
            head.get(image, headers=past_it)

    def test_file_is_closed_when_the_viewer_leaves(
        self, head: FlaskClient, image: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        closed: list[bool] = []
        real = SealedFile.close

        def spy(self: SealedFile) -> None:
            closed.append(True)
            real(self)

        monkeypatch.setattr(SealedFile, "close", spy)
        with head.get(image) as answer:
            next(iter(answer.response))
        assert closed

    def test_stream_under_way_stops_when_the_consultation_ends(
        self, head: FlaskClient, clock: SettableClock, image: str
    ) -> None:
        with head.get(image) as answer:
            chunks = iter(answer.response)
            assert next(chunks) == SMALL[: 256 * 1024]
            clock.advance(timedelta(minutes=15))
            with pytest.raises(StorageError):
                next(chunks)


def test_who_is_locked_out_keeps_nothing_open(house: Installation, web: Flask, image: str, head: FlaskClient) -> None:
    with house.database.write() as session:
        session.execute(update(Person).where(Person.id == person(house, "2001").id).values(active=False))
    assert head.get(image).status_code in {302, 401}


class TestStreamUnderWay:
    """What ends the right to look ends the stream too: at most one more interval of bytes leaves."""

    LONG = SMALL * 12

    @pytest.fixture
    def under_way(self, house: Installation, web: Flask, clock: SettableClock) -> Underway:
        taken = take(house, self.LONG).recording_id
        row = recording(house, taken)
        clock.instant = Term(row.recorded_on, row.due_on, row.term_rule).ends_at - timedelta(minutes=2)
        with house.database.write() as session:
            session.execute(update(Habilitation).values(ends_on=None))
        agent = signed_in(web, "agent")
        address = consult(agent, taken).headers["Location"] + "/images/original"
        answer = agent.get(address, buffered=False)
        assert answer.status_code == 200
        chunks = iter(answer.response)
        next(chunks)
        return Underway(agent, taken, chunks)

    def test_goes_on_when_nothing_happens(self, under_way: Underway) -> None:
        assert sum(len(chunk) for chunk in under_way.chunks) == len(self.LONG) - CHUNK

    @pytest.mark.parametrize("event", ["sign-out", "disabled", "role", "act", "erasing", "commune", "session-gone"])
    def test_stops_within_one_interval(self, house: Installation, under_way: Underway, event: str) -> None:
        if event == "sign-out":
            assert send(under_way.client, "/", "/deconnexion").status_code == 303
        with house.database.write() as session:
            agent = update(Person).where(Person.login == "agent")
            row = update(Recording).where(Recording.id == under_way.recording_id)
            if event == "disabled":
                session.execute(agent.values(active=False))
            if event == "role":
                session.execute(agent.values(role="technicien"))
            if event == "act":
                session.execute(delete(Habilitation))
            if event == "erasing":
                session.execute(row.values(state="erasing"))
            if event == "commune":
                session.execute(row.values(commune="26058"))
            if event == "session-gone":
                session.execute(delete(WebSession))
        assert under_way.rest() <= ASK_EVERY_BYTES

    def test_stops_at_the_term(self, under_way: Underway, clock: SettableClock) -> None:
        clock.advance(timedelta(minutes=2))
        assert under_way.rest() == 0

    def test_stops_at_the_erasure(self, house: Installation, under_way: Underway, clock: SettableClock) -> None:
        clock.advance(timedelta(minutes=3))
        with house.database.write() as session:
            session.execute(update(Town).values(clock_believed_at=clock.now()))
        assert under_way.recording_id in erase_due(house)
        assert under_way.rest() == 0

    def test_is_asked_again_every_second(
        self, house: Installation, under_way: Underway, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with house.database.write() as session:
            session.execute(update(Person).where(Person.login == "agent").values(active=False))
        later = time.monotonic() + ASK_EVERY_S
        monkeypatch.setattr("bwc.web.recordings.images.time.monotonic", lambda: later)
        assert under_way.rest() == 0

    def test_stops_at_the_end_of_the_session(self, house: Installation, web: Flask, clock: SettableClock) -> None:
        taken = take(house, self.LONG).recording_id
        head = signed_in(web, "responsable")
        with house.database.write() as session:
            session.execute(update(WebSession).values(ends_at=clock.now() + timedelta(minutes=5)))
        answer = head.get(consult(head, taken).headers["Location"] + "/images/original", buffered=False)
        chunks = iter(answer.response)
        next(chunks)
        clock.advance(timedelta(minutes=5))
        assert Underway(head, taken, chunks).rest() == 0


@dataclass
class Underway:
    """A stream of which one chunk has left."""

    client: FlaskClient
    recording_id: str
    chunks: Iterator[bytes]

    def rest(self) -> int:
        """How many bytes still leave before the connection ends short."""
        sent: list[int] = []
        with pytest.raises(StorageError):
            sent.extend(map(len, self.chunks))
        return sum(sent)
