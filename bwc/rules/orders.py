"""The prefect's order as a value, and whether it covers a recording. Rules BWC-ORD-1 to BWC-ORD-3."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from bwc.rules.decision import Allowed, Decision, Refused


@dataclass(frozen=True)
class Order:
    """A prefect's order authorising body cameras (CSI R241-8 II). Communes by INSEE code."""

    number: str
    signed_on: date
    in_force_from: date
    in_force_until: date | None
    prefecture: str
    communes: frozenset[str]
    camera_count: int
    medium_commune: str

    def in_force(self, day: date) -> bool:
        """Whether the order stands on the civil day `day`; both bounds count."""
        return self.in_force_from <= day and (self.in_force_until is None or day <= self.in_force_until)


def order_for(orders: Iterable[Order], day: date, commune: str) -> Order | None:
    """The latest order in force on `day` for `commune`, or None: then nothing authorises the recording."""
    fitting = [order for order in orders if order.in_force(day) and commune in order.communes]
    return max(fitting, key=lambda order: (order.in_force_from, order.signed_on), default=None)


def covers(order: Order | None, day: date, commune: str) -> Decision:
    """Whether `order` covers a recording made on `day` in `commune` (rule BWC-ORD-1)."""
    if order is None:
        return Refused("BWC-ORD-1", "Aucun arrêté préfectoral ne couvre cet enregistrement à sa date.")
    if not order.in_force(day):
        return Refused("BWC-ORD-1", f"L'arrêté n° {order.number} n'est pas en vigueur le {day:%d/%m/%Y}.")
    if commune not in order.communes:
        return Refused("BWC-ORD-1", f"L'arrêté n° {order.number} ne vise pas la commune {commune}.")
    return Allowed()


def may_put_into_service(order: Order, cameras_in_service: int) -> Decision:
    """Whether one camera more may be put into service (rule BWC-ORD-2: the order's number is a ceiling)."""
    if cameras_in_service >= order.camera_count:
        return Refused(
            "BWC-ORD-2",
            f"L'arrêté n° {order.number} autorise {order.camera_count} caméras, toutes en service.",
        )
    return Allowed()
