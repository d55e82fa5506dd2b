"""Who may knock at which route: one declared permission a view, nobody by default (design §4.6, BWC-ACC-1).

A permission is the right to knock; the rule that decides on one recording is asked by the act itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import structlog
from flask import Flask, abort, current_app, g, redirect, request, url_for
from flask_login import LoginManager, current_user
from werkzeug.wrappers import Response

from bwc.consultation import viewer_of
from bwc.db.models import Person
from bwc.installation import Installation
from bwc.rules.access import Permission, Role, Viewer, grants
from bwc.web.sessions import current_session

log = structlog.get_logger()
View = TypeVar("View", bound=Callable[..., Any])
SAFE_VERBS = frozenset({"GET", "HEAD", "OPTIONS"})


def permission(needed: Permission, *, keeps_alive: bool = True) -> Callable[[View], View]:
    """Declare what a view asks for; `keeps_alive=False` for polled views, which must not feed the idle delay."""

    def declare(view: View) -> View:
        view.permission = needed  # type: ignore[attr-defined]
        view.keeps_alive = keeps_alive  # type: ignore[attr-defined]
        return view

    return declare


def permission_of(view: Callable[..., Any] | None) -> Permission | None:
    """The permission a view declares, None when it declares none (it is then closed to everybody)."""
    return cast("Permission | None", getattr(view, "permission", None))


def the_house() -> Installation:
    """The installation this application serves."""
    return cast("Installation", current_app.extensions["bwc"])


@dataclass(frozen=True)
class SignedIn:
    """The person of a live session, in the form Flask-Login hands to templates."""

    person: Person
    is_authenticated: bool = True
    is_active: bool = True
    is_anonymous: bool = False

    def get_id(self) -> str:
        """Person's id."""
        return self.person.id

    @property
    def role(self) -> Role:
        """The person's role."""
        return Role(self.person.role)

    def may(self, needed: str) -> bool:
        """Whether the role holds the permission of that value (`journal:read`)."""
        return Permission(needed) in grants(self.role)


def person() -> Person:
    """The signed-in person; 401 when nobody is (a public view must not ask)."""
    if not current_user.is_authenticated:
        abort(401)
    return cast("SignedIn", current_user).person


def viewer() -> Viewer:
    """The signed-in person as the access rules know him."""
    return viewer_of(person())


def may(needed: Permission) -> bool:
    """Whether somebody is signed in whose role holds the permission."""
    return bool(current_user.is_authenticated) and needed in grants(current_user.role)


def guard(app: Flask) -> None:
    """Close every endpoint but to those its declared permission lets in. Call before CSRF is set up."""
    manager = LoginManager()
    manager.session_protection = None
    manager.user_loader(lambda _user_id: None)  # identity lies in our session row only, never in a cookie
    manager.request_loader(lambda _request: _load())
    manager.init_app(app)
    app.before_request(_enforce)


def _load() -> SignedIn | None:
    session = current_session()
    if session is None or session.person_id is None:
        return None
    with the_house().database.read() as database:
        found = database.get(Person, session.person_id)
    if found is None or not found.active:
        session.end()  # the row is revoked when this request ends
        return None
    return SignedIn(found)


def _enforce() -> Response | None:
    if request.endpoint is None:
        return None  # no such route: Flask answers 404 or 405
    needed = permission_of(current_app.view_functions.get(request.endpoint))
    if needed is None:
        log.error("undeclared_permission", endpoint=request.endpoint)
        abort(403)
    g.permission = needed
    if needed is Permission.PUBLIC:
        return None
    if needed is Permission.DEMO_CONTROL:
        return None if the_house().town.demonstration else abort(404)
    if not current_user.is_authenticated:
        return _invite()
    if needed not in grants(current_user.role):
        log.warning("permission_refused", endpoint=request.endpoint, person=current_user.get_id(), permission=needed)
        abort(403)
    return None


def _invite() -> Response:
    """To the sign-in page for somebody who navigates, 401 for a script, an image or a form."""
    if request.method not in {"GET", "HEAD"} or request.headers.get("Sec-Fetch-Dest", "document") != "document":
        abort(401)
    wanted = request.full_path.rstrip("?") if request.path != "/" else None
    return redirect(url_for("auth.sign_in", next=wanted), 302)
