"""The board, its state as JSON, and the demonstration's plug and pull."""

from __future__ import annotations

from flask import Blueprint, Response, abort, jsonify, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from bwc.catalogue import fleet
from bwc.core.errors import InputError
from bwc.docking import emulation
from bwc.docking.board import board_state
from bwc.installation import Installation
from bwc.rules.access import Permission
from bwc.web.access import permission, the_house
from bwc.web.dock.tiles import board_json, fleet_words, hint, tiles

blueprint = Blueprint("dock", __name__, template_folder="templates")


@blueprint.get("/station")
@permission(Permission.PUBLIC)
def board() -> str:
    """The dock board, for anybody who stands before it."""
    house = the_house()
    state = board_state(house)
    cameras = fleet(house)
    return render_template(
        "dock/board.html",
        tiles=tiles(state, names=_names()),
        names=_names(),
        hint=hint(state),
        fleet_words=fleet_words(cameras.late, cameras.lost),
        drawer=_drawer(house),
    )


@blueprint.get("/station/etat.json")
@permission(Permission.PUBLIC, keeps_alive=False)
def state() -> Response:
    """The board's state, polled once a second."""
    house = the_house()
    cameras = fleet(house)
    return jsonify(board_json(board_state(house), names=_names(), late=cameras.late, lost=cameras.lost))


@blueprint.post("/station/demonstration")
@permission(Permission.DEMO_CONTROL)
def demonstrate() -> AnyResponse:
    """Set an emulated camera in a bay, or pull it out; only where the town is a demonstration."""
    folder = the_house().settings.dock_folder
    try:
        port = int(request.form.get("port", ""))
    except ValueError:
        raise InputError("port is no number", person="Cette baie n'existe pas.") from None
    act = request.form.get("act")
    if act == "put":
        emulation.put(folder, port, request.form.get("camera", ""))
    elif act == "take":
        emulation.take(folder, port)
    else:
        abort(400)
    return redirect(url_for("dock.board", noms=None if request.form.get("noms") != "0" else "0"), 303)


def _names() -> bool:
    return request.args.get("noms") != "0"


def _drawer(house: Installation) -> list[str]:
    """Emulated cameras that sit in no bay; empty outside a demonstration."""
    folder = house.settings.dock_folder
    if not house.town.demonstration or not folder.is_dir():
        return []
    docked = set(emulation.state(folder).values())
    return [name for name in emulation.cameras(folder) if name not in docked]
