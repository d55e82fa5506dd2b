"""What every page owes its reader: one title, labels, headers; hostile names shown as text; the journal's own entry."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select, update

from bwc.db.models import Bay, Camera, JournalEntry, OffloadSession, Person, Recording
from bwc.installation import Installation
from bwc.web import web_app
from tests.browser.clients import consult, send, signed_in
from tests.browser.world import World, settle_lightly
from tests.factories import camera, person

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>\u202e{{7*7}}'
PAGES = ("/", "/enregistrements", "/enregistrements?q=rien", "/journal", "/cameras", "/incidents", "/conformite")


class Page(HTMLParser):
    """What a page holds, as far as the laws below look at it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)
        if tag in {"h1", "title"}:
            self.text.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        for tag in ("h1", "title"):
            if tag in self._open:
                self.text[tag][-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


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


def every_page(web: Flask, head: FlaskClient, world: World) -> dict[str, str]:
    nobody = web.test_client()
    pages = {address: head.get(address).text for address in PAGES}
    pages[f"/enregistrements/{world.own}"] = head.get(f"/enregistrements/{world.own}").text
    player = consult(head, world.own).headers["Location"]
    pages[player] = head.get(player).text
    pages |= {address: nobody.get(address).text for address in ("/connexion", "/station", "/nulle-part")}
    return pages


class TestPageLaws:
    def test_one_h1_and_a_title_that_starts_with_it(self, web: Flask, head: FlaskClient, world: World) -> None:
        for address, text in every_page(web, head, world).items():
            page = Page(text)
            assert len(page.text["h1"]) == 1, address
            h1, title = (" ".join(page.text[tag][0].split()) for tag in ("h1", "title"))
            assert h1, address
            assert title.startswith(h1), (address, title, h1)

    def test_language_forms_labels_tables(self, web: Flask, head: FlaskClient, world: World) -> None:
        for address, text in every_page(web, head, world).items():
            page = Page(text)
            assert page.all("html")[0]["lang"] == "fr"
            labelled = {label.get("for") for label in page.all("label")}
            for form in page.all("form"):
                assert form.get("action"), address
            for kind in ("input", "select", "textarea"):
                for field in page.all(kind):
                    if field.get("type") in {"hidden", "radio"}:
                        continue
                    named = field.get("id") in labelled or field.get("aria-label") or field.get("id") == "speed"
                    assert named, (address, field)
            assert len(page.all("caption")) == len(page.all("table")), address
            assert all(cell.get("scope") for cell in page.all("th")), address

    def test_no_inline_script_style_or_handler(self, web: Flask, head: FlaskClient, world: World) -> None:
        for address, text in every_page(web, head, world).items():
            for tag, attributes in Page(text).tags:
                assert tag != "style", address
                assert "style" not in attributes, (address, tag)
                assert not any(name.startswith("on") for name in attributes), (address, tag)
                assert tag != "script" or attributes.get("src"), address

    def test_demonstration_is_said_on_every_page(self, web: Flask, head: FlaskClient, world: World) -> None:
        for address, text in every_page(web, head, world).items():
            assert "DÉMONSTRATION" in text, address

    def test_headers(self, web: Flask, head: FlaskClient) -> None:
        for answer in (head.get("/"), web.test_client().get("/connexion"), web.test_client().get("/nulle-part")):
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert answer.headers["Cache-Control"] == "no-store"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"

    def test_static_files_are_kept_only_under_their_hash(self, web: Flask) -> None:
        client = web.test_client()
        page = Page(client.get("/connexion").text)
        address = next(link["href"] for link in page.all("link") if link["rel"] == "stylesheet")
        assert address
        assert "immutable" in client.get(address, buffered=True).headers["Cache-Control"]
        stale = address.rpartition("=")[0] + "=000000000000"
        assert client.get(stale, buffered=True).headers["Cache-Control"] == "no-cache"
        assert client.get("/static/../__init__.py").status_code == 404
        assert client.get("/static/%2e%2e/__init__.py").status_code == 404


class TestHostileNames:
    def test_are_shown_as_text_everywhere(
        self, house: Installation, web: Flask, head: FlaskClient, world: World
    ) -> None:
        now = house.clock.now()
        with house.database.write() as session:
            session.execute(update(Camera).values(model=HOSTILE[:120]))
            session.execute(update(Camera).where(Camera.label == "CAM-07").values(label=HOSTILE[:20]))
            session.execute(update(Person).where(Person.matricule == "2214").values(last_name=HOSTILE[:80]))
            media = {"video_codec": HOSTILE, "device": HOSTILE, "width": 1, "height": 1, "audio_codec": HOSTILE}
            values = {
                "source_path": HOSTILE,
                "place": HOSTILE,
                "serial": HOSTILE,
                "media": media,
                "media_state": "read",
            }
            session.execute(update(Recording).values(**values))
            bay = session.scalars(select(Bay.number).order_by(Bay.number)).first()
            session.add(
                OffloadSession(
                    id="0" * 26, bay_number=bay, serial=HOSTILE, transport="x", state="failed", message=HOSTILE,
                    opened_at=now, updated_at=now,
                )
            )  # fmt: skip
        for address, text in every_page(web, head, world).items():
            assert "<script>alert" not in text, address
            assert "<img src=x" not in text, address
            assert "{{7*7}}" in text or "7*7" not in text, address
        state = web.test_client().get("/station/etat.json")
        assert state.headers["Content-Type"] == "application/json"
        assert state.json is not None

    def test_search_and_filters_take_anything(self, head: FlaskClient) -> None:
        for query in ("%", "_", "'", '"', "\\", "0" * 5000, "\x00", HOSTILE, "hier 25:99 32/13/2026", "🎥"):
            for name in ("q", "etat", "camera", "porteur", "du", "au", "a-faire"):
                answer = head.get("/enregistrements", query_string={name: query})
                assert answer.status_code == 200, (name, query)
                assert "<script>alert" not in answer.text
            assert head.get("/enregistrements", query_string={"apres": query}).status_code == 400
            assert head.get("/journal", query_string={"avant": query}).status_code == 400
            assert head.get("/journal", query_string={"operation": query, "personne": query}).status_code == 200

    def test_errors_tell_nothing_of_the_inside(
        self, web: Flask, head: FlaskClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(*_: object, **__: object) -> None:
            raise RuntimeError("secret of the inside /var/bwc/keys")

        monkeypatch.setattr("bwc.web.fleet.views.fleet", broken)
        web.testing = False
        answer = head.get("/cameras")
        assert answer.status_code == 500
        assert "secret" not in answer.text
        assert "RuntimeError" not in answer.text
        assert "Que faire" in answer.text


class TestJournal:
    def test_reading_it_is_in_it_before_it_is_shown(self, house: Installation, head: FlaskClient) -> None:
        page = head.get("/journal?operation=systeme&du=2026-11-01")
        assert page.status_code == 200
        with house.database.read() as session:
            (entry,) = session.scalars(select(JournalEntry).where(JournalEntry.action == "journal.read")).all()
        detail = json.loads(entry.record)["detail"]
        assert detail["operation"] == "systeme"
        assert detail["first_day"] == "2026-11-01"
        assert entry.actor_id == person(house, "2001").id

    def test_filters_by_operation_and_person(self, house: Installation, head: FlaskClient, world: World) -> None:
        consult(head, world.own)
        agent = person(house, "2107")
        assert "Consultation ouverte" in head.get("/journal?operation=consultation").text
        assert "Consultation ouverte" not in head.get("/journal?operation=collecte").text
        assert "Consultation ouverte" not in head.get(f"/journal?personne={agent.id}").text

    def test_pages_meet_without_gap_or_overlap(self, head: FlaskClient) -> None:
        for _ in range(60):
            head.get("/journal")
        first = head.get("/journal")
        numbers = [int(cell) for cell in _numbers(first.text)]
        assert numbers == list(range(numbers[0], numbers[0] - 50, -1))
        older = head.get(f"/journal?avant={numbers[-1]}")
        assert int(_numbers(older.text)[0]) == numbers[-1] - 1


class TestFleet:
    def test_return_then_issue(self, house: Installation, head: FlaskClient) -> None:
        seven, martin = camera(house, "CAM-07"), person(house, "2214")
        assert send(head, "/cameras", f"/cameras/{seven.id}/retour").status_code == 303
        assert "Caméra rendue" in head.get("/cameras").text
        assert send(head, "/cameras", f"/cameras/{seven.id}/remise", porteur=martin.id).status_code == 303
        assert "Caméra remise" in head.get("/cameras").text

    def test_refusal_is_told_in_french(self, house: Installation, head: FlaskClient) -> None:
        seven, martin = camera(house, "CAM-07"), person(house, "2214")
        send(head, "/cameras", f"/cameras/{seven.id}/remise", porteur=martin.id)
        assert "est déjà attribuée" in head.get("/cameras").text
        assert send(head, "/cameras", f"/cameras/{seven.id}/remise", porteur="").status_code == 400
        assert send(head, "/cameras", f"/cameras/{'0' * 26}/retour").status_code == 404

    def test_agent_reads_but_does_not_manage(self, web: Flask) -> None:
        agent = signed_in(web, "agent")
        assert "Noter le retour" not in agent.get("/cameras").text


def _numbers(text: str) -> list[str]:
    import re

    return [number.replace("\u202f", "") for number in re.findall(r'class="num tabular">([\d\u202f]+)<', text)]
