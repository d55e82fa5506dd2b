"""The home page: what each person must act on today; the open incidents; conformity."""

from flask import Flask

from bwc.web.home.views import blueprint


def register(app: Flask) -> None:
    """Add the area's routes."""
    app.register_blueprint(blueprint)
