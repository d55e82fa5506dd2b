"""Static files: an address that carries the content's hash, so that a browser may keep them for a year."""

from __future__ import annotations

import hashlib
from pathlib import Path

from flask import Flask, request, send_from_directory
from werkzeug.wrappers import Response

from bwc.rules.access import Permission
from bwc.web.access import permission

FOLDER = Path(__file__).parent / "static"
_HASH_LENGTH = 12


def serve_assets(app: Flask) -> None:
    """Serve the static folder at /static and give templates `asset(name)`."""
    hashes = {
        path.relative_to(FOLDER).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()[:_HASH_LENGTH]
        for path in FOLDER.rglob("*")
        if path.is_file()
    }

    def asset(name: str) -> str:
        """Address of a static file with its hash; KeyError for a file that is not there."""
        return f"/static/{name}?v={hashes[name]}"  # no url_for: error pages of unroutable requests use it too

    @permission(Permission.PUBLIC)
    def static(filename: str) -> Response:
        answer = send_from_directory(FOLDER, filename)
        exact = hashes.get(filename) is not None and request.args.get("v") == hashes[filename]
        answer.headers["Cache-Control"] = "public, max-age=31536000, immutable" if exact else "no-cache"
        return answer

    app.add_url_rule("/static/<path:filename>", "static", static, methods=["GET"])
    app.jinja_env.globals["asset"] = asset
