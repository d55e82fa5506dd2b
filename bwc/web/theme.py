"""Light or dark: the system's choice unless the reader made one, kept in a cookie that says nothing else."""

from __future__ import annotations

from flask import request
from werkzeug.wrappers import Response

COOKIE = "bwc_theme"
CHOICES = ("auto", "light", "dark")
YEAR_S = 31_536_000


def theme() -> str:
    """The reader's choice, `auto` when he made none."""
    chosen = request.cookies.get(COOKIE, "")
    return chosen if chosen in CHOICES else "auto"


def keep_theme(response: Response, chosen: str, *, https: bool) -> None:
    """Remember the choice in this browser for a year."""
    response.set_cookie(COOKIE, chosen, max_age=YEAR_S, path="/", secure=https, httponly=True, samesite="Strict")
