"""Passwords: Argon2id, bounded in memory whatever the number of people signing in at once."""

from __future__ import annotations

import threading
from functools import lru_cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from bwc.core.errors import StorageError

MEMORY_KIB = 19 * 1024
AT_ONCE = 4
PATIENCE_S = 15.0
LONGEST = 256

_hasher = PasswordHasher(time_cost=2, memory_cost=MEMORY_KIB, parallelism=1)
_places = threading.BoundedSemaphore(AT_ONCE)


def hash_password(password: str) -> str:
    """The Argon2id hash to keep (19 MiB, two passes, one lane), parameters and salt within."""
    with _place():
        return _hasher.hash(password)


def verify_password(kept: str | None, password: str) -> bool:
    """Whether `password` is the one hashed in `kept`; takes as long when there is no hash at all.

    Raises StorageError when too many are being checked at once for too long.
    """
    with _place():
        try:
            _hasher.verify(kept or _nobody(), password[:LONGEST])
        except (VerificationError, InvalidHashError):
            return False
    return kept is not None


class _place:  # noqa: N801 - reads as a verb in `with`
    """One of the few places in which a hash is computed."""

    def __enter__(self) -> None:
        if not _places.acquire(timeout=PATIENCE_S):
            raise StorageError(
                "too many passwords being checked",
                code="busy",
                person="Trop de connexions en même temps. Recommencez dans un instant.",
            )

    def __exit__(self, *_: object) -> None:
        _places.release()


@lru_cache(maxsize=1)
def _nobody() -> str:
    return _hasher.hash("a password nobody has")
