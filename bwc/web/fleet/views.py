"""The inventory of cameras, and handing one out or taking it back."""

from __future__ import annotations

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from bwc.catalogue import fleet, people
from bwc.core.errors import InputError, RefusedError
from bwc.core.ids import is_id
from bwc.db.models import Person
from bwc.docking.fleet import issue_camera, return_camera
from bwc.rules.access import Permission, Role
from bwc.web.access import may, permission, person, the_house

_WEAR = frozenset({Role.WEARER, Role.AGENT, Role.HEAD})

blueprint = Blueprint("fleet", __name__, template_folder="templates")


@blueprint.get("/cameras")
@permission(Permission.FLEET_READ)
def index() -> str:
    """Every camera, its holder, and the order's ceiling."""
    house = the_house()
    state = fleet(house)
    holders = {item.holder.id for item in state.cameras if item.holder}
    free = [one for one in people(house) if _wears(one) and one.id not in holders]
    return render_template("fleet/index.html", fleet=state, free=free if may(Permission.FLEET_MANAGE) else [])


@blueprint.post("/cameras/<string(length=26):camera_id>/remise")
@permission(Permission.FLEET_MANAGE)
def issue(camera_id: str) -> Response:
    """Hand a camera to a wearer."""
    wearer = request.form.get("porteur", "")
    if not is_id(wearer):
        raise InputError("no wearer chosen", person="Choisissez à qui la caméra est remise.")
    try:
        issue_camera(the_house(), camera_id, wearer, person().id)
        flash("Caméra remise ; la remise est inscrite au journal.", "ok")
    except RefusedError as error:
        flash(error.person, "danger")
    return redirect(url_for("fleet.index"), 303)


@blueprint.post("/cameras/<string(length=26):camera_id>/retour")
@permission(Permission.FLEET_MANAGE)
def take_back(camera_id: str) -> Response:
    """Take a camera back."""
    try:
        return_camera(the_house(), camera_id, person().id)
        flash("Caméra rendue ; le retour est inscrit au journal.", "ok")
    except RefusedError as error:
        flash(error.person, "danger")
    return redirect(url_for("fleet.index"), 303)


def _wears(one: Person) -> bool:
    return one.active and one.role in _WEAR
