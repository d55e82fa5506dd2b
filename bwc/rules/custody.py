"""When a file may leave the camera: never before the stored copy is proven and committed. Rule BWC-CUS-1."""

from __future__ import annotations

from dataclasses import dataclass

from bwc.rules.decision import Allowed, Decision, Refused


@dataclass(frozen=True)
class CopyFacts:
    """What is known of one copied file: digests as 64 hex digits, `committed` = row, key and ledger entry durable."""

    copied_sha256: str | None
    read_back_sha256: str | None
    committed: bool
    card_damaged: bool
    wipe_allowed_by_profile: bool


def may_delete_from_camera(facts: CopyFacts) -> Decision:
    """Whether the camera's file may be deleted now."""
    if facts.copied_sha256 is None or facts.copied_sha256 != facts.read_back_sha256:
        return Refused("BWC-CUS-1", "La copie n'a pas été relue et vérifiée : le fichier reste sur la caméra.")
    if not facts.committed:
        return Refused("BWC-CUS-1", "La copie n'est pas encore inscrite : le fichier reste sur la caméra.")
    if facts.card_damaged:
        return Refused("BWC-CUS-2", "La carte est endommagée : rien n'en est effacé.")
    if not facts.wipe_allowed_by_profile:
        return Refused("BWC-CUS-3", "Le profil de cette caméra n'autorise pas l'effacement.")
    return Allowed()
