"""Signing in and out: passwords, account locks, and what the journal keeps of it."""

from typing import Any

from flask import Flask
from flask_limiter import Limiter

from bwc.web.auth.locks import AddressLocks
from bwc.web.auth.views import SIGN_INS_BY_ADDRESS, blueprint


def register(app: Flask) -> None:
    """Add the area's routes; sign-ins are counted by address."""
    app.register_blueprint(blueprint)
    app.extensions["bwc.locks"] = AddressLocks()
    limiter: Limiter = app.extensions["bwc.limiter"]
    endpoint = "auth.sign_in_submit"
    limited: Any = limiter.limit(SIGN_INS_BY_ADDRESS)(app.view_functions[endpoint])
    app.view_functions[endpoint] = limited
