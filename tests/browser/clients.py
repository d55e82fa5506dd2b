"""Signing in and sending forms with Flask's test client, as a browser would."""

from __future__ import annotations

import re
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.browser.world import PASSWORD

_TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')


def token_of(page: TestResponse) -> str:
    """The CSRF token of the page's first form."""
    found = _TOKEN.search(page.text)
    assert found, page.text[:500]
    return found[1]


def sign_in(client: FlaskClient, login: str, password: str = PASSWORD, **form: str) -> TestResponse:
    """Send the sign-in form."""
    token = token_of(client.get("/connexion"))
    return client.post("/connexion", data={"login": login, "password": password, "csrf_token": token, **form})


def signed_in(app: Flask, login: str) -> FlaskClient:
    """A browser in which that person is signed in."""
    client = app.test_client()
    answer = sign_in(client, login)
    assert answer.status_code == 303, answer.text
    return client


def send(client: FlaskClient, page: str, address: str, **form: Any) -> TestResponse:
    """Open `page`, then send a form of it to `address`."""
    token = token_of(client.get(page))
    return client.post(address, data={"csrf_token": token, **form})


def consult(client: FlaskClient, recording_id: str, motive: str = "compte_rendu", **form: str) -> TestResponse:
    """Declare a motive for a recording."""
    page = f"/enregistrements/{recording_id}"
    return send(client, page, f"{page}/consultation", motive=motive, **form)
