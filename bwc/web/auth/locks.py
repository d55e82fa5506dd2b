"""Who must wait before a password is looked at again: one address for one account, and strangers for an account.

Two brakes. An address that fails on a login is shut out of that login for 1, 2, 4… 15 minutes from the fifth failure
on; it is kept in this process, and a restart forgets it. An account that fails more often than that, from whatever
addresses, takes one wrong password a minute after the first twenty; it is kept in the person's row
(`failed_sign_ins`, `locked_until`) and outlives a restart. The second brake does not hold an address from which the
person signed in of late, so that who sprays passwords from many addresses does not keep him out of his own post.
"""

from __future__ import annotations

import ipaddress
import threading
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta

from bwc.db.models import Person

FAILURES_BEFORE_LOCK = 5
LONGEST_LOCK_MINUTES = 15
FORGET_AFTER = timedelta(minutes=LONGEST_LOCK_MINUTES)  # past the lock's end, or the last failure when no lock
MOST_KEPT = 20_000
STRANGERS_AT_ONCE = 20
STRANGERS_EVERY = timedelta(minutes=1)


def lock_length(failures: int) -> timedelta | None:
    """How long an address stays shut out after that many failures: 1, 2, 4… minutes from the fifth on."""
    if failures < FAILURES_BEFORE_LOCK:
        return None
    return timedelta(minutes=min(2 ** min(failures - FAILURES_BEFORE_LOCK, 10), LONGEST_LOCK_MINUTES))


def neighbourhood(address: str) -> str:
    """What one subscriber can change at will counts as one address: an IPv6 /64, an IPv4 address."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((parsed, 64), strict=False))


@dataclass
class _Failures:
    count: int
    shut_until: datetime


class AddressLocks:
    """Failures in a row by login and address, whether or not the login exists. For use by several threads."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._kept: OrderedDict[tuple[str, str], _Failures] = OrderedDict()

    def shut(self, login: str, address: str, now: datetime) -> bool:
        """Whether the address must wait before it tries that login again."""
        with self._mutex:
            kept = self._kept.get(_key(login, address))
            return kept is not None and now < kept.shut_until

    def failed(self, login: str, address: str, now: datetime) -> int:
        """Count a failure; how many there are in a row now."""
        key = _key(login, address)
        with self._mutex:
            before = self._kept.pop(key, None)
            count = before.count + 1 if before and now < before.shut_until + FORGET_AFTER else 1
            self._kept[key] = _Failures(count, now + (lock_length(count) or timedelta()))
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return count

    def succeeded(self, login: str, address: str) -> None:
        """Forget the address's failures on that login."""
        with self._mutex:
            self._kept.pop(_key(login, address), None)


def strangers_wait(person: Person, now: datetime) -> bool:
    """Whether the account has failed so often that addresses it does not know must wait."""
    return person.locked_until is not None and now < person.locked_until


def count_failure(person: Person, now: datetime) -> None:
    """Count a wrong password on the account: each puts off by a minute the instant from which strangers may try,
    which starts twenty minutes ago. Quiet for that long, it starts afresh.
    """
    start = now - STRANGERS_AT_ONCE * STRANGERS_EVERY
    if person.locked_until is None or person.locked_until <= start:
        person.failed_sign_ins, person.locked_until = 0, start
    person.failed_sign_ins += 1
    person.locked_until += STRANGERS_EVERY


def _key(login: str, address: str) -> tuple[str, str]:
    return login.lower(), neighbourhood(address)
