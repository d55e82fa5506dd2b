"""Every failure becomes a page: what happened, what was kept, what to do. Nothing of the inside is shown."""

from __future__ import annotations

import traceback
from dataclasses import dataclass

import structlog
from flask import Flask, render_template, request
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import HTTPException, InternalServerError

from bwc.core.errors import BwcError, http_status

log = structlog.get_logger()
Answer = tuple[str, int]


@dataclass(frozen=True)
class Trouble:
    """What a person reads on an error page; French."""

    title: str
    happened: str
    kept: str
    todo: str


NOTHING_LOST = "Rien n'a été modifié ni perdu."
TROUBLES: dict[int, Trouble] = {
    400: Trouble("Demande incomprise", "La demande envoyée n'est pas comprise.", NOTHING_LOST,
                 "Revenez à la page précédente et recommencez."),
    401: Trouble("Connexion nécessaire", "Votre session est terminée ou n'a pas commencé.", NOTHING_LOST,
                 "Connectez-vous, puis reprenez où vous en étiez."),
    403: Trouble("Accès refusé", "Votre fonction ne donne pas accès à cette page.", NOTHING_LOST,
                 "Si cet accès vous est nécessaire, demandez-le au responsable du service."),
    404: Trouble("Page introuvable", "Cette page n'existe pas, ou elle ne vous est pas ouverte.", NOTHING_LOST,
                 "Vérifiez l'adresse, ou repartez de l'accueil."),
    405: Trouble("Geste non permis", "Cette adresse ne répond pas à ce type de demande.", NOTHING_LOST,
                 "Repartez de l'accueil."),
    413: Trouble("Envoi trop volumineux", "Le formulaire dépasse la taille admise.", NOTHING_LOST,
                 "Raccourcissez le texte, puis recommencez."),
    416: Trouble("Partie inexistante", "La partie demandée de l'image n'existe pas.", NOTHING_LOST,
                 "Rechargez la page de consultation."),
    429: Trouble("Trop de demandes", "Trop de tentatives en peu de temps depuis ce poste.", NOTHING_LOST,
                 "Attendez une minute, puis recommencez."),
    500: Trouble("Erreur interne", "Une erreur imprévue est survenue ; elle est notée au journal technique.",
                 "Les enregistrements déjà reçus sont en sûreté.",
                 "Recommencez ; si l'erreur revient, prévenez l'administrateur avec l'heure affichée."),
    503: Trouble("Service momentanément indisponible", "Une partie du système ne répond pas.",
                 "Les enregistrements déjà reçus sont en sûreté ; les autres restent sur les caméras.",
                 "Recommencez dans un instant ; si cela dure, prévenez l'administrateur."),
}  # fmt: skip
_STALE_FORM = Trouble(
    "Formulaire périmé",
    "Ce formulaire a expiré ou ne vient pas de cette session.",
    "Rien n'a été enregistré.",
    "Rechargez la page, puis envoyez à nouveau le formulaire.",
)


def register_errors(app: Flask) -> None:
    """Give the application its error pages."""
    app.register_error_handler(BwcError, _expected)
    app.register_error_handler(CSRFError, _stale_form)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _unexpected)


def trouble_page(trouble: Trouble, status: int) -> Answer:
    """The page of one trouble, with its status."""
    return render_template("errors/error.html", trouble=trouble, status=status), status


def _trouble(status: int) -> Trouble:
    return TROUBLES.get(status) or TROUBLES[500 if status >= 500 else 400]


def _expected(error: BwcError) -> Answer:
    status = 404 if error.code in {"unknown", "no_image", "BWC-ACC-3", "BWC-ACC-5"} else http_status(error)
    log.warning("refused_or_failed", code=error.code, error=str(error), status=status, path=request.path)
    known = _trouble(status)
    if status == 404:
        return trouble_page(known, status)  # a foreign recording and one that never was read the same
    return trouble_page(Trouble(known.title, error.person, known.kept, known.todo), status)


def _stale_form(error: CSRFError) -> Answer:
    log.warning("csrf_refused", reason=error.description, path=request.path)
    return trouble_page(_STALE_FORM, 400)


def _http(error: HTTPException) -> Answer | HTTPException:
    status = error.code or 500
    if status < 400:
        return error
    return trouble_page(_trouble(status), status)


def _unexpected(error: Exception) -> Answer:
    trace = "".join(traceback.format_exception(error))  # never the frames' values: they hold keys and passwords
    log.error("unexpected_error", path=request.path, kind=type(error).__name__, trace=trace)
    status = InternalServerError.code
    return trouble_page(TROUBLES[status], status)
