"""The few errors of the product, each with a French sentence for the person and an English line for the log.

Not a place for decisions: a rule that says no returns `Refused` (bwc.rules.decision) and is turned into
`RefusedError` only at the edge that must stop.
"""

from __future__ import annotations


class BwcError(Exception):
    """Root of every expected failure.

    `message` is English, precise, for the log; `person` is one French sentence that says what happened, what was
    kept and what to do; `code` is a stable identifier (snake_case) that tests and screens may rely on.
    """

    code = "error"
    person = "Une erreur est survenue. Rien n'a été perdu ; prévenez l'administrateur."

    def __init__(self, message: str, *, person: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        if person is not None:
            self.person = person
        if code is not None:
            self.code = code


class RefusedError(BwcError):
    """A rule said no. Carries the rule's id of docs/legal/register.md in `code`."""

    code = "refused"
    person = "Cet acte n'est pas permis."


class EvidenceError(BwcError):
    """Evidence is not what it should be (hash, authentication, ledger). Never retried, always alerts."""

    code = "evidence"
    person = "Le contrôle d'intégrité a échoué. Ne touchez à rien et prévenez le responsable."


class DeviceError(BwcError):
    """A camera, a dock or a card misbehaves or went away."""

    code = "device"
    person = "La caméra ne répond pas correctement. Rien n'est effacé ; replacez-la sur une baie."


class StorageError(BwcError):
    """The store, the database or the disk cannot take or give bytes."""

    code = "storage"
    person = "L'espace de stockage ne répond pas. Les enregistrements restent sur la caméra."


class InputError(BwcError):
    """What came from outside (form, file, command line) cannot be understood."""

    code = "input"
    person = "La saisie n'est pas comprise."


class ConfigError(BwcError):
    """The installation is not in order (missing key, wrong mode, unknown setting)."""

    code = "config"
    person = "La configuration est incomplète."


EXIT_CODES: dict[type[BwcError], int] = {
    RefusedError: 3,
    EvidenceError: 4,
    DeviceError: 5,
    StorageError: 6,
    InputError: 2,
    ConfigError: 7,
}

HTTP_STATUS: dict[type[BwcError], int] = {
    RefusedError: 403,
    EvidenceError: 500,
    DeviceError: 503,
    StorageError: 503,
    InputError: 400,
    ConfigError: 500,
}


def exit_code(error: BwcError) -> int:
    """Exit code of the `bwc` command for an error; documented in docs/cli.md, stable. 1 when unlisted."""
    return next((code for kind, code in EXIT_CODES.items() if isinstance(error, kind)), 1)


def http_status(error: BwcError) -> int:
    """HTTP status for an error that reached a view; 500 when unlisted."""
    return next((status for kind, status in HTTP_STATUS.items() if isinstance(error, kind)), 500)
