"""Killed at every moment that changes a disk, then started again: nothing lost, nothing doubled, nothing half erased.

Each run is a fork of this process that sends itself SIGKILL at its N-th change (write, fsync, rename, link, unlink,
commit) and a second run that is left alone. Power cuts are not simulated here: a killed process loses no write the
kernel has taken.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import usb.core
from sqlalchemy import func, select

from bwc.chain_of_custody.verify import verify_ledger
from bwc.core.clock import SettableClock
from bwc.db.engine import Database
from bwc.db.models import ErasureCertificate, JournalEntry, Part, Recording, RecordingKey
from bwc.docking import usbio
from bwc.docking.card import FileBlocks, open_card
from bwc.docking.emulation import EmulatedBus, EmulatedCamera
from bwc.docking.mass_storage import MassStorageTransport
from bwc.docking.offload import Offload
from bwc.docking.profiles import load_profiles
from bwc.docking.service import recover
from bwc.erasure import erase_due
from bwc.ingest.media_facts import MediaFacts
from bwc.installation import Installation, initialise, open_installation
from bwc.settings import Settings
from bwc.town import read_demonstration
from bwc.verification import verify_store
from docks import MIB, camera, name
from factories import NOW, ROOT, at

CONTENT = {name(1): random.Random(1).randbytes(17 * MIB + 77), name(2): random.Random(2).randbytes(90_001)}
HOOKED = ("pwrite", "fsync", "rename", "link", "unlink")


@dataclass
class Ticker:
    """Counts changes, and kills the process at one of them."""

    fatal: int
    count: int = 0

    def tick(self) -> None:
        self.count += 1
        if self.count == self.fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    def hook(self, patch: pytest.MonkeyPatch) -> None:
        for function in HOOKED:
            original = getattr(os, function)

            def hooked(*args: Any, _original: Callable[..., Any] = original, **kwargs: Any) -> Any:
                self.tick()
                done = _original(*args, **kwargs)
                self.tick()
                return done

            patch.setattr(os, function, hooked)
        write = Database.write

        @contextlib.contextmanager
        def ticking(database: Database) -> Iterator[Any]:
            with write(database) as session:
                yield session
                self.tick()
            self.tick()

        patch.setattr(Database, "write", ticking)


def run_offload(settings: Settings, image: Path) -> None:
    house = open_installation(settings, SettableClock(NOW))
    house.vault._reserve = 0
    recover(house)
    bus = EmulatedBus()
    bus.plug(1, EmulatedCamera(image, 0x1209, 0xB0D1, "BWDEMO0000007", "Body camera", "Demonstration"))
    device = next(iter(usb.core.find(find_all=True, backend=bus)))
    identity = usbio.identify(device)
    profile = load_profiles().match(identity)
    assert profile is not None
    offload = Offload(
        house,
        bay=1,
        identity=identity,
        profile=profile,
        connect=lambda: MassStorageTransport(device, profile),
        gone=threading.Event(),
    )
    assert offload.run() == "done"
    house.close()


def run_erasure(settings: Settings, _: Path) -> None:
    house = open_installation(settings, SettableClock(NOW + timedelta(days=40)))
    at(house, house.clock.now())
    erase_due(house)
    house.close()


def in_fork(act: Callable[[], None], fatal: int, report: Path) -> int:
    """Run `act` in a fork that dies at change `fatal` (0: never); returns its wait status."""
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1]
    code = 1
    try:
        ticker = Ticker(fatal)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("bwc.ingest.intake.read_facts", lambda file, size: MediaFacts(readable=False))
            ticker.hook(patch)
            act()
        report.write_text(str(ticker.count))
        code = 0
    except BaseException as error:  # the parent must see why
        report.write_text(repr(error))
    finally:
        os._exit(code)


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An initialised installation and a camera's card, to be copied for each run."""
    folder = tmp_path_factory.mktemp("ready")
    settings = settings_in(folder)
    house = initialise(
        settings, demonstration=read_demonstration(ROOT / "config" / "demonstration.toml"), clock=SettableClock(NOW)
    )
    house.close()
    made = camera(folder, CONTENT)
    made.image_path.rename(folder / "card.img")
    return folder


