"""A recording's facts as its page shows them: each with where it comes from, none merged with another."""

from __future__ import annotations

from dataclasses import dataclass

from bwc.db.models import Recording
from bwc.web.formats import drift, full_moment, integer, length, short_day, size
from bwc.web.wording import DRIFT_METHODS, ORIGINS, QUARANTINE, SOURCES, TERM_RULES, word

_E7 = 10_000_000


@dataclass(frozen=True)
class Fact:
    """One fact: its name, its value, where the value comes from."""

    name: str
    value: str
    origin: str = ""
    missing: bool = False


@dataclass(frozen=True)
class Facts:
    """The facts by subject, and why the recording is in quarantine (French sentences)."""

    groups: tuple[tuple[str, tuple[Fact, ...]], ...]
    quarantine: tuple[str, ...]


def facts_of(recording: Recording, drift_method: str = "") -> Facts:
    """All that a recording's page tells."""
    groups = (
        ("Horloges", _clocks(recording, drift_method)),
        ("Identité", _identity(recording)),
        ("Cadre légal", _legal(recording)),
        ("Vidéo", _media(recording)),
        ("Fichier", _file(recording)),
    )
    return Facts(groups, tuple(word(QUARANTINE, code) for code in recording.quarantine or ()))


def _clocks(recording: Recording, drift_method: str) -> tuple[Fact, ...]:
    claimed = full_moment(recording.claimed_start) if recording.claimed_start else "non annoncée"
    measured = drift(recording.drift_ms, at_least=drift_method.startswith("at_least"))
    return (
        Fact(
            "Début annoncé",
            claimed,
            word(ORIGINS, recording.claimed_source) if recording.claimed_source else "caméra",
            missing=recording.claimed_start is None,
        ),
        Fact("Pose sur la station", full_moment(recording.docked_at), "horloge du serveur"),
        Fact("Réception complète", full_moment(recording.received_at), "horloge du serveur"),
        Fact(
            "Dérive de la caméra",
            measured.removeprefix("dérive "),
            word(DRIFT_METHODS, drift_method) if drift_method else "",
        ),
    )


def _identity(recording: Recording) -> tuple[Fact, ...]:
    wearer = recording.wearer
    name = f"{wearer.first_name} {wearer.last_name}, {wearer.rank}" if wearer else "non connu"
    return (
        Fact(
            "Porteur",
            f"{name} — matricule {wearer.matricule}" if wearer else name,
            word(ORIGINS, recording.wearer_origin) if wearer else "",
            missing=wearer is None,
        ),
        Fact(
            "Caméra",
            recording.camera.label if recording.camera else "hors inventaire",
            f"n° de série {recording.serial}" if recording.serial else "",
            missing=recording.camera is None,
        ),
        _place(recording),
    )


def _place(recording: Recording) -> Fact:
    if recording.place:
        return Fact("Lieu", recording.place, word(ORIGINS, recording.place_origin))
    if recording.latitude_e7 is not None and recording.longitude_e7 is not None:
        position = f"{degrees(recording.latitude_e7)}, {degrees(recording.longitude_e7)}"
        return Fact("Lieu", position, word(ORIGINS, recording.place_origin or "media"))
    return Fact("Lieu", "non connu", missing=True)


def degrees(e7: int) -> str:
    """Ten-millionths of a degree as `44,93342`."""
    sign = "−" if e7 < 0 else ""
    whole, rest = divmod(abs(e7), _E7)
    return f"{sign}{whole},{rest // 100:05d}"


def _legal(recording: Recording) -> tuple[Fact, ...]:
    order = recording.order
    day = Fact(
        "Jour d'enregistrement",
        short_day(recording.recorded_on),
        word(ORIGINS, recording.recorded_on_origin),
    )
    term = Fact("Échéance", short_day(recording.due_on), word(TERM_RULES, recording.term_rule))
    if order is None:
        return (day, term, Fact("Arrêté préfectoral", "aucun ne couvre cet enregistrement", missing=True))
    return (
        day,
        term,
        Fact("Arrêté préfectoral", f"n° {order.number} du {short_day(order.signed_on)}", order.prefecture),
    )


def _media(recording: Recording) -> tuple[Fact, ...]:
    if recording.media_state == "pending":
        return (Fact("Lecture", "en attente d'analyse"),)
    if recording.media_state == "unreadable":
        return (Fact("Lecture", "illisible comme vidéo", missing=True),)
    media = recording.media
    return tuple(fact for fact in (_length(recording), _picture(media), _sound(media), _device(media)) if fact)


def _length(recording: Recording) -> Fact:
    return Fact("Durée", length(recording.duration_ms))


def _picture(media: dict[str, object]) -> Fact | None:
    width, height, rate = media.get("width"), media.get("height"), media.get("frame_rate_milli")
    if not isinstance(width, int) or not isinstance(height, int):
        return None
    value = f"{width} × {height}"
    if isinstance(rate, int):
        value += f", {rate / 1000:.0f} images/s"
    return Fact("Image", value, str(media.get("video_codec") or ""))


def _sound(media: dict[str, object]) -> Fact | None:
    codec = media.get("audio_codec")
    return Fact("Son", "oui", str(codec)) if codec else Fact("Son", "aucun")


def _device(media: dict[str, object]) -> Fact | None:
    device = media.get("device")
    return Fact("Appareil", str(device), "en-tête de la vidéo") if device else None


def _file(recording: Recording) -> tuple[Fact, ...]:
    verified = full_moment(recording.verified_at) if recording.verified_at else "pas encore"
    return (
        Fact("Nom sur la caméra", recording.source_path, word(SOURCES, recording.source)),
        Fact("Taille", size(recording.size), f"{integer(recording.size)} octets"),
        Fact("Relu et vérifié", verified, missing=recording.verified_at is None),
    )
