"""The web application: French pages over one installation, nobody let in by default.

`web_app` binds everything; areas are blueprints of their own folder. Views ask `bwc.catalogue`,
`bwc.docking.board` and `bwc.consultation`; they hold no query and no rule.
"""

from __future__ import annotations

from typing import Any

from flask import Flask
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_wtf.csrf import CSRFProtect
from werkzeug.middleware.proxy_fix import ProxyFix

from bwc.core.clock import paris_day
from bwc.installation import Installation
from bwc.rules.access import Permission
from bwc.web import auth, dock, fleet, formats, home, journal, recordings, wording
from bwc.web.access import guard, may
from bwc.web.assets import serve_assets
from bwc.web.errors import register_errors
from bwc.web.headers import protect_headers
from bwc.web.sessions import DatabaseSessions
from bwc.web.theme import theme

MAX_BODY = 64 * 1024  # forms only: no page takes a file
_LOCAL = ("localhost", "127.0.0.1", "[::1]")
_ANY_ADDRESS = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 - names that are no host name, to leave out


def web_app(house: Installation, host_names: tuple[str, ...] = ()) -> Flask:
    """The application serving `house`.

    It answers to its own address, to this machine's, and to `host_names` (the front end's public names).
    """
    app = Flask("bwc.web", static_folder=None)
    settings = house.settings
    app.extensions["bwc"] = house
    app.config.update(
        SECRET_KEY=house.keys.derive("bwc/web/csrf"),
        MAX_CONTENT_LENGTH=MAX_BODY,
        MAX_FORM_MEMORY_SIZE=MAX_BODY,
        MAX_FORM_PARTS=50,
        TRUSTED_HOSTS=sorted({*_LOCAL, *host_names, settings.host} - _ANY_ADDRESS),
        WTF_CSRF_TIME_LIMIT=None,  # a token lives as long as its session
        PREFERRED_URL_SCHEME="https" if settings.https else "http",
    )
    app.session_interface = DatabaseSessions(house)
    if settings.https:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1)  # type: ignore[method-assign]
    protect_headers(app, https=settings.https)
    guard(app)
    CSRFProtect(app)
    app.extensions["bwc.limiter"] = Limiter(get_remote_address, app=app, storage_uri="memory://")
    register_errors(app)
    serve_assets(app)
    _templates(app, house)
    for area in (auth, home, dock, recordings, journal, fleet):
        area.register(app)
    return app


def _templates(app: Flask, house: Installation) -> None:
    app.jinja_env.filters.update(formats.FILTERS)
    app.jinja_env.globals.update(
        words=wording, word=wording.word, motive_label=wording.motive_label, Permission=Permission, may=may
    )
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True

    @app.context_processor
    def always() -> dict[str, Any]:
        now = house.clock.now()
        return {"town": house.town, "now": now, "today": paris_day(now), "theme": theme()}
