"""What is measured of ours, each in a process of its own: `python -m benchmarks.subjects NAME ARGUMENT…`.

Those that need the whole installation; the vault alone is benchmarks.copying, the limits are benchmarks.limits.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.house import provenance, quiet, settings_in
from benchmarks.telling import told
from bwc.chain_of_custody.journal import Actor, Event, Operation
from bwc.chain_of_custody.verify import verify_ledger
from bwc.ingest.intake import take_in
from bwc.installation import Installation, open_installation


def intake(source: str, folder: str) -> None:
    """A file through the whole intake: copy, read-back, media facts, commit."""
    house = open_installation(settings_in(Path(folder)))
    with told() as tells, Path(source).open("rb", buffering=0) as file:
        tells["sha256"] = take_in(house, file, provenance(house, Path(source).stat().st_size)).sha256
    house.close()


def event(number: int) -> Event:
    """An entry such as a consultation writes."""
    detail = {"text": "Visionnage pour la procédure", "reference": f"2026/{number:07d}", "minutes": 15}
    actor = Actor(f"{number % 40:026d}", "2107 Karim Roux, Brigadier-chef principal")
    recording = f"{number % 500:026d}"
    return Event(Operation.CONSULTATION, "recording.viewed", actor, recording, "procedure_judiciaire", detail=detail)


def fill(house: Installation, first: int, count: int) -> None:
    """Append entries, a thousand a transaction."""
    for start in range(first, first + count, 1000):
        with house.database.write() as session:
            house.ledger.append_many(
                session, [event(number) for number in range(start, min(start + 1000, first + count))]
            )


def append_each(folder: str, count: str) -> None:
    """Entries appended, each in a transaction of its own."""
    house = open_installation(settings_in(Path(folder)))
    with told():
        for number in range(int(count)):
            with house.database.write() as session:
                house.ledger.append(session, event(number))
    house.close()


def append_thousands(folder: str, count: str) -> None:
    """Entries appended, a thousand a transaction."""
    house = open_installation(settings_in(Path(folder)))
    with told():
        fill(house, 0, int(count))
    house.close()


def verify(folder: str) -> None:
    """What `bwc ledger verify` does."""
    house = open_installation(settings_in(Path(folder)))
    with told() as tells:
        report = verify_ledger(house.database, house.settings.checkpoint_folder, house.signer().verifier)
        tells.update(ok=report.ok, entries=report.entries)
    house.close()


SUBJECTS: dict[str, Callable[..., None]] = {
    each.__name__: each for each in (intake, append_each, append_thousands, verify)
}

if __name__ == "__main__":
    quiet()
    SUBJECTS[sys.argv[1]](*sys.argv[2:])
