"""Conformity at this instant, point by point, each proved by a figure read from the catalogue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from bwc.catalogue.fleet import order_in_force
from bwc.core.clock import paris_day
from bwc.db.models import (
    Camera,
    Checkpoint,
    ErasureCertificate,
    Habilitation,
    Incident,
    JournalEntry,
    Person,
    Recording,
    RecordingKey,
    Town,
)
from bwc.installation import Installation
from bwc.rules.access import Role

CHECKPOINT_AGE = timedelta(hours=24)


@dataclass(frozen=True)
class Point:
    """One requirement: its source, whether it holds, the fact that shows it, what to do when it does not."""

    title: str
    source: str
    holds: bool
    fact: str
    todo: str


def conformity(house: Installation) -> list[Point]:
    """Every point, gaps first."""
    now = house.clock.now()
    with house.database.read() as session:
        points = [check(session, now) for check in _CHECKS]
    return sorted(points, key=lambda point: point.holds)


def _order(session: Session, now: datetime) -> Point:
    order = order_in_force(session, paris_day(now))
    fact = f"n° {order.number} du {order.signed_on:%d/%m/%Y}" if order else "aucun arrêté en vigueur"
    return Point(
        "Arrêté préfectoral en vigueur", "CSI R241-8", order is not None, fact, "Déclarer l'arrêté en vigueur."
    )


def _cnil(session: Session, now: datetime) -> Point:
    order = order_in_force(session, paris_day(now))
    number = order.cnil_number if order else None
    fact = f"récépissé {number}" if number else "numéro de récépissé non renseigné"
    return Point(
        "Engagement de conformité adressé à la CNIL", "CSI R241-16", bool(number), fact, "Renseigner le récépissé."
    )


def _ceiling(session: Session, now: datetime) -> Point:
    order = order_in_force(session, paris_day(now))
    count = _count(session, Camera, Camera.state == "in_service")
    allowed = order.camera_count if order else 0
    return Point(
        "Nombre de caméras sous le plafond de l'arrêté",
        "CSI R241-8",
        count <= allowed,
        f"{count} en service pour {allowed} autorisées",
        "Retirer des caméras du service ou demander un arrêté modificatif.",
    )


def _overdue(session: Session, now: datetime) -> Point:
    alive = select(RecordingKey.recording_id)
    count = _count(session, Recording, Recording.due_on < paris_day(now), Recording.id.in_(alive))
    return Point(
        "Aucun enregistrement gardé au-delà d'un mois",
        "CSI R241-13",
        count == 0,
        f"{count} au-delà de leur terme",
        "Lancer l'effacement et traiter l'incident.",
    )


def _late(session: Session, now: datetime) -> Point:
    count = _count(session, ErasureCertificate, ErasureCertificate.late)
    total = _count(session, ErasureCertificate)
    return Point(
        "Effacements faits au terme",
        "CSI R241-13",
        count == 0,
        f"{total} effacements, dont {count} en retard",
        "Rechercher la cause du retard et l'inscrire au dossier.",
    )


def _verified(session: Session, now: datetime) -> Point:
    living = Recording.state.in_(("held", "quarantined"))
    total = _count(session, Recording, living)
    count = _count(session, Recording, living, Recording.verified_at.is_not(None))
    return Point(
        "Enregistrements relus et vérifiés après copie",
        "CSI R241-11 V",
        count == total,
        f"{count} vérifiés sur {total}",
        "Lancer la vérification du coffre.",
    )


def _wearers(session: Session, now: datetime) -> Point:
    living = Recording.state.in_(("held", "quarantined"))
    count = _count(session, Recording, living, Recording.wearer_id.is_(None))
    return Point(
        "Porteur connu pour chaque enregistrement",
        "CSI R241-10 3°",
        count == 0,
        f"{count} sans porteur",
        "Compléter le registre de remise des caméras.",
    )


def _acts(session: Session, now: datetime) -> Point:
    day = paris_day(now)
    in_force = select(Habilitation.person_id).where(
        Habilitation.starts_on <= day, (Habilitation.ends_on.is_(None)) | (Habilitation.ends_on >= day)
    )
    agent = (Person.role == Role.AGENT, Person.active)
    total = _count(session, Person, *agent)
    count = _count(session, Person, *agent, Person.id.in_(in_force))
    return Point(
        "Habilitation en vigueur pour chaque agent désigné",
        "CSI R241-12 I 3°",
        count == total,
        f"{count} habilités sur {total}",
        "Prendre un acte, ou désactiver le compte : l'accès est déjà fermé.",
    )


def _signed(session: Session, now: datetime) -> Point:
    last = session.scalars(select(Checkpoint).order_by(Checkpoint.size.desc()).limit(1)).first()
    entries = _count(session, JournalEntry)
    holds = entries == 0 or (last is not None and now - last.made_at <= CHECKPOINT_AGE)
    fact = f"{last.size} inscriptions sur {entries}" if last else f"aucune inscription sur {entries}"
    return Point("Journal scellé depuis moins d'un jour", "CSI R241-14", holds, fact, "Vérifier les tâches de fond.")


def _incidents(session: Session, now: datetime) -> Point:
    count = _count(session, Incident, Incident.closed_at.is_(None))
    return Point("Incidents traités", "CSI R241-11 V", count == 0, f"{count} ouverts", "Traiter les incidents.")


def _archives(session: Session, now: datetime) -> Point:
    agreement = session.scalars(select(Town.archives_agreement)).one_or_none()
    return Point(
        "Visa d'élimination des archives",
        "code du patrimoine L212-2",
        bool(agreement),
        agreement or "accord non renseigné",
        "Obtenir l'accord des Archives départementales et le renseigner.",
    )


_CHECKS: tuple[Callable[[Session, datetime], Point], ...] = (
    _order,
    _cnil,
    _ceiling,
    _overdue,
    _late,
    _verified,
    _wearers,
    _acts,
    _signed,
    _incidents,
    _archives,
)


def _count(session: Session, table: type, *conditions: object) -> int:
    return session.scalar(select(func.count()).select_from(table).where(*conditions)) or 0  # type: ignore[arg-type]
