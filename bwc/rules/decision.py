"""What a rule answers: Allowed, or Refused with the rule's id and a French reason. Rules return, they do not raise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bwc.core.errors import RefusedError


@dataclass(frozen=True)
class Allowed:
    """The act may be done."""

    def __bool__(self) -> Literal[True]:
        return True


@dataclass(frozen=True)
class Refused:
    """The act may not be done: `rule` is an id of docs/legal/register.md, `reason` a French sentence."""

    rule: str
    reason: str

    def __bool__(self) -> Literal[False]:
        return False


Decision = Allowed | Refused


def require(decision: Decision) -> None:
    """Stop here unless allowed: raises RefusedError that carries the rule and its reason."""
    if isinstance(decision, Refused):
        raise RefusedError(f"refused by {decision.rule}", person=decision.reason, code=decision.rule)
