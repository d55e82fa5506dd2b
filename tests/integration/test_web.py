"""Signing in, sessions, forms: what a browser may keep, for how long, and what forged requests get."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select, update

from bwc.core.clock import SettableClock
from bwc.db.models import JournalEntry, Person, WebSession
from bwc.installation import Installation
from bwc.settings import Settings
from bwc.web import web_app
from bwc.web.auth import accounts, passwords
from bwc.web.auth.locks import AddressLocks
from bwc.web.sessions import ABSOLUTE, IDLE, revoke_all, token_digest
from tests.browser.clients import send, sign_in, signed_in, token_of
from tests.browser.world import PASSWORD, open_accounts
from tests.factories import person


@pytest.fixture
def web(house: Installation) -> Flask:
    open_accounts(house)
    made = web_app(house)
    made.testing = True
    return made


@pytest.fixture
def client(web: Flask) -> FlaskClient:
    return web.test_client()


def cookie(client: FlaskClient, name: str = "bwc") -> str:
    found = client.get_cookie(name)
    assert found is not None
    return found.value


def actions(house: Installation, action: str) -> int:
    with house.database.read() as session:
        query = select(func.count()).select_from(JournalEntry).where(JournalEntry.action == action)
        return session.scalar(query) or 0


def refusals(house: Installation) -> list[str]:
    with house.database.read() as session:
        query = select(JournalEntry.record).where(JournalEntry.action == "session.refused").order_by(JournalEntry.seq)
        return list(session.scalars(query))


def is_in(client: FlaskClient) -> bool:
    answer = client.get("/")
    assert answer.status_code in {200, 302}, answer.text
    return answer.status_code == 200


class TestSigningIn:
    def test_opens_a_session_and_says_so_in_the_journal(self, house: Installation, client: FlaskClient) -> None:
        answer = sign_in(client, "responsable")
        assert answer.status_code == 303
        assert answer.headers["Location"] == "/"
        assert is_in(client)
        assert actions(house, "session.opened") == 1

    def test_cookie_is_out_of_reach_of_scripts_and_other_sites(self, client: FlaskClient) -> None:
        header = sign_in(client, "responsable").headers["Set-Cookie"]
        assert "HttpOnly" in header
        assert "SameSite=Strict" in header
        assert "Path=/" in header

    def test_table_holds_no_token(self, house: Installation, client: FlaskClient) -> None:
        sign_in(client, "responsable")
        with house.database.read() as session:
            kept = set(session.scalars(select(WebSession.token_sha256)))
        assert token_digest(cookie(client)) in kept
        assert cookie(client) not in kept

    def test_behind_tls_the_cookie_is_host_bound(self, house: Installation, web: Flask) -> None:
        secure = Settings(**{**house.settings.model_dump(), "https": True})
        object.__setattr__(house, "settings", secure)
        client = web_app(house).test_client()
        base = "https://localhost"
        page = client.get("/connexion", base_url=base)
        form = {"login": "responsable", "password": PASSWORD, "csrf_token": token_of(page)}
        answer = client.post("/connexion", data=form, base_url=base, headers={"Referer": f"{base}/connexion"})
        assert answer.headers["Set-Cookie"].startswith("__Host-bwc=")
        assert "Secure" in answer.headers["Set-Cookie"]
        assert "max-age" in answer.headers["Strict-Transport-Security"]

    @pytest.mark.parametrize("wanted", ["//mal.example/", "https://mal.example/", "/\\mal.example", "javascript:x"])
    def test_never_leads_off_the_site(self, client: FlaskClient, wanted: str) -> None:
        assert sign_in(client, "responsable", next=wanted).headers["Location"] == "/"

    def test_leads_on_to_the_page_first_asked(self, client: FlaskClient) -> None:
        invited = client.get("/journal?operation=systeme").headers["Location"]
        assert invited == "/connexion?next=/journal?operation%3Dsysteme"
        assert sign_in(client, "responsable", next="/journal?operation=systeme").headers["Location"] == (
            "/journal?operation=systeme"
        )


class TestRefusals:
    def test_unknown_person_and_wrong_password_read_the_same(self, client: FlaskClient) -> None:
        unknown, wrong = sign_in(client, "personne"), sign_in(client, "responsable", "mauvais")
        assert unknown.status_code == wrong.status_code == 401
        strip = [page.text.replace("personne", "X").replace("responsable", "X") for page in (unknown, wrong)]
        assert strip[0].count("refusé") == strip[1].count("refusé") == 1

    def test_unknown_person_costs_a_verification_too(
        self, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[str | None] = []
        real = passwords.verify_password

        def spy(kept: str | None, password: str) -> bool:
            seen.append(kept)
            return real(kept, password)

        monkeypatch.setattr(accounts, "verify_password", spy)
        sign_in(client, "personne")
        assert seen == [None]

    def test_are_in_the_journal_without_what_was_typed(self, house: Installation, client: FlaskClient) -> None:
        sign_in(client, "un mot de passe tapé à la place", "secret-tapé")
        (record,) = refusals(house)
        assert '"reason":"unknown"' in record
        assert "tapé" not in record

    def test_five_failures_shut_the_address_out_for_growing_minutes(
        self, house: Installation, client: FlaskClient, clock: SettableClock
    ) -> None:
        for _ in range(5):
            assert sign_in(client, "responsable", "mauvais").status_code == 401
        assert sign_in(client, "responsable").status_code == 401, "right password, shut account"
        clock.advance(timedelta(seconds=61))
        assert sign_in(client, "responsable", "mauvais").status_code == 401
        clock.advance(timedelta(seconds=61))
        assert sign_in(client, "responsable").status_code == 401, "two minutes the second time"
        clock.advance(timedelta(seconds=61))
        assert sign_in(client, "responsable").status_code == 303
        assert person(house, "2001").failed_sign_ins == 0

    def test_knocking_on_a_shut_account_does_not_keep_it_shut(self, client: FlaskClient, clock: SettableClock) -> None:
        for _ in range(12):
            sign_in(client, "responsable", "mauvais")
        clock.advance(timedelta(seconds=61))
        assert sign_in(client, "responsable").status_code == 303

    def test_one_address_that_fails_shuts_out_itself_alone(
        self, house: Installation, web: Flask, clock: SettableClock
    ) -> None:
        """All night one address tries as often as it may; from another the right password is taken each time."""
        locks = AddressLocks()
        for minute in range(240):
            accounts.sign_in(house, locks, "responsable", "mauvais", "203.0.113.9")
            if minute % 20 == 0:
                assert accounts.sign_in(house, locks, "responsable", PASSWORD, f"192.0.2.{minute}") is not None
            clock.advance(timedelta(minutes=1))
        assert sum('"reason":"password"' in record for record in refusals(house)) < 30

    def test_many_addresses_are_slowed_but_not_at_the_persons_own_post(
        self, house: Installation, web: Flask, clock: SettableClock
    ) -> None:
        assert accounts.sign_in(house, AddressLocks(), "responsable", PASSWORD, "192.0.2.1") is not None
        for number in range(100):
            accounts.sign_in(house, AddressLocks(), "responsable", "mauvais", f"203.0.113.{number}")
        assert sum('"reason":"password"' in record for record in refusals(house)) == 21
        after_restart = AddressLocks()
        assert accounts.sign_in(house, after_restart, "responsable", PASSWORD, "198.51.100.1") is None, "unknown post"
        assert accounts.sign_in(house, after_restart, "responsable", PASSWORD, "192.0.2.1") is not None, "his own"
        accounts.sign_in(house, after_restart, "responsable", "mauvais", "198.51.100.2")
        assert sum('"reason":"password"' in record for record in refusals(house)) == 21, "still slow"
        clock.advance(timedelta(minutes=1))
        assert accounts.sign_in(house, after_restart, "responsable", PASSWORD, "198.51.100.1") is not None

    def test_unknown_person_is_shut_out_alike(self, house: Installation, web: Flask) -> None:
        locks = AddressLocks()
        for _ in range(6):
            for login in ("personne", "responsable"):
                assert accounts.sign_in(house, locks, login, "mauvais", "203.0.113.9") is None
        reasons = [json.loads(record)["detail"]["reason"] for record in refusals(house)]
        assert reasons[0::2] == ["unknown"] * 5 + ["locked"]
        assert reasons[1::2] == ["password"] * 5 + ["locked"]

    def test_one_address_cannot_try_without_end(self, client: FlaskClient) -> None:
        token = token_of(client.get("/connexion"))
        form = {"login": "x" * 61, "password": "", "csrf_token": token}
        statuses = {client.post("/connexion", data=form).status_code for _ in range(32)}
        assert 429 in statuses

    def test_disabled_person_is_refused(self, house: Installation, client: FlaskClient) -> None:
        with house.database.write() as session:
            session.execute(update(Person).where(Person.login == "agent").values(active=False))
        assert sign_in(client, "agent").status_code == 401


class TestSessionsEnd:
    def test_a_token_planted_before_signing_in_opens_nothing(self, web: Flask, client: FlaskClient) -> None:
        client.get("/connexion")
        planted, token = cookie(client, "bwc_form"), token_of(client.get("/connexion"))
        sign_in(client, "responsable")
        assert client.get_cookie("bwc_form") is None
        thief = web.test_client()
        thief.set_cookie("bwc", planted)
        thief.set_cookie("bwc_form", planted)
        assert not is_in(thief)
        client.set_cookie("bwc_form", planted)
        assert client.post("/deconnexion", data={"csrf_token": token}).status_code == 400, "its form token is void"
        assert is_in(client)

    def test_a_token_of_ones_own_making_opens_nothing(self, client: FlaskClient) -> None:
        client.set_cookie("bwc", "A" * 43)
        assert not is_in(client)
        sign_in(client, "responsable")
        assert cookie(client) != "A" * 43

    def test_signing_out_kills_it_on_the_server(self, house: Installation, web: Flask) -> None:
        client = signed_in(web, "responsable")
        stolen = cookie(client)
        assert send(client, "/", "/deconnexion").status_code == 303
        assert client.get_cookie("bwc") is None
        thief = web.test_client()
        thief.set_cookie("bwc", stolen)
        assert not is_in(thief)
        assert actions(house, "session.closed") == 1

    def test_fifteen_idle_minutes(self, web: Flask, clock: SettableClock) -> None:
        client = signed_in(web, "responsable")
        clock.advance(IDLE - timedelta(seconds=1))
        assert is_in(client)
        clock.advance(IDLE - timedelta(seconds=1))
        assert is_in(client), "use put it off"
        clock.advance(IDLE)
        assert not is_in(client)

    def test_a_board_left_open_does_not_keep_a_session_alive(self, web: Flask, clock: SettableClock) -> None:
        client = signed_in(web, "responsable")
        for _ in range(4):
            clock.advance(IDLE / 4)
            assert client.get("/station/etat.json").status_code == 200
        assert not is_in(client)

    def test_ten_hours_at_most(self, web: Flask, clock: SettableClock) -> None:
        client = signed_in(web, "responsable")
        for _ in range(int(ABSOLUTE / timedelta(minutes=10)) - 1):
            clock.advance(timedelta(minutes=10))
            assert is_in(client)
        clock.advance(timedelta(minutes=10))
        assert not is_in(client)

    def test_disabling_a_person_ends_his_sessions_at_once(self, house: Installation, web: Flask) -> None:
        client = signed_in(web, "agent")
        with house.database.write() as session:
            session.execute(update(Person).where(Person.login == "agent").values(active=False))
        assert not is_in(client)
        with house.database.write() as session:
            session.execute(update(Person).where(Person.login == "agent").values(active=True))
        assert not is_in(client), "the old session stays dead when he comes back"

    def test_all_of_a_persons_sessions_can_be_closed(
        self, house: Installation, web: Flask, clock: SettableClock
    ) -> None:
        clients = [signed_in(web, "responsable") for _ in range(2)]
        with house.database.write() as session:
            revoke_all(session, person(house, "2001").id, clock.now())
        assert not any(is_in(client) for client in clients)

    def test_old_rows_are_forgotten(self, house: Installation, web: Flask, clock: SettableClock) -> None:
        signed_in(web, "responsable")
        clock.advance(timedelta(days=2))
        signed_in(web, "agent")
        with house.database.read() as session:
            assert session.scalar(select(func.count()).select_from(WebSession)) == 1  # agent's


class TestVisitors:
    """Who is not signed in writes nothing here, and cannot make himself a form token."""

    def test_visits_and_refused_forms_write_no_row(self, house: Installation, web: Flask) -> None:
        for address in ("/connexion", "/station", "/", "/nulle-part"):
            web.test_client().get(address)
        assert sign_in(web.test_client(), "responsable", "mauvais").status_code == 401
        assert send(web.test_client(), "/connexion", "/apparence", theme="dark").status_code == 303
        with house.database.read() as session:
            assert session.scalar(select(func.count()).select_from(WebSession)) == 0

    def test_cookie_is_out_of_reach_of_scripts_and_other_sites(self, client: FlaskClient) -> None:
        header = client.get("/connexion").headers["Set-Cookie"]
        assert header.startswith("bwc_form=")
        assert "HttpOnly" in header
        assert "SameSite=Strict" in header
        assert f"Max-Age={2 * 3600}" in header

    @pytest.mark.parametrize("forged", ["", "x", "é", "e30.x", "A" * 3000, "bnVsbA.AAAA"])
    def test_forged_cookie_opens_no_form(self, client: FlaskClient, forged: str) -> None:
        token = token_of(client.get("/connexion"))
        client.set_cookie("bwc_form", forged)
        form = {"login": "responsable", "password": PASSWORD, "csrf_token": token}
        assert client.post("/connexion", data=form).status_code == 400
        assert sign_in(client, "responsable").status_code == 303

    def test_form_of_another_visitor(self, web: Flask, client: FlaskClient) -> None:
        client.get("/connexion")
        token = token_of(web.test_client().get("/connexion"))
        form = {"login": "responsable", "password": PASSWORD, "csrf_token": token}
        assert client.post("/connexion", data=form).status_code == 400

    def test_form_left_open_for_hours_is_stale(self, client: FlaskClient, clock: SettableClock) -> None:
        form = {"login": "responsable", "password": PASSWORD, "csrf_token": token_of(client.get("/connexion"))}
        clock.advance(timedelta(hours=2))
        assert client.post("/connexion", data=form).status_code == 400
        assert sign_in(client, "responsable").status_code == 303

    def test_row_of_nobody_opens_nothing(self, house: Installation, client: FlaskClient, clock: SettableClock) -> None:
        now = clock.now()
        with house.database.write() as session:
            row = WebSession(token_sha256=token_digest("B" * 43), data={}, opened_at=now, seen_at=now)
            row.ends_at = now + ABSOLUTE
            session.add(row)
        client.set_cookie("bwc", "B" * 43)
        assert not is_in(client)


class TestForgedRequests:
    def test_form_without_token(self, web: Flask) -> None:
        assert signed_in(web, "responsable").post("/deconnexion").status_code == 400

    def test_form_with_the_token_of_another_session(self, web: Flask) -> None:
        other = token_of(signed_in(web, "agent").get("/"))
        client = signed_in(web, "responsable")
        assert client.post("/deconnexion", data={"csrf_token": other}).status_code == 400
        assert is_in(client)

    def test_acts_do_not_answer_to_get(self, web: Flask) -> None:
        assert signed_in(web, "responsable").get("/deconnexion").status_code == 405

    @pytest.mark.parametrize(
        "headers", [{"Origin": "https://mal.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}]
    )
    def test_form_sent_by_another_site(self, web: Flask, headers: dict[str, str]) -> None:
        client = signed_in(web, "responsable")
        token = token_of(client.get("/"))
        answer = client.post("/deconnexion", data={"csrf_token": token}, headers=headers)
        assert answer.status_code == 403
        assert is_in(client)

    def test_foreign_host_name(self, client: FlaskClient) -> None:
        answer = client.get("/connexion", headers={"Host": "mal.example"})
        assert answer.status_code == 400
        assert "mal.example" not in answer.text

    def test_body_beyond_the_limit(self, client: FlaskClient) -> None:
        answer = client.post("/connexion", data={"login": "x" * 70_000})
        assert answer.status_code == 413
        assert "trop volumineux" in answer.text
