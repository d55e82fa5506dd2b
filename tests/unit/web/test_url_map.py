"""The law of the URL map: nobody by default, every address declared, none appears or goes unnoticed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.routing import Rule

from bwc.rules.access import Permission, Role, grants
from bwc.web.access import permission_of
from tests.browser.clients import consult, signed_in
from tests.browser.world import LOGINS, World

SNAPSHOT = Path(__file__).with_name("routes.txt")
KEBAB = re.compile(r"(/|(/([a-z0-9]+(-[a-z0-9]+)*(\.json)?|<[a-z]+(\([^)]*\))?:[a-z_]+>))+)")


def rules(app: Flask) -> list[Rule]:
    return sorted(app.url_map.iter_rules(), key=lambda rule: (rule.rule, sorted(rule.methods or ())))


def verbs(rule: Rule) -> list[str]:
    return sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})


@pytest.fixture(scope="module")
def clients(shared_app: Flask) -> dict[str, FlaskClient]:
    return {login: signed_in(shared_app, login) for login in LOGINS}


@pytest.fixture(scope="module")
def addresses(shared_app: Flask, shared_world: World, clients: dict[str, FlaskClient]) -> dict[str, str]:
    """A value for each parameter of the map."""
    opened = consult(clients["porteur"], shared_world.own)
    consultation = opened.headers["Location"].rpartition("/")[2]
    return {
        "recording_id": shared_world.own,
        "consultation_id": consultation,
        "camera_id": "0" * 26,
        "kind": "original",
        "filename": "css/app.css",
    }


def requests(app: Flask, values: dict[str, str]) -> Iterator[tuple[str, str, Permission]]:
    for rule in rules(app):
        address = re.sub(r"<(?:[^:>]+:)?([a-z_]+)>", lambda match: values[match[1]], rule.rule)
        needed = permission_of(app.view_functions[rule.endpoint])
        assert needed is not None
        for verb in verbs(rule):
            yield verb, address, needed


def test_every_route_declares_a_permission(shared_app: Flask) -> None:
    bare = [rule.rule for rule in rules(shared_app) if permission_of(shared_app.view_functions[rule.endpoint]) is None]
    assert not bare, f"declare @permission(Permission.…) under the route decorator of {bare}"


def test_paths_are_kebab_case_and_parameters_have_converters(shared_app: Flask) -> None:
    wrong = [rule.rule for rule in rules(shared_app) if not KEBAB.fullmatch(rule.rule)]
    assert not wrong, f"use kebab-case segments and <converter:parameter> in {wrong}"


def test_reading_and_acting_are_apart(shared_app: Flask) -> None:
    both = [rule.rule for rule in rules(shared_app) if {"GET", "POST"} <= set(rule.methods or ())]
    assert not both, f"give the form's GET and its POST a view each: {both}"


def test_no_route_comes_or_goes_unnoticed(shared_app: Flask) -> None:
    lines = [
        f"{verb:5} {rule.rule}  {permission_of(shared_app.view_functions[rule.endpoint])}  {rule.endpoint}"
        for rule in rules(shared_app)
        for verb in verbs(rule)
    ]
    assert SNAPSHOT.read_text("utf-8").splitlines() == lines, "if meant, write the new map to tests/unit/web/routes.txt"


def test_nobody_signed_in_sees_public_pages_only(shared_app: Flask, addresses: dict[str, str]) -> None:
    for verb, address, needed in requests(shared_app, addresses):
        answer = shared_app.test_client().open(address, method=verb, buffered=True)
        if needed in {Permission.PUBLIC, Permission.DEMO_CONTROL}:
            assert answer.status_code in {200, 400}, (verb, address)  # 400: a form without its token
        elif verb == "GET":
            assert answer.status_code == 302, (verb, address)
            assert answer.headers["Location"].startswith("/connexion"), address
        else:
            assert answer.status_code == 401, (verb, address)


@pytest.mark.parametrize("login", LOGINS)
def test_each_role_is_let_in_where_its_permission_says(
    shared_app: Flask, clients: dict[str, FlaskClient], addresses: dict[str, str], login: str
) -> None:
    allowed = grants(Role(LOGINS[login]))
    for verb, address, needed in requests(shared_app, addresses):
        answer = clients[login].open(address, method=verb, buffered=True)
        if needed not in allowed:
            assert answer.status_code == 403, (login, verb, address)
        elif verb == "POST":
            assert answer.status_code == 400, (login, verb, address)  # let in, then stopped for want of a token
        elif "/consultations/" in address and login != "porteur":
            assert answer.status_code == 404, (login, verb, address)
        else:
            assert answer.status_code in {200, 302}, (login, verb, address)


def test_an_endpoint_without_permission_is_closed(shared_app: Flask) -> None:
    """The guard itself, on a view that forgot to declare."""
    app = Flask("forgetful")
    app.extensions["bwc"] = shared_app.extensions["bwc"]
    app.session_interface = shared_app.session_interface
    from bwc.web.access import guard

    guard(app)
    app.add_url_rule("/oubli", "forgotten", lambda: "secret")
    answer = app.test_client().get("/oubli")
    assert answer.status_code == 403
    assert "secret" not in answer.text
