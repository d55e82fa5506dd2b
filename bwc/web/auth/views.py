"""Pages of signing in and out, and the choice of a theme."""

from __future__ import annotations

from typing import cast

from flask import Blueprint, abort, current_app, redirect, render_template, request, url_for
from flask_login import current_user
from werkzeug.wrappers import Response

from bwc.rules.access import Permission
from bwc.web.access import permission, person, the_house
from bwc.web.auth.accounts import record_sign_out, sign_in
from bwc.web.auth.locks import AddressLocks
from bwc.web.paths import safe_next
from bwc.web.sessions import current_session
from bwc.web.theme import CHOICES, keep_theme

SIGN_INS_BY_ADDRESS = "30 per minute"
REFUSED = "Identifiant ou mot de passe refusé."

blueprint = Blueprint("auth", __name__, template_folder="templates")


@blueprint.get("/connexion", endpoint="sign_in")
@permission(Permission.PUBLIC)
def sign_in_page() -> str | Response:
    """The form, or straight on for who is signed in."""
    wanted = safe_next(request.args.get("next"), url_for("home.home"))
    if current_user.is_authenticated:
        return redirect(wanted)
    return render_template("auth/sign_in.html", wanted=wanted, login="", refused=None)


@blueprint.post("/connexion")
@permission(Permission.PUBLIC)
def sign_in_submit() -> Response | tuple[str, int]:
    """Open a session under a new token, or show the form again."""
    wanted = safe_next(request.form.get("next"), url_for("home.home"))
    login = request.form.get("login", "").strip()[:60]
    found = sign_in(the_house(), _locks(), login, request.form.get("password", ""), request.remote_addr or "")
    session = current_session()
    if found is None or session is None:
        page = render_template("auth/sign_in.html", wanted=wanted, login=login, refused=REFUSED)
        return page, 401
    session.begin(found.id)
    return redirect(wanted, 303)


def _locks() -> AddressLocks:
    return cast("AddressLocks", current_app.extensions["bwc.locks"])


@blueprint.post("/deconnexion")
@permission(Permission.SIGNED_IN)
def sign_out() -> Response:
    """Close the session on the server and in the browser."""
    record_sign_out(the_house(), person(), request.remote_addr or "")
    session = current_session()
    if session is not None:
        session.end()
    answer = redirect(url_for("auth.sign_in"), 303)
    answer.headers["Clear-Site-Data"] = '"cache"'
    return answer


@blueprint.post("/apparence")
@permission(Permission.PUBLIC)
def appearance() -> Response:
    """Keep the chosen theme in this browser."""
    chosen = request.form.get("theme", "")
    if chosen not in CHOICES:
        abort(400)
    answer = redirect(safe_next(request.form.get("next"), url_for("home.home")), 303)
    keep_theme(answer, chosen, https=the_house().settings.https)
    return answer
