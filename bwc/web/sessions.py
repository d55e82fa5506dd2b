"""Browser sessions kept in the table `web_session`: the cookie holds a random token, the row its SHA-256.

Idle 15 minutes, 10 hours at most, a new token at sign-in, dead at once on sign-out. A visitor who is not signed in
has no row: what his forms need travels in a second, signed cookie (see bwc.web.visitors). Not responsible for who
may sign in (bwc.web.auth).
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, cast

from flask import Flask, current_app, request, session
from flask.sessions import SessionInterface, SessionMixin
from flask.wrappers import Request, Response
from sqlalchemy import delete, update
from sqlalchemy.orm import Session
from werkzeug.datastructures import CallbackDict

from bwc.db.models import WebSession
from bwc.installation import Installation
from bwc.web.visitors import Visitors

IDLE = timedelta(minutes=15)
ABSOLUTE = timedelta(hours=10)
TOUCH_EVERY = timedelta(seconds=30)  # `seen_at` is that coarse, so that a page costs no write most of the time
FORGET_AFTER = timedelta(days=1)
_CLIENT_LENGTH = 200


class ServerSession(CallbackDict[str, Any], SessionMixin):
    """One browser's session: small data for forms, and the person signed in, if any.

    Made of a live row, or of a visitor's `data` when there is none.
    """

    def __init__(
        self, token: str | None = None, row: WebSession | None = None, data: dict[str, Any] | None = None
    ) -> None:
        def changed(_self: ServerSession) -> None:
            self.modified = True

        super().__init__(dict(row.data) if row else data, cast("Callable[[Any], None]", changed))
        self.token = token if row else None
        self.person_id = row.person_id if row else None
        self.seen_at = row.seen_at if row else None
        self.ends_at = row.ends_at if row else None
        self.new = row is None
        self.modified = False
        self.rotates = False
        self.ended = False

    @property
    def token_sha256(self) -> str:
        """What the row is known by; empty before there is a row."""
        return token_digest(self.token) if self.token else ""

    def begin(self, person_id: str) -> None:
        """Sign `person_id` in under a new token; what the old token opened is closed (fixation)."""
        self.clear()
        self.person_id = person_id
        self.rotates = True
        self.ended = False

    def end(self) -> None:
        """Sign out: the row is revoked when the response leaves."""
        self.clear()
        self.person_id = None
        self.ended = True


def token_digest(token: str) -> str:
    """SHA-256 of a cookie's token, as the table keeps it."""
    return hashlib.sha256(token.encode()).hexdigest()


def current_session() -> ServerSession | None:
    """The session of the request under way."""
    found = session._get_current_object()  # type: ignore[attr-defined]
    return found if isinstance(found, ServerSession) else None


class DatabaseSessions(SessionInterface):
    """Reads and writes sessions of one installation."""

    def __init__(self, house: Installation) -> None:
        self.house = house
        self.cookie = "__Host-bwc" if house.settings.https else "bwc"
        self.visitors = Visitors(house)

    def open_session(self, app: Flask, request: Request) -> ServerSession:
        """The live session of the cookie, or a visitor's; an unknown, idle or revoked token opens nothing."""
        token = request.cookies.get(self.cookie, "")
        if 40 <= len(token) <= 50:
            with self.house.database.read() as database:
                row = database.get(WebSession, token_digest(token))
            if row is not None and _is_live(row, self.house.clock.now()):
                return ServerSession(token, row)
        return ServerSession(data=self.visitors.read(request))

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Write what changed; sets the cookie on a new token, drops it at the end. No row for a mere visitor."""
        if not isinstance(session, ServerSession):
            raise TypeError("a session this interface did not open")
        response.vary.add("Cookie")
        now = self.house.clock.now()
        if session.ended:
            self._revoke(session, now)
            response.delete_cookie(self.cookie, path="/", secure=self.house.settings.https, httponly=True)
        elif session.rotates:
            self._open(session, now)
            self._set_cookie(response, session)
            self.visitors.forget(request, response)
        elif session.token is not None:
            self._update(session, now)
        if session.person_id is None and session.modified:
            self.visitors.write(response, dict(session))

    def _open(self, session: ServerSession, now: datetime) -> None:
        token = secrets.token_urlsafe(32)
        row = WebSession(
            token_sha256=token_digest(token),
            person_id=session.person_id,
            data=dict(session),
            opened_at=now,
            seen_at=now,
            ends_at=now + ABSOLUTE,
            client=str(request.user_agent)[:_CLIENT_LENGTH],
        )
        with self.house.database.write() as database:
            if session.token is not None:
                _revoke_row(database, session.token_sha256, now)
            database.execute(delete(WebSession).where(WebSession.ends_at < now - FORGET_AFTER))
            database.add(row)
        session.token, session.rotates, session.modified = token, False, False

    def _revoke(self, session: ServerSession, now: datetime) -> None:
        if session.token is not None:
            with self.house.database.write() as database:
                _revoke_row(database, session.token_sha256, now)

    def _update(self, session: ServerSession, now: datetime) -> None:
        seen_at = session.seen_at or now
        touches = _keeps_alive() and now - seen_at >= TOUCH_EVERY
        if not (session.modified or touches):
            return
        values: dict[str, Any] = {"data": dict(session)} if session.modified else {}
        if touches:
            values["seen_at"] = now
        with self.house.database.write() as database:
            database.execute(update(WebSession).where(WebSession.token_sha256 == session.token_sha256).values(values))

    def _set_cookie(self, response: Response, session: ServerSession) -> None:
        response.set_cookie(
            self.cookie,
            session.token or "",
            path="/",
            secure=self.house.settings.https,
            httponly=True,
            samesite="Strict",
        )


def revoke_all(database: Session, person_id: str, now: datetime) -> None:
    """Close every session of a person, in the caller's transaction (disabling, change of role or password)."""
    database.execute(
        update(WebSession)
        .where(WebSession.person_id == person_id, WebSession.revoked_at.is_(None))
        .values(revoked_at=now, data={})
    )


def _is_live(row: WebSession, now: datetime) -> bool:
    if row.person_id is None or row.revoked_at is not None or now >= row.ends_at:
        return False
    return now - row.seen_at < IDLE


def _revoke_row(database: Session, token_sha256: str, now: datetime) -> None:
    database.execute(
        update(WebSession)
        .where(WebSession.token_sha256 == token_sha256)
        .values(revoked_at=now, person_id=WebSession.person_id, data={})
    )


def _keeps_alive() -> bool:
    view = current_app.view_functions.get(request.endpoint or "")
    return bool(getattr(view, "keeps_alive", True))
