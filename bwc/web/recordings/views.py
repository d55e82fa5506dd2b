"""The list of recordings, one recording with its custody, and the declaration of a motive."""

from __future__ import annotations

from flask import Blueprint, abort, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from bwc.catalogue import custody_of, fleet, list_recordings, one_recording, wearers
from bwc.catalogue.recordings import drift_method_of
from bwc.consultation import open_consultation, term_of, viewed_of
from bwc.core.clock import paris_day
from bwc.core.errors import RefusedError
from bwc.db.models import Recording
from bwc.rules.access import MAX_REFERENCE, MAX_TEXT, Permission, Role, has_ground, may_consult, needs_reference
from bwc.rules.access import motives_for as motives_of
from bwc.rules.decision import Refused, require
from bwc.web.access import permission, person, the_house, viewer
from bwc.web.recordings.facts import facts_of
from bwc.web.recordings.query import asked, read_cursor, to_filter, write_cursor
from bwc.web.sessions import current_session

blueprint = Blueprint("recordings", __name__, template_folder="templates")
Answer = tuple[str, int]


@blueprint.get("/enregistrements")
@permission(Permission.RECORDINGS_LIST)
def index() -> str:
    """Recordings the person may know of, filtered, by pages."""
    house, looking = the_house(), viewer()
    now = house.clock.now()
    require(has_ground(looking, now))
    wanted = asked()
    page = list_recordings(
        house,
        looking,
        to_filter(wanted, paris_day(now)),
        read_cursor(request.args.get("apres", "")),
        by_term=wanted.to_do == "a-extraire",
    )
    own_only = looking.role is Role.WEARER
    return render_template(
        "recordings/index.html",
        page=page,
        asked=wanted,
        after=None if wanted.to_do == "a-extraire" else write_cursor(page.after),
        cameras=[(item.camera.id, item.camera.label) for item in fleet(house).cameras],
        wearers=[] if own_only else [(one.id, one.display_name) for one in wearers(house, looking)],
    )


@blueprint.get("/enregistrements/<string(length=26):recording_id>")
@permission(Permission.RECORDINGS_VIEW)
def one(recording_id: str) -> str:
    """One recording: its facts with their origin, its term, its custody, and the motives to choose from."""
    return _page(_recording(recording_id))


@blueprint.post("/enregistrements/<string(length=26):recording_id>/consultation")
@permission(Permission.RECORDINGS_VIEW)
def consult(recording_id: str) -> Response | Answer:
    """Declare a motive; the images open once it is in the journal. A refusal is in the journal too."""
    session = current_session()
    form = {name: request.form.get(name, "") for name in ("motive", "text", "reference")}
    try:
        opened = open_consultation(
            the_house(),
            person().id,
            recording_id,
            session_sha256=session.token_sha256 if session else "",
            **form,
        )
    except RefusedError as error:
        if error.code != "BWC-ACC-4":
            raise
        return _page(_recording(recording_id), form, error.person), 422
    return redirect(url_for("consultations.player", consultation_id=opened.id), 303)


def _recording(recording_id: str) -> Recording:
    """The recording, or 404 whether it is another's or never was; RefusedError without any ground at all."""
    house, looking = the_house(), viewer()
    require(has_ground(looking, house.clock.now()))
    return one_recording(house, looking, recording_id) or abort(404)


def _page(recording: Recording, form: dict[str, str] | None = None, refused: str = "") -> str:
    house, looking = the_house(), viewer()
    decision = may_consult(looking, viewed_of(recording), house.clock.now())
    return render_template(
        "recordings/one.html",
        recording=recording,
        facts=facts_of(recording, drift_method_of(house, recording)),
        term=term_of(recording),
        custody=custody_of(house, looking, recording.id),
        motives=motives_of(looking.role),
        needs_reference=needs_reference,
        limits={"text": MAX_TEXT, "reference": MAX_REFERENCE},
        closed=decision.reason if isinstance(decision, Refused) else "",
        form=form or {"motive": "", "text": "", "reference": ""},
        refused=refused,
    )
