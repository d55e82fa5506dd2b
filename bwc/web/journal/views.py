"""The journal by pages, filtered; each page shown is first written in the journal."""

from __future__ import annotations

from flask import Blueprint, render_template, request

from bwc.catalogue import JournalFilter, journal_page, people
from bwc.catalogue.journal import journal_size
from bwc.chain_of_custody.journal import Event, Operation
from bwc.consultation import actor_of
from bwc.core.errors import InputError
from bwc.core.ids import is_id
from bwc.rules.access import Permission
from bwc.web.access import permission, person, the_house
from bwc.web.recordings.query import read_day

blueprint = Blueprint("journal", __name__, template_folder="templates")


@blueprint.get("/journal")
@permission(Permission.JOURNAL_READ)
def index() -> str:
    """One page of entries, the last first."""
    house, wanted, before = the_house(), _wanted(), _before()
    _record_reading(wanted, before)
    return render_template(
        "journal/index.html",
        page=journal_page(house, wanted, before),
        asked=wanted,
        total=journal_size(house),
        operations=[operation.value for operation in Operation],
        people=[(one.id, f"{one.last_name} {one.first_name} ({one.matricule})") for one in people(house)],
    )


def _wanted() -> JournalFilter:
    operation = request.args.get("operation", "")
    person_id = request.args.get("personne", "")
    return JournalFilter(
        operation if operation in set(Operation) else "",
        person_id if is_id(person_id) else "",
        read_day(request.args.get("du", "")),
        read_day(request.args.get("au", "")),
    )


def _before() -> int | None:
    text = request.args.get("avant", "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise InputError("malformed place in the journal", person="Cette page du journal n'existe pas.")
    return int(text)


def _record_reading(wanted: JournalFilter, before: int | None) -> None:
    """Who reads the journal is in the journal, with what he asked for, before he sees it."""
    house = the_house()
    detail: dict[str, object] = {
        "operation": wanted.operation,
        "person": wanted.person_id,
        "first_day": wanted.first_day.isoformat() if wanted.first_day else "",
        "last_day": wanted.last_day.isoformat() if wanted.last_day else "",
    }
    if before is not None:
        detail["before"] = before
    with house.database.write() as session:
        event = Event(Operation.CONSULTATION, "journal.read", actor_of(person()), detail=detail)
        house.ledger.append(session, event)
