"""The town's CCTV centre, plugged into bwc through one entry point; bwc never imports it.

What it adds so far: nothing but this entry. Each capability (cctv, wall, deport, operations, blurring,
requisitions) comes as a folder of its own with its blueprints, tasks, commands and models.
"""

from __future__ import annotations

from flask import Flask


def integrate(app: Flask) -> None:
    """Add the centre's blueprints to the application."""
    app.extensions["integration_cpu"] = ()