@pytest.fixture(scope="module")
def filled(ready: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same after a whole offload."""
    folder = copy_of(ready, tmp_path_factory.mktemp("filled"))
    report = folder / "report"
    status = in_fork(lambda: run_offload(settings_in(folder), folder / "card.img"), 0, report)
    assert status == 0, report.read_text()
    return folder


def settings_in(folder: Path) -> Settings:
    return Settings(data=folder / "data", root_key_file=folder / "root.key", town=ROOT / "config" / "valence.toml")


def copy_of(folder: Path, target: Path) -> Path:
    target = target / "run"
    shutil.copytree(folder, target, copy_function=sparse_copy)
    return target


def sparse_copy(source: str, target: str) -> None:
    """Copy data extents only: cards are mostly holes."""
    size = Path(source).stat().st_size
    with open(source, "rb") as src, open(target, "wb") as dst:  # noqa: PTH123
        dst.truncate(size)
        at = 0
        while at < size:
            try:
                at = os.lseek(src.fileno(), at, os.SEEK_DATA)
            except OSError:
                break
            end = os.lseek(src.fileno(), at, os.SEEK_HOLE)
            os.copy_file_range(src.fileno(), dst.fileno(), end - at, at, at) if end > at else None
            at = end
    shutil.copymode(source, target)


def on_card(image: Path) -> set[str]:
    blocks = FileBlocks(image)
    try:
        return {entry.path for entry in open_card(blocks).files()}
    finally:
        blocks.close()


def check_nothing_lost(house: Installation, image: Path) -> None:
    """Invariant 1, at the very moment of the kill: on the camera, or wholly in."""
    left = on_card(image)
    with house.database.read() as session:
        rows = {row.source_path: row for row in session.scalars(select(Recording))}
        taken = session.scalar(
            select(func.count()).select_from(JournalEntry).where(JournalEntry.action == "recording.taken_in")
        )
    assert taken == len(rows)
    for path in CONTENT:
        assert path in left or path in rows
    checked, faults = verify_store(house)
    assert (checked, faults) == (len(rows), [])


def check_exactly_one_copy(house: Installation, image: Path) -> None:
    with house.database.read() as session:
        rows = list(session.scalars(select(Recording)))
        parts = list(session.scalars(select(Part.name)))
    assert sorted(row.source_path for row in rows) == sorted(CONTENT)
    assert {row.vault_name for row in rows} == set(house.vault.names())
    assert parts == []
    assert list(house.vault.parts()) == []
    assert on_card(image) == set()
    house.publish_checkpoint()
    assert verify_ledger(house.database, house.settings.checkpoint_folder, house.signer().verifier).ok


def moments(total: int, most: int = 40) -> list[int]:
    """Every moment if few, else the first and last ones and an even, seeded choice between."""
    if total <= most:
        return list(range(1, total + 1))
    inner = random.Random(total).sample(range(6, total - 5), most - 10)
    return sorted({*range(1, 6), *inner, *range(total - 4, total + 1)})


def test_killed_at_any_moment_of_an_offload_then_restarted_there_is_exactly_one_copy(
    ready: Path, tmp_path: Path
) -> None:
    probe = copy_of(ready, tmp_path / "probe")
    assert in_fork(lambda: run_offload(settings_in(probe), probe / "card.img"), 0, tmp_path / "total") == 0
    total = int((tmp_path / "total").read_text())
    assert total > 60
    for fatal in moments(total):
        folder = copy_of(ready, tmp_path / f"kill-{fatal}")
        act = lambda folder=folder: run_offload(settings_in(folder), folder / "card.img")  # noqa: E731
        status = in_fork(act, fatal, tmp_path / "report")
        assert os.WIFSIGNALED(status), (fatal, (tmp_path / "report").read_text())
        house = open_installation(settings_in(folder), SettableClock(NOW))
        check_nothing_lost(house, folder / "card.img")
        house.close()
        assert in_fork(act, 0, tmp_path / "report") == 0, (fatal, (tmp_path / "report").read_text())
        house = open_installation(settings_in(folder), SettableClock(NOW))
        check_exactly_one_copy(house, folder / "card.img")
        house.close()
        shutil.rmtree(folder.parent)


def test_killed_at_any_moment_of_an_erasure_then_restarted_it_is_one_whole_erasure(
    filled: Path, tmp_path: Path
) -> None:
    probe = copy_of(filled, tmp_path / "probe")
    assert in_fork(lambda: run_erasure(settings_in(probe), probe), 0, tmp_path / "total") == 0
    total = int((tmp_path / "total").read_text())
    for fatal in moments(total):
        folder = copy_of(filled, tmp_path / f"kill-{fatal}")
        act = lambda folder=folder: run_erasure(settings_in(folder), folder)  # noqa: E731
        assert os.WIFSIGNALED(in_fork(act, fatal, tmp_path / "report")), fatal
        house = open_installation(settings_in(folder), SettableClock(NOW + timedelta(days=40)))
        check_no_half_erasure(house)
        house.close()
        assert in_fork(act, 0, tmp_path / "report") == 0, (fatal, (tmp_path / "report").read_text())
        house = open_installation(settings_in(folder), SettableClock(NOW + timedelta(days=40)))
        check_erased(house)
        house.close()
        shutil.rmtree(folder.parent)


def check_no_half_erasure(house: Installation) -> None:
    """Never a row that says erased while its key lives, never a key gone without its ledger entry."""
    with house.database.read() as session:
        keys = set(session.scalars(select(RecordingKey.recording_id)))
        told = set(
            session.scalars(select(JournalEntry.recording_id).where(JournalEntry.action == "recording.key_destroyed"))
        )
        for row in session.scalars(select(Recording)):
            assert (row.id in keys) == (row.state in {"held", "quarantined"})
            assert (row.id in told) == (row.id not in keys)


def check_erased(house: Installation) -> None:
    with house.database.read() as session:
        states = set(session.scalars(select(Recording.state)))
        certificates = session.scalar(select(func.count()).select_from(ErasureCertificate))
    assert states == {"erased"}
    assert certificates == len(CONTENT)
    assert list(house.vault.names()) == []
    assert list(house.settings.key_folder.glob("day-*")) == []
    house.publish_checkpoint()
    assert verify_ledger(house.database, house.settings.checkpoint_folder, house.signer().verifier).ok
