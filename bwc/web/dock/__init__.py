"""The dock board: a kiosk read from two metres, and in a demonstration the hand that docks cameras."""

from flask import Flask

from bwc.web.dock.views import blueprint


def register(app: Flask) -> None:
    """Add the area's routes."""
    app.register_blueprint(blueprint)
