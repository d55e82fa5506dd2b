"""The fleet: inventory of cameras, who holds which, issue and return."""

from flask import Flask

from bwc.web.fleet.views import blueprint


def register(app: Flask) -> None:
    """Add the area's routes."""
    app.register_blueprint(blueprint)
