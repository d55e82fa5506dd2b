"""Identifiers: 26 characters, sortable by time of making, with 80 random bits (the ULID layout).

They name things; they are never secrets. Camera-given names are never used as identifiers or paths.
"""

from __future__ import annotations

import secrets
import time

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def new_id() -> str:
    """A fresh identifier: 48 bits of milliseconds, 80 bits of randomness, Crockford base 32."""
    value = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    return "".join(_ALPHABET[(value >> shift) & 31] for shift in range(125, -1, -5))


def is_id(text: str) -> bool:
    """Whether `text` has the form of an identifier (says nothing of its existence)."""
    return len(text) == 26 and all(letter in _ALPHABET for letter in text)
