"""Where to go next: only to this application's own pages."""

from __future__ import annotations

from urllib.parse import urlsplit

_LONGEST = 500


def safe_next(wanted: str | None, otherwise: str) -> str:
    """`wanted` when it is a path of this site, else `otherwise`.

    Refuses other hosts, schemes, `//host`, backslashes and control characters, which browsers read as one.
    """
    if not wanted or len(wanted) > _LONGEST or not wanted.startswith("/") or wanted.startswith("//"):
        return otherwise
    if "\\" in wanted or any(ord(letter) < 33 for letter in wanted):
        return otherwise
    try:
        parts = urlsplit(wanted)
    except ValueError:
        return otherwise
    return wanted if not parts.scheme and not parts.netloc else otherwise
