"""Whether the machine's clock may be believed. Rules BWC-CLK-1 and BWC-CLK-2.

A term counted from a wrong clock destroys evidence or keeps it unlawfully; so nothing is docked and nothing erased
while the clock contradicts the last instant at which it was believed.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from bwc.core.clock import as_utc
from bwc.rules.decision import Allowed, Decision, Refused

BACKWARD_TOLERANCE = timedelta(minutes=10)  # time servers correct by less
FORWARD_TOLERANCE = timedelta(days=7)  # a machine that was off longer is confirmed by a person


def clock_believed(now: datetime, last_believed: datetime) -> Decision:
    """Whether `now` may follow `last_believed` without a person's word (both aware)."""
    if as_utc(now) < as_utc(last_believed) - BACKWARD_TOLERANCE:
        return Refused("BWC-CLK-1", "L'heure du serveur a reculé : la station et les effacements attendent.")
    if as_utc(now) > as_utc(last_believed) + FORWARD_TOLERANCE:
        return Refused(
            "BWC-CLK-2",
            "L'heure du serveur a avancé de plus de sept jours : confirmez-la (bwc clock confirm) pour reprendre.",
        )
    return Allowed()
