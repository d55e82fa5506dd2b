"""One way out: every image leaves the vault through here, after its consultation entry is committed.

Invariant 2 of docs/architecture.md. A consultation is a declared motive and fifteen minutes during which one
person, in one session, may read one recording's images.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from bwc.chain_of_custody.journal import Actor, Event, Operation
from bwc.core.errors import InputError, RefusedError, StorageError
from bwc.core.ids import new_id
from bwc.db.models import Consultation, Person, Recording, RecordingKey, WebSession
from bwc.installation import Installation
from bwc.rules.access import Act, Role, Viewed, Viewer, check_motive, may_consult
from bwc.rules.decision import Refused
from bwc.rules.retention import Term

CONSULTATION_LENGTH = timedelta(minutes=15)
IMAGE_KINDS = ("original", "proxy", "poster")


def viewer_of(person: Person) -> Viewer:
    """A person as the access rules need to know him."""
    acts = tuple(Act(act.number, act.starts_on, act.ends_on) for act in person.acts)
    return Viewer(person.id, Role(person.role), person.active, frozenset({person.commune}), acts)


def viewed_of(recording: Recording) -> Viewed:
    """A recording as the access rules need to know it."""
    return Viewed(recording.wearer_id, recording.commune, recording.state, term_of(recording))


def term_of(recording: Recording) -> Term:
    """The recording's term as it was set at intake."""
    return Term(recording.recorded_on, recording.due_on, recording.term_rule)


def actor_of(person: Person) -> Actor:
    """A person as the journal names him: matricule, name, rank (the superset of R241-14)."""
    return Actor(person.id, f"{person.matricule} {person.first_name} {person.last_name}, {person.rank}")


def open_consultation(
    house: Installation,
    person_id: str,
    recording_id: str,
    *,
    motive: str,
    text: str,
    reference: str,
    session_sha256: str,
) -> Consultation:
    """Declare a motive and open the recording's images to one person for fifteen minutes.

    The entry is committed before this returns. A refusal is written to the journal too, then raised as
    RefusedError. Raises InputError when the recording does not exist.
    """
    now = house.clock.now()
    with house.database.write() as session:
        person, recording = _both(session, person_id, recording_id)
        viewer = viewer_of(person)
        decision = may_consult(viewer, viewed_of(recording), now)
        if decision:
            decision = check_motive(viewer.role, motive, text, reference)
        if isinstance(decision, Refused):
            _journal(house, session, person, recording, "recording.view_refused", motive, {"rule": decision.rule})
        else:
            detail = {"text": text.strip(), "reference": reference.strip(), "minutes": 15}
            seq = _journal(house, session, person, recording, "recording.viewed", motive, detail)
            consultation = Consultation(
                id=new_id(),
                person_id=person.id,
                recording_id=recording.id,
                session_sha256=session_sha256,
                motive=motive,
                motive_text=text.strip(),
                reference=reference.strip(),
                opened_at=now,
                ends_at=now + CONSULTATION_LENGTH,
                ledger_seq=seq,
            )
            session.add(consultation)
            return consultation
    raise RefusedError(f"consultation of {recording_id} refused", person=decision.reason, code=decision.rule)


@dataclass(frozen=True)
class Image:
    """An open image: a seekable binary file that decrypts as it is read, its size in bytes and its media type.

    `until` is the end of the consultation or of the term, whichever comes first. Who reads for longer than a
    moment asks `still_open` again and again.
    """

    file: io.RawIOBase
    size: int
    media_type: str
    until: datetime


def open_image(house: Installation, consultation_id: str, *, person_id: str, session_sha256: str, kind: str) -> Image:
    """The image a consultation gives right to, every condition checked again at this instant.

    `kind` is one of IMAGE_KINDS. Raises RefusedError when the consultation is another's, another session's or
    over, when the person lost his ground, when the term ran out; InputError when there is no such image;
    EvidenceError, later, from the file's reads, when stored bytes do not authenticate.
    """
    with house.database.read() as session:
        consultation, recording = _opened(session, consultation_id, person_id, session_sha256, house.clock.now())
        until = min(consultation.ends_at, term_of(recording).ends_at)
        wrapped = session.get(RecordingKey, recording.id)
        if wrapped is None:
            raise StorageError(f"no key for {recording.id}", code="key_gone")
        name, context, size, media_type = _image(recording, kind)
        key = house.keys.unwrap(wrapped.day_key_id, recording.id, wrapped.wrapped)
    return Image(house.vault.open(name, key, context), size, media_type, until)


def still_open(house: Installation, consultation_id: str, *, person_id: str, session_sha256: str) -> bool:
    """Whether an image under way may go on at this instant: every condition of `open_image`, and the web session
    of that digest neither revoked nor over.
    """
    now = house.clock.now()
    with house.database.read() as session:
        row = session.get(WebSession, session_sha256)
        if row is None or row.person_id != person_id or row.revoked_at is not None or now >= row.ends_at:
            return False
        try:
            _opened(session, consultation_id, person_id, session_sha256, now)
        except (RefusedError, InputError):
            return False
    return True


def _opened(
    session: Session, consultation_id: str, person_id: str, session_sha256: str, now: datetime
) -> tuple[Consultation, Recording]:
    """The consultation and its recording, every condition of reading an image checked at `now`."""
    consultation = session.get(Consultation, consultation_id)
    if consultation is None or consultation.person_id != person_id:
        raise RefusedError("foreign consultation", person="Cette consultation n'est pas la vôtre.")
    if consultation.session_sha256 != session_sha256 or now >= consultation.ends_at:
        raise RefusedError(
            "consultation over",
            person="La consultation est terminée : indiquez à nouveau un motif.",
            code="BWC-ACC-6",
        )
    person, recording = _both(session, person_id, consultation.recording_id)
    decision = may_consult(viewer_of(person), viewed_of(recording), now)
    if isinstance(decision, Refused):
        raise RefusedError("no ground any more", person=decision.reason, code=decision.rule)
    return consultation, recording


def _image(recording: Recording, kind: str) -> tuple[str, str, int, str]:
    if kind == "original":
        media_type = str(recording.media.get("media_type") or "application/octet-stream")
        return recording.vault_name, recording.id, recording.size, media_type
    for derivative in recording.derivatives:
        if derivative.kind == kind and kind in IMAGE_KINDS:
            return derivative.vault_name, derivative.id, derivative.size, derivative.media_type
    raise InputError(f"no {kind} of {recording.id}", person="Cette image n'existe pas (encore).", code="no_image")


def _both(session: Session, person_id: str, recording_id: str) -> tuple[Person, Recording]:
    person = session.get(Person, person_id)
    recording = session.get(Recording, recording_id)
    if person is None or recording is None:
        raise InputError("unknown person or recording", person="Cet enregistrement n'existe pas.", code="unknown")
    return person, recording


def _journal(
    house: Installation,
    session: Session,
    person: Person,
    recording: Recording,
    action: str,
    motive: str,
    detail: dict[str, object],
) -> int:
    event = Event(
        Operation.CONSULTATION,
        action,
        actor_of(person),
        recording_id=recording.id,
        motive=motive,
        detail=detail,
    )
    return house.ledger.append(session, event)
