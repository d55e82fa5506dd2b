"""Who may look at an image, on what ground, at this instant. Nobody by default. Rules BWC-ACC-1 to BWC-ACC-6."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from bwc.core.clock import paris_day
from bwc.rules.decision import Allowed, Decision, Refused
from bwc.rules.retention import Term


class Role(StrEnum):
    """What a person is in the service. One person, one role, one account."""

    MAYOR = "maire"
    HEAD = "responsable"
    AGENT = "agent_habilite"
    WEARER = "porteur"
    DPO = "dpo"
    INSPECTOR = "inspecteur"
    TECHNICIAN = "technicien"


class Permission(StrEnum):
    """What a route or a command asks for; every route declares one (law test over the URL map)."""

    PUBLIC = "public"
    SIGNED_IN = "signed_in"
    RECORDINGS_LIST = "recordings:list"
    RECORDINGS_VIEW = "recordings:view"
    JOURNAL_READ = "journal:read"
    FLEET_READ = "fleet:read"
    FLEET_MANAGE = "fleet:manage"
    SYSTEM_READ = "system:read"
    DEMO_CONTROL = "demo:control"


_GRANTS: dict[Role, frozenset[Permission]] = {
    Role.MAYOR: frozenset({Permission.RECORDINGS_LIST, Permission.RECORDINGS_VIEW, Permission.FLEET_READ}),
    Role.HEAD: frozenset(
        {
            Permission.RECORDINGS_LIST,
            Permission.RECORDINGS_VIEW,
            Permission.JOURNAL_READ,
            Permission.FLEET_READ,
            Permission.FLEET_MANAGE,
        }
    ),
    Role.AGENT: frozenset({Permission.RECORDINGS_LIST, Permission.RECORDINGS_VIEW, Permission.FLEET_READ}),
    Role.WEARER: frozenset({Permission.RECORDINGS_LIST, Permission.RECORDINGS_VIEW}),
    Role.DPO: frozenset({Permission.JOURNAL_READ, Permission.FLEET_READ, Permission.SYSTEM_READ}),
    Role.INSPECTOR: frozenset({Permission.JOURNAL_READ, Permission.FLEET_READ, Permission.SYSTEM_READ}),
    Role.TECHNICIAN: frozenset({Permission.FLEET_READ, Permission.FLEET_MANAGE, Permission.SYSTEM_READ}),
}


def grants(role: Role) -> frozenset[Permission]:
    """Permissions of a role; a permission is the right to knock, `may_consult` decides on the image."""
    return _GRANTS[role] | {Permission.PUBLIC, Permission.SIGNED_IN, Permission.DEMO_CONTROL}


@dataclass(frozen=True)
class Motive:
    """One reason for looking, from the closed list; `min_text` is the length of free text it needs."""

    code: str
    label: str
    min_text: int
    wearer: bool  # one of the four grounds of R241-11 II


MOTIVES: tuple[Motive, ...] = (
    Motive("procedure_judiciaire", "Procédure judiciaire : rechercher les auteurs d'une infraction", 0, True),
    Motive("prevention_imminente", "Prévenir une atteinte imminente à l'ordre public", 15, True),
    Motive("secours", "Porter secours à une personne", 15, True),
    Motive("compte_rendu", "Établir fidèlement les faits dans un compte rendu", 0, True),
    Motive("procedure_administrative", "Procédure administrative", 0, False),
    Motive("procedure_disciplinaire", "Procédure disciplinaire sur des faits déjà signalés", 0, False),
    Motive("droit_acces", "Répondre à une demande de droit d'accès", 0, False),
    Motive("formation", "Sélection pour la formation (copie anonymisée)", 15, False),
)
_BY_CODE = {motive.code: motive for motive in MOTIVES}
_NEED_REFERENCE = frozenset(
    {"procedure_judiciaire", "procedure_administrative", "procedure_disciplinaire", "droit_acces"}
)
MAX_TEXT = 500
MAX_REFERENCE = 60


def motives_for(role: Role) -> tuple[Motive, ...]:
    """Motives a role may state: the wearer has four (R241-11 II), the others the whole list."""
    return tuple(motive for motive in MOTIVES if motive.wearer or role is not Role.WEARER)


def motive(code: str) -> Motive | None:
    """The motive of that code, or None."""
    return _BY_CODE.get(code)


def needs_reference(code: str) -> bool:
    """Whether the motive must come with a procedure or request reference."""
    return code in _NEED_REFERENCE


def check_motive(role: Role, code: str, text: str, reference: str) -> Decision:
    """Whether a motive is one this role may state and is stated fully (rule BWC-ACC-4)."""
    stated = motive(code)
    if stated is None or stated not in motives_for(role):
        return Refused("BWC-ACC-4", "Choisissez un motif dans la liste.")
    if needs_reference(code) and not 3 <= len(reference.strip()) <= MAX_REFERENCE:
        return Refused("BWC-ACC-4", "Indiquez la référence de la procédure ou de la demande (3 à 60 caractères).")
    if not stated.min_text <= len(text.strip()) <= MAX_TEXT:
        return Refused(
            "BWC-ACC-4",
            f"Précisez le motif en une phrase ({max(stated.min_text, 1)} à {MAX_TEXT} caractères).",
        )
    return Allowed()


@dataclass(frozen=True)
class Act:
    """A habilitation act (CSI R241-12 I 3°): both bounds count, no end means until withdrawn."""

    number: str
    starts_on: date
    ends_on: date | None

    def in_force(self, day: date) -> bool:
        """Whether the act stands on the civil day `day`."""
        return self.starts_on <= day and (self.ends_on is None or day <= self.ends_on)


@dataclass(frozen=True)
class Viewer:
    """A person as the access rule needs to know him."""

    person_id: str
    role: Role
    active: bool
    communes: frozenset[str]
    acts: tuple[Act, ...]


@dataclass(frozen=True)
class Viewed:
    """A recording as the access rule needs to know it; `state` is held, quarantined, erasing or erased."""

    wearer_id: str | None
    commune: str
    state: str
    term: Term


def has_ground(viewer: Viewer, now: datetime) -> Decision:
    """Whether the person has a ground of R241-12 I in force at `now`, whatever the recording (BWC-ACC-1, -2)."""
    if not viewer.active:
        return Refused("BWC-ACC-1", "Ce compte est désactivé.")
    if Permission.RECORDINGS_VIEW not in grants(viewer.role):
        return Refused("BWC-ACC-1", "Votre fonction ne donne pas accès aux images.")
    if viewer.role is Role.AGENT and not any(act.in_force(paris_day(now)) for act in viewer.acts):
        return Refused("BWC-ACC-2", "Aucun acte d'habilitation en vigueur à ce jour : l'accès est fermé.")
    return Allowed()


def may_see_listed(viewer: Viewer, viewed: Viewed, now: datetime) -> Decision:
    """Whether the recording's existence and facts (never its images) may be shown (BWC-ACC-3, -5)."""
    ground = has_ground(viewer, now)
    if not ground:
        return ground
    if viewed.commune not in viewer.communes:
        return Refused("BWC-ACC-5", "Cet enregistrement relève d'une autre commune.")
    if viewer.role is Role.WEARER and viewed.wearer_id != viewer.person_id:
        return Refused("BWC-ACC-3", "Vous n'accédez qu'à vos propres enregistrements.")
    return Allowed()


def may_consult(viewer: Viewer, viewed: Viewed, now: datetime) -> Decision:
    """Whether the person may look at the recording's images at `now`; the motive is checked apart."""
    listed = may_see_listed(viewer, viewed, now)
    if not listed:
        return listed
    if viewed.state in {"erasing", "erased"}:
        return Refused("BWC-RET-3", "Cet enregistrement a été effacé à son terme.")
    if viewed.term.is_over(now):
        return Refused("BWC-RET-3", "Le terme légal est atteint : les images ne sont plus accessibles.")
    return Allowed()
