"""The journal of operations: reading it is itself an entry."""

from flask import Flask

from bwc.web.journal.views import blueprint


def register(app: Flask) -> None:
    """Add the area's routes."""
    app.register_blueprint(blueprint)
