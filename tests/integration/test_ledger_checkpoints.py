"""Publishing: when it is due, what it leaves in the table and the folder, what it refuses to sign, what it mends."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bwc.chain_of_custody import checkpoints
from bwc.chain_of_custody.checkpoints import due, latest, publish, restore_files
from bwc.chain_of_custody.ledger import Ledger
from bwc.chain_of_custody.note import Signer, TreeHead, open_checkpoint, parse_vkey
from bwc.chain_of_custody.verify import verify_ledger
from bwc.core.clock import SettableClock
from bwc.core.errors import ConfigError, EvidenceError
from bwc.db.engine import Database
from tests.integration.ledger_helpers import SIGNER, START, build, disarm, event, execute, rewrite


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock(START)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / "checkpoints"


def append(database: Database, clock: SettableClock, count: int) -> None:
    with database.write() as session:
        Ledger(clock).append_many(session, [event(number) for number in range(count)])


def test_what_is_published_opens_and_is_in_table_and_folder(
    database: Database, clock: SettableClock, folder: Path
) -> None:
    append(database, clock, 3)
    made = publish(database, clock, SIGNER, folder)
    assert made is not None
    assert made == latest(database)
    assert (made.size, made.made_at) == (3, START)
    assert sorted(path.name for path in folder.iterdir()) == ["000000000003.note", "vkey"]
    key = parse_vkey((folder / "vkey").read_text())
    assert open_checkpoint((folder / "000000000003.note").read_bytes(), key) == TreeHead(SIGNER.name, 3, made.root)


def test_nothing_is_published_when_nothing_is_new(database: Database, clock: SettableClock, folder: Path) -> None:
    assert publish(database, clock, SIGNER, folder) is None
    assert latest(database) is None
    append(database, clock, 1)
    assert publish(database, clock, SIGNER, folder) is not None
    assert publish(database, clock, SIGNER, folder) is None
    assert [path.name for path in folder.glob("*.note")] == ["000000000001.note"]


def test_when_it_is_due(database: Database, clock: SettableClock, folder: Path) -> None:
    assert not due(database, clock)
    append(database, clock, 1)
    assert not due(database, clock)
    append(database, clock, 98)
    assert not due(database, clock)
    append(database, clock, 1)
    assert due(database, clock)
    publish(database, clock, SIGNER, folder)
    clock.advance(timedelta(days=1))
    assert not due(database, clock)
    append(database, clock, 1)
    assert not due(database, clock)
    clock.advance(timedelta(minutes=9, seconds=59))
    append(database, clock, 1)
    assert not due(database, clock)
    clock.advance(timedelta(seconds=1))
    assert due(database, clock)
    clock.advance(timedelta(days=-1))
    assert due(database, clock)
    assert not due(database, SettableClock(clock.now() + timedelta(days=1)), every=3, minutes=60)


def test_a_crash_between_row_and_file_is_mended_by_the_next_publish(
    database: Database, clock: SettableClock, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(database, clock, 2)
    with monkeypatch.context() as patched:
        patched.setattr(checkpoints, "restore_files", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            publish(database, clock, SIGNER, folder)
    assert list(folder.glob("*.note")) == []
    report = verify_ledger(database, folder, SIGNER.verifier)
    assert [fault.code for fault in report.faults] == ["checkpoint_file_missing"]
    assert publish(database, clock, SIGNER, folder) is None
    assert verify_ledger(database, folder, SIGNER.verifier).ok
    (folder / "000000000002.note").unlink()
    assert restore_files(database, folder) == 1
    assert verify_ledger(database, folder, SIGNER.verifier).ok


def test_a_file_that_cannot_be_written_leaves_no_half(
    database: Database, clock: SettableClock, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(database, clock, 2)
    publish(database, clock, SIGNER, folder)
    append(database, clock, 2)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space"):
            publish(database, clock, SIGNER, folder)
    assert sorted(path.name for path in folder.iterdir()) == ["000000000002.note", "vkey"]
    publish(database, clock, SIGNER, folder)
    assert verify_ledger(database, folder, SIGNER.verifier).ok


def test_another_key_than_the_published_one_signs_nothing(
    database: Database, clock: SettableClock, folder: Path
) -> None:
    append(database, clock, 1)
    publish(database, clock, SIGNER, folder)
    append(database, clock, 1)
    with pytest.raises(ConfigError):
        publish(database, clock, Signer(SIGNER.name, Ed25519PrivateKey.generate()), folder)
    found = latest(database)
    assert found is not None
    assert found.size == 1


def test_a_shortened_ledger_is_not_signed_again(database: Database, folder: Path) -> None:
    build(database, folder)
    disarm(database)
    rewrite(database, lambda rows: rows[:7])
    clock = SettableClock(START)
    with pytest.raises(EvidenceError, match="a checkpoint of 9 was signed"):
        publish(database, clock, SIGNER, folder)
    execute(database, "DELETE FROM checkpoint WHERE size > 7")
    with pytest.raises(EvidenceError, match="a checkpoint of 9 was signed"):
        publish(database, clock, SIGNER, folder)


def test_a_restored_ledger_grown_again_to_the_same_size_is_not_signed(database: Database, folder: Path) -> None:
    build(database, folder)
    disarm(database)
    rewrite(database, lambda rows: rows[:7])
    execute(database, "DELETE FROM checkpoint WHERE size > 7")
    append(database, SettableClock(START), 2)
    with pytest.raises(EvidenceError, match="root at 9 entries is not the one that was signed"):
        publish(database, SettableClock(START), SIGNER, folder)


def test_a_head_that_disagrees_with_the_entries_is_not_signed(database: Database, folder: Path) -> None:
    build(database, folder)
    execute(database, "UPDATE ledger_head SET size = 13, frontier = :f", f=b"f" * 96)
    with pytest.raises(EvidenceError, match="head says 13 entries, 12 are stored"):
        publish(database, SettableClock(START), SIGNER, folder)


def test_files_that_are_no_checkpoints_do_not_stop_publishing(
    database: Database, clock: SettableClock, folder: Path
) -> None:
    folder.mkdir(parents=True)
    (folder / "999999999999.note").write_bytes(b"not a note")
    (folder / "000000000007.note").mkdir()
    (folder / "README").write_text("x")
    append(database, clock, 1)
    assert publish(database, clock, SIGNER, folder) is not None
    report = verify_ledger(database, folder, SIGNER.verifier)
    assert {fault.seq for fault in report.faults} == {999999999999}


def test_a_key_that_is_none_is_refused(database: Database, folder: Path) -> None:
    with pytest.raises(EvidenceError):
        verify_ledger(database, folder, "not a key")


def test_an_empty_ledger_is_sound(database: Database, folder: Path) -> None:
    report = verify_ledger(database, folder, SIGNER.verifier.vkey())
    assert report.ok
    assert (report.entries, report.checkpoints) == (0, 0)
    assert report.root == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert report.seconds >= 0
