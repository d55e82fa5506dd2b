"""Composition root: binds an installation to the web application. The only module that knows all the others."""

from __future__ import annotations

from flask import Flask

from bwc.installation import open_installation
from bwc.logs import configure_logs
from bwc.settings import Settings
from bwc.web import web_app


def create_app(settings: Settings | None = None) -> Flask:
    """The web application of the installation `settings` (by default the environment) names. Raises ConfigError."""
    configure_logs()
    house = open_installation(settings or Settings())
    return web_app(house, tuple(name.strip() for name in house.settings.host_names.split(",") if name.strip()))
