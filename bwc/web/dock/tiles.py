"""A bay's state in words: the same for the page and for the module that keeps it up to date."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from bwc.docking.board import BayState, BoardState, Phase
from bwc.web.formats import NARROW, drift, integer, plural, short_time, size

_MINUTE = timedelta(minutes=1)
PHASES: dict[Phase, tuple[str, str]] = {
    Phase.FREE: ("Libre", "neutral"),
    Phase.DETECTING: ("Détection", "information"),
    Phase.COPYING: ("Copie", "information"),
    Phase.VERIFYING: ("Vérification", "information"),
    Phase.READY: ("PRÊTE", "ok"),
    Phase.WAITING: ("En attente", "attention"),
    Phase.PULLED: ("Retirée trop tôt", "attention"),
    Phase.UNKNOWN: ("Caméra inconnue", "danger"),
    Phase.FAILED: ("Erreur", "danger"),
}
SAYINGS: dict[Phase, str] = {
    Phase.FREE: "Posez une caméra",
    Phase.DETECTING: "Ne la retirez pas",
    Phase.COPYING: "Ne la retirez pas",
    Phase.VERIFYING: "Ne la retirez pas",
    Phase.READY: "Vous pouvez la reprendre",
    Phase.WAITING: "Ne la retirez pas",
    Phase.PULLED: "Reposez-la : la copie reprendra",
    Phase.UNKNOWN: "Remettez-la au responsable",
    Phase.FAILED: "Reposez-la, ou prévenez le responsable",
}


@dataclass(frozen=True)
class Tile:
    """One bay in words, every text ready to show."""

    number: int
    port: int
    phase: str
    tone: str
    word: str
    saying: str
    camera: str
    wearer: str
    percent: int
    share: str
    progress: str
    left: str
    files: str
    drift: str
    occupied: bool


def tiles(board: BoardState, *, names: bool) -> list[Tile]:
    """Every bay in words; matricules instead of names unless `names`."""
    return [_tile(bay, names=names) for bay in board.bays]


def board_json(board: BoardState, *, names: bool, late: int, lost: int) -> dict[str, Any]:
    """What the board's module reads once a second."""
    return {
        "time": short_time(board.at),
        "tiles": [asdict(tile) for tile in tiles(board, names=names)],
        "hint": hint(board),
        "fleet": fleet_words(late, lost),
    }


def hint(board: BoardState) -> str:
    """What to do next, for whoever comes to fetch a camera."""
    ready = board.ready
    if ready:
        places = ", ".join(f"{bay.camera} (baie {bay.number})" for bay in ready[:3])
        return f"Prendre une caméra : {places}"
    return "Aucune caméra prête pour l'instant"


def fleet_words(late: int, lost: int) -> str:
    """`2 en retard · 0 perdue`."""
    return f"{integer(late)} en retard · {integer(lost)} perdue{plural(lost)}"


def _tile(bay: BayState, *, names: bool) -> Tile:
    word, tone = PHASES[bay.phase]
    running = bay.phase in {Phase.COPYING, Phase.VERIFYING}
    return Tile(
        number=bay.number,
        port=bay.port,
        phase=bay.phase,
        tone=tone,
        word=word,
        saying=_saying(bay),
        camera=_camera(bay),
        wearer=_wearer(bay, names=names),
        percent=bay.percent,
        share=f"{bay.percent}{NARROW}%" if running else "",
        progress=_progress(bay) if running else "",
        left=_left(bay.left) if running else "",
        files=_files(bay),
        drift=drift(bay.drift_ms, at_least=bay.drift_method.startswith("at_least")) if bay.drift_known else "",
        occupied=bay.occupied,
    )


def _saying(bay: BayState) -> str:
    if bay.phase in {Phase.UNKNOWN, Phase.FAILED, Phase.WAITING} and bay.message:
        return bay.message
    return SAYINGS[bay.phase]


def _camera(bay: BayState) -> str:
    """The camera's label; a device outside the inventory is named below, by its serial."""
    return bay.camera or ("" if bay.phase is Phase.FREE else "Inconnue")


def _wearer(bay: BayState, *, names: bool) -> str:
    if bay.phase is Phase.FREE:
        return ""
    if not bay.camera:
        return f"n° de série {bay.serial}" if bay.serial else "sans numéro de série"
    if not bay.matricule:
        return "Porteur non connu"
    return bay.wearer if names else f"matricule {bay.matricule}"


def _progress(bay: BayState) -> str:
    return f"{size(bay.bytes_done)} sur {size(bay.bytes_total)}"


def _left(left: timedelta | None) -> str:
    if left is None:
        return ""
    if left < _MINUTE:
        return f"<{NARROW}1{NARROW}min"
    minutes = -(-left // _MINUTE)
    return f"{minutes}{NARROW}min"


def _files(bay: BayState) -> str:
    if bay.phase in {Phase.FREE, Phase.DETECTING, Phase.UNKNOWN}:
        return ""
    if bay.phase is Phase.READY and not bay.files_total:
        return "Aucun fichier à copier"
    if bay.phase is Phase.READY:
        return f"{integer(bay.files_safe)} fichier{plural(bay.files_safe)} en sûreté"
    return f"{integer(bay.files_safe)} sur {integer(bay.files_total)} en sûreté"
