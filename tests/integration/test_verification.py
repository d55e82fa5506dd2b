"""A flipped byte anywhere in the vault is found and named, and changes nothing else."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from sqlalchemy import select

from bwc.db.models import Incident, JournalEntry, RecordingKey
from bwc.installation import Installation
from bwc.verification import verify_store
from factories import recording, take

ON_BOTH_DATABASES = True


def container(house: Installation, recording_id: str) -> Path:
    name = recording(house, recording_id).vault_name
    return house.settings.vault_folder / name[:2] / f"{name}.bwc"


def test_a_whole_store_verifies(house: Installation) -> None:
    for number in range(3):
        take(house, bytes([number]) * 100_000)
    assert verify_store(house) == (3, [])


def test_thirty_shares_read_everything_exactly_once(house: Installation) -> None:
    for number in range(12):
        take(house, bytes([number]) * 100)
    assert sum(verify_store(house, share=(share, 30))[0] for share in range(30)) == 12


@pytest.mark.parametrize("seed", range(6))
def test_one_flipped_bit_is_found_and_its_recording_named(house: Installation, seed: int) -> None:
    chance = random.Random(seed)
    good = take(house, b"good" * 1000)
    bad = take(house, chance.randbytes(200_000))
    path = container(house, bad.recording_id)
    data = bytearray(path.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)
    checked, faults = verify_store(house)
    assert checked == 2
    assert [(fault.recording_id, fault.what) for fault in faults] == [(bad.recording_id, "original")]
    with house.database.read() as session:
        assert session.scalars(select(Incident.recording_id)).all() == [bad.recording_id]
        actions = session.scalars(select(JournalEntry.action)).all()
    assert "recording.integrity_failed" in actions
    assert recording(house, good.recording_id).state == "held"


def test_a_missing_file_a_missing_key_and_a_swapped_file_are_found(house: Installation) -> None:
    gone, keyless, one, two = (take(house, bytes([n]) * 5000) for n in range(4))
    container(house, gone.recording_id).unlink()
    with house.database.write() as session:
        session.delete(session.get_one(RecordingKey, keyless.recording_id))
    first, second = container(house, one.recording_id), container(house, two.recording_id)
    kept = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(kept)
    _, faults = verify_store(house)
    assert {fault.recording_id for fault in faults} == {taken.recording_id for taken in (gone, keyless, one, two)}
