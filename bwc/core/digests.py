"""Digests and canonical bytes: SHA-256 values with their algorithm's name, and JSON that has one form only."""

from __future__ import annotations

import hashlib
import json
from typing import Any

ALGORITHM = "sha256"


def sha256(data: bytes) -> bytes:
    """SHA-256 of `data`, 32 bytes."""
    return hashlib.sha256(data).digest()


def canonical_json(value: Any) -> bytes:
    """The one encoding of `value` that is hashed: sorted keys, no spaces, UTF-8, no NaN (RFC 8785's profile
    for the strings, integers, booleans, nulls, lists and objects this product writes; floats are refused).

    Raises TypeError on a float (NaN too), a key that is not a string or an unknown type, ValueError on a lone
    surrogate.
    """
    _refuse_floats(value)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _refuse_floats(value: Any) -> None:
    if isinstance(value, float):
        raise TypeError("floats have no canonical form here; use integers or strings")
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError("canonical JSON keys are strings")
            _refuse_floats(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _refuse_floats(item)
