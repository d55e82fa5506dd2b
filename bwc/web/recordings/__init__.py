"""Recordings: the list, one recording with its custody, the consultation and its images."""

from flask import Flask

from bwc.web.recordings.consultations import blueprint as consultations
from bwc.web.recordings.views import blueprint as recordings


def register(app: Flask) -> None:
    """Add the area's routes."""
    app.register_blueprint(recordings)
    app.register_blueprint(consultations)
