"""Static files: read once, served from memory at an address that carries their hash, to be kept for a year."""

from __future__ import annotations

import hashlib
import mimetypes
from dataclasses import dataclass
from pathlib import Path

from flask import Flask, abort, request
from werkzeug.wrappers import Response

from bwc.rules.access import Permission
from bwc.web.access import permission

FOLDER = Path(__file__).parent / "static"
FOR_EVER = "public, max-age=31536000, immutable"
_HASH_LENGTH = 12
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


@dataclass(frozen=True)
class Asset:
    """One file: its bytes, their hash, its media type."""

    content: bytes
    hash: str
    media_type: str


def serve_assets(app: Flask) -> None:
    """Serve the static folder at /static and give templates `asset(name)`."""
    assets = {path.relative_to(FOLDER).as_posix(): _read(path) for path in FOLDER.rglob("*") if path.is_file()}

    def asset(name: str) -> str:
        """Address of a static file with its hash; KeyError for a file that is not there."""
        return f"/static/{name}?v={assets[name].hash}"  # no url_for: error pages of unroutable requests use it too

    @permission(Permission.PUBLIC)
    def static(filename: str) -> Response:
        found = assets.get(filename) or abort(404)
        answer = Response(found.content, mimetype=found.media_type)
        answer.headers["Cache-Control"] = FOR_EVER if request.args.get("v") == found.hash else "no-cache"
        answer.set_etag(found.hash)
        return answer.make_conditional(request)

    app.add_url_rule("/static/<path:filename>", "static", static, methods=["GET"])
    app.jinja_env.globals["asset"] = asset


def _read(path: Path) -> Asset:
    content = path.read_bytes()
    media_type = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return Asset(content, hashlib.sha256(content).hexdigest()[:_HASH_LENGTH], media_type)
