"""French words for the product's codes: states, roles, operations, actions, reasons. One table each.

A code without a word here is shown as it is: nothing is hidden for want of a translation.
"""

from __future__ import annotations

from bwc.rules.access import motive
from bwc.web.formats import detail_value

ROLES = {
    "maire": "Maire",
    "responsable": "Responsable du service",
    "agent_habilite": "Agent habilité",
    "porteur": "Porteur",
    "dpo": "Délégué à la protection des données",
    "inspecteur": "Inspecteur",
    "technicien": "Technicien",
}
OPERATIONS = {
    "collecte": "Collecte",
    "modification": "Modification",
    "consultation": "Consultation",
    "communication": "Communication",
    "effacement": "Effacement",
    "combinaison": "Combinaison",
    "systeme": "Système",
}
RECORDING_STATES = {
    "held": "En sûreté",
    "quarantined": "Quarantaine",
    "erasing": "Effacement en cours",
    "erased": "Effacé",
}
STATE_TONES = {"held": "ok", "quarantined": "attention", "erasing": "information", "erased": "neutral"}
CAMERA_STATES = {"in_service": "En service", "lost": "Perdue", "retired": "Retirée"}
CAMERA_TONES = {"in_service": "ok", "lost": "danger", "retired": "neutral"}
SESSION_STATES = {
    "detected": "Détection",
    "identified": "Détection",
    "listed": "Préparation",
    "copying": "Copie",
    "done": "Terminée",
    "refused": "Refusée",
    "failed": "Erreur",
    "waiting": "En attente",
    "gone": "Retirée trop tôt",
    "taken": "Reprise",
}
SESSION_TONES = {
    "detected": "information",
    "identified": "information",
    "listed": "information",
    "copying": "information",
    "done": "ok",
    "refused": "danger",
    "failed": "danger",
    "waiting": "attention",
    "gone": "attention",
    "taken": "ok",
}
QUARANTINE = {
    "unknown_camera": "La caméra n'est pas à l'inventaire du service.",
    "camera_lost": "La caméra est déclarée perdue ou retirée du service.",
    "no_wearer": "Aucun porteur n'est connu à cette heure : le registre de remise ne dit pas qui avait la caméra.",
    "not_covered": "Aucun arrêté préfectoral ne couvre cet enregistrement à sa date.",
    "clock_future": "L'horloge de la caméra avance : la date annoncée est postérieure au retour au poste.",
    "clock_past": "L'horloge de la caméra retarde : la date annoncée précède son dernier vidage.",
    "clock_absent": "La caméra n'annonce aucune date : le terme court du jour de sa pose sur la station.",
    "older_than_term": "La date annoncée dépasse déjà le délai légal et rien ne la confirme.",
}
DRIFT_METHODS = {
    "not_measurable": "cette caméra ne donne pas son heure",
    "at_least_by_newest_file": "au moins, d'après le fichier le plus récent de sa carte",
}
ORIGINS = {
    "issue_register": "registre de remise des caméras",
    "person": "saisi par une personne",
    "camera": "annoncé par la caméra",
    "docking": "jour de la pose sur la station",
    "file_name": "nom du fichier",
    "container": "en-tête de la vidéo",
    "card": "carte de la caméra",
    "media": "position enregistrée par la caméra",
    "gps": "position enregistrée par la caméra",
}
SOURCES = {"usb": "Station d'accueil (USB)", "folder": "Dossier monté"}
TERM_RULES = {
    "BWC-RET-1": "un mois, de date à date (CSI R241-13)",
    "BWC-RET-2": "six mois, enregistrement d'avant le 4 novembre 2022",
}
ACTIONS = {
    "clock.confirmed": "Heure du serveur confirmée",
    "parts.expired": "Copies inachevées effacées à leur terme",
    "habilitation.added": "Habilitation inscrite",
    "recording.taken_in": "Reçu, relu, vérifié et mis en sûreté",
    "recording.met_again": "Retrouvé à l'identique sur une caméra",
    "recording.viewed": "Consultation ouverte",
    "recording.view_refused": "Consultation refusée",
    "recording.integrity_failed": "Contrôle d'intégrité en échec",
    "recording.key_destroyed": "Clé détruite : images illisibles à jamais",
    "recording.erased": "Effacé au terme, certificat établi",
    "derivative.made": "Copie de travail préparée",
    "camera.docked": "Caméra posée sur la station",
    "camera.offloaded": "Caméra vidée dans le coffre",
    "camera.deletion_ordered": "Effacement sur la caméra ordonné après vérification",
    "camera.file_deleted": "Effacé de la caméra",
    "camera.deletion_failed": "La caméra n'a pas effacé le fichier",
    "camera.put_into_service": "Caméra mise en service",
    "camera.issued": "Caméra remise",
    "camera.returned": "Caméra rendue",
    "store.verified": "Coffre relu et vérifié",
    "journal.read": "Journal consulté",
    "person.added": "Personne ajoutée",
    "session.opened": "Connexion",
    "session.refused": "Connexion refusée",
    "session.closed": "Déconnexion",
    "installation.initialised": "Installation initialisée",
}
INCIDENTS = {
    "late_erasure": "Effacement en retard",
    "clock": "Heure du serveur à confirmer",
    "integrity": "Contrôle d'intégrité en échec",
    "quarantine": "Enregistrement en quarantaine",
    "unknown_device": "Appareil inconnu sur la station",
    "offload_failed": "Copie interrompue",
    "card_damaged": "Carte endommagée",
    "file_damaged": "Fichier illisible sur la caméra",
    "file_changed": "Fichier modifié pendant la copie",
    "camera_not_emptied": "Caméra non vidée",
}
KINDS = {"poster": "vignette", "proxy": "copie 540p", "original": "original"}
REFUSALS = {
    "unknown": "identifiant inconnu",
    "password": "mot de passe refusé",
    "locked": "compte fermé à ce poste pour quelques minutes",
    "strangers": "trop d'échecs sur ce compte, poste inconnu de lui",
    "inactive": "compte désactivé",
}
DETAILS = {
    "text": "Précision",
    "reference": "Référence",
    "minutes": "Durée (min)",
    "rule": "Règle",
    "sha256": "SHA-256",
    "size": "Octets",
    "camera": "Caméra",
    "wearer": "Porteur",
    "bay": "Baie",
    "reason": "Raison",
    "client": "Poste",
    "page": "Page",
    "person": "Personne",
    "failures": "Échecs",
    "operation": "Opération",
    "first_day": "Du",
    "last_day": "Au",
    "entries": "Inscriptions",
    "serial": "Numéro de série",
    "certificate": "Certificat",
    "kind": "Nature",
    "clock_went_back": "Horloge reculée",
    "files": "Fichiers",
    "safe": "En sûreté",
    "deleted": "Effacés de la caméra",
    "left": "Restés sur la caméra",
    "drift_ms": "Dérive (ms)",
    "path": "Nom sur la caméra",
    "source": "Source",
    "order": "Arrêté",
    "of": "Tiré de",
    "claimed_start": "Début annoncé",
    "claimed_source": "Annoncé par",
    "docked_at": "Pose",
    "recorded_on": "Jour d'enregistrement",
    "recorded_on_origin": "Jour d'après",
    "due_on": "Échéance",
    "quarantine": "Quarantaine",
    "session": "Séjour",
    "before": "Avant le n°",
    "error": "Erreur",
    "late": "En retard",
    "destroyed": "Détruit",
}


SHORT_DETAILS = frozenset(
    {"reference", "text", "rule", "reason", "failures", "person", "camera", "bay", "kind", "minutes"}
)


def word(table: dict[str, str], code: object) -> str:
    """The word of `code` in `table`, the code itself when it has none."""
    return table.get(str(code), str(code))


def motive_label(code: str) -> str:
    """The sentence of a motive's code."""
    found = motive(code)
    return found.label if found else code


def stay_words(state: str, error_code: str | None) -> tuple[str, str]:
    """(tone, word) of a stay on the dock; a camera taken back after trouble keeps telling it."""
    if state == "taken" and error_code:
        return "attention", "Reprise sans copie"
    return word(SESSION_TONES, state), word(SESSION_STATES, state)


_DETAIL_TABLES = {
    "reason": REFUSALS,
    "kind": KINDS,
    "operation": OPERATIONS,
    "claimed_source": ORIGINS,
    "recorded_on_origin": ORIGINS,
    "source": SOURCES,
}


def detail_word(key: str, value: object) -> str:
    """A journal detail's value in words."""
    if key == "quarantine" and isinstance(value, list):
        return " ".join(word(QUARANTINE, code) for code in value)
    return word(_DETAIL_TABLES.get(key, {}), detail_value(value))
