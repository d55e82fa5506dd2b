"""What every answer carries: a content policy without any inline script or style, no caching, no framing.

Also refuses unsafe verbs that come from another site (Origin, Sec-Fetch-Site), before the CSRF token is looked at.
"""

from __future__ import annotations

import structlog
from flask import Flask, abort, request
from werkzeug.wrappers import Response

from bwc.web.access import SAFE_VERBS

log = structlog.get_logger()

CONTENT_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "media-src 'self'",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
PERMISSIONS_POLICY = "camera=(), microphone=(), geolocation=(), usb=(), payment=(), display-capture=()"
FIXED = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": PERMISSIONS_POLICY,
}
HSTS = "max-age=31536000; includeSubDomains"


def protect_headers(app: Flask, *, https: bool) -> None:
    """Add the headers to every answer of the application, and refuse cross-site unsafe requests."""
    app.before_request(_refuse_cross_site)

    @app.after_request
    def add(response: Response) -> Response:
        for name, value in FIXED.items():
            response.headers.setdefault(name, value)
        if https:
            response.headers["Strict-Transport-Security"] = HSTS
        if request.endpoint != "static":
            response.headers["Cache-Control"] = "no-store"
        return response


def _refuse_cross_site() -> None:
    if request.method in SAFE_VERBS:
        return
    site = request.headers.get("Sec-Fetch-Site")
    origin = request.headers.get("Origin")
    own = f"{request.scheme}://{request.host}"
    if site not in {None, "same-origin", "none"} or origin not in {None, own}:
        log.warning("cross_site_refused", origin=origin, site=site, path=request.path)
        abort(403)
