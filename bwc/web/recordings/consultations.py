"""The player of one declared consultation, and its images as byte ranges."""

from __future__ import annotations

from functools import partial

from flask import Blueprint, abort, render_template, request
from werkzeug.wrappers import Response

from bwc.catalogue import consultation_of, one_recording
from bwc.consultation import open_image, still_open
from bwc.core.clock import iso_utc
from bwc.core.errors import RefusedError
from bwc.db.models import Consultation, Recording
from bwc.rules.access import Permission, motive
from bwc.web.access import permission, person, the_house, viewer
from bwc.web.recordings.facts import facts_of
from bwc.web.recordings.images import Leave, image_answer
from bwc.web.sessions import current_session

PLAYABLE = frozenset({"video/mp4", "video/webm", "video/quicktime", "video/x-m4v"})
PLAYABLE_CODECS = frozenset({"", "AVC", "h264", "VP8", "VP9", "AV1"})
DEFAULT_FRAMES_PER_1000_S = 25_000

blueprint = Blueprint("consultations", __name__, template_folder="templates")


@blueprint.get("/consultations/<string(length=26):consultation_id>")
@permission(Permission.RECORDINGS_VIEW)
def player(consultation_id: str) -> str:
    """The player, for the minutes the consultation lasts."""
    house, looking = the_house(), viewer()
    now = house.clock.now()
    opened = _own(consultation_id)
    if opened.session_sha256 != _session_sha256() or now >= opened.ends_at:
        raise RefusedError(
            "consultation over",
            person="La consultation est terminée : indiquez à nouveau un motif.",
            code="BWC-ACC-6",
        )
    recording = one_recording(house, looking, opened.recording_id) or abort(404)
    stated = motive(opened.motive)
    return render_template(
        "recordings/player.html",
        recording=recording,
        opened=opened,
        kind=playable_kind(recording),
        has_poster=any(derivative.kind == "poster" for derivative in recording.derivatives),
        motive=stated.label if stated else opened.motive,
        facts=facts_of(recording),
        frame_rate=recording.media.get("frame_rate_milli") or DEFAULT_FRAMES_PER_1000_S,
        instants={
            "now": iso_utc(now),
            "ends": iso_utc(opened.ends_at),
            "start": iso_utc(recording.claimed_start) if recording.claimed_start else "",
        },
    )


@blueprint.get("/consultations/<string(length=26):consultation_id>/images/<any(original,proxy,poster):kind>")
@permission(Permission.RECORDINGS_VIEW)
def image(consultation_id: str, kind: str) -> Response:
    """Bytes of one image, whole or one range; every condition is checked before the first, and while they leave."""
    house, session = the_house(), current_session()
    opened = _own(consultation_id)
    who = {"person_id": person().id, "session_sha256": _session_sha256()}
    found = open_image(house, consultation_id, **who, kind=kind)
    until = min(found.until, session.ends_at) if session and session.ends_at else found.until
    leave = Leave(until, house.clock, partial(still_open, house, consultation_id, **who))
    recording = one_recording(house, viewer(), opened.recording_id)
    tag = _tag(recording, kind) if recording else ""
    return image_answer(found, request, tag=tag, leave=leave)


def playable_kind(recording: Recording) -> str | None:
    """Which image a browser can play: the proxy, else the original when its container allows, else none."""
    if any(derivative.kind == "proxy" for derivative in recording.derivatives):
        return "proxy"
    codec = str(recording.media.get("video_codec") or "")
    if recording.media.get("media_type") in PLAYABLE and codec in PLAYABLE_CODECS:
        return "original"
    return None


def _own(consultation_id: str) -> Consultation:
    """The person's own consultation; another's reads as one that never was."""
    return consultation_of(the_house(), person().id, consultation_id) or abort(404)


def _session_sha256() -> str:
    session = current_session()
    return session.token_sha256 if session else ""


def _tag(recording: Recording, kind: str) -> str:
    """Strong validator of an image's bytes: they never change under one digest."""
    if kind == "original":
        return recording.sha256
    return next((one.sha256 for one in recording.derivatives if one.kind == kind), "")
