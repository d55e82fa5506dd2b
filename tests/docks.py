"""An emulated dock for tests: real product code above libusb's level, real FAT32 and exFAT images below."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import usb.core
from sqlalchemy import select

from bwc.db.models import OffloadSession
from bwc.docking.card_maker import CardSource, make_card
from bwc.docking.emulation import EmulatedBus, EmulatedCamera
from bwc.docking.profiles import ProfileBook
from bwc.docking.service import DockingService
from bwc.installation import Installation

VENDOR, PRODUCT = 0x1209, 0xB0D1
MIB = 1 << 20


def source(path: str, data: bytes, modified: datetime | None = None) -> CardSource:
    return CardSource(path, len(data), modified or datetime(2026, 11, 22, 18, 40), lambda: io.BytesIO(data))  # noqa: DTZ001


def name(number: int, start: str = "20261122_173207") -> str:
    return f"DCIM/{start[:8]}/CAM07_{start}_{number:04d}.MP4"


def camera(
    folder: Path,
    files: dict[str, bytes],
    *,
    serial: str = "BWDEMO0000007",
    kind: str = "fat32",
    size: int = 96 * MIB,
    modified: datetime | None = None,
) -> EmulatedCamera:
    image = folder / f"{serial}-{kind}.img"
    make_card(image, kind, size, [source(path, data, modified) for path, data in files.items()], label="CARTE")
    return EmulatedCamera(image, VENDOR, PRODUCT, serial, "Body camera", "Demonstration")


class Dock:
    """A docking service in a thread over an emulated bus."""

    def __init__(self, house: Installation, profiles: ProfileBook | None = None) -> None:
        self.house = house
        self.bus = EmulatedBus()
        self.stop = threading.Event()
        self.jobs: list[str] = []
        self.service = DockingService(house, self._find, announce=self.jobs.extend, profiles=profiles, interval_s=0.02)
        self.thread = threading.Thread(target=self.service.run, args=(self.stop,), daemon=True)

    def _find(self) -> Iterable[usb.core.Device]:
        return usb.core.find(find_all=True, backend=self.bus)  # type: ignore[no-any-return]

    def __enter__(self) -> Dock:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join(60)
        assert not self.thread.is_alive()

    def wait(self, states: tuple[str, ...] = ("done",), count: int = 1, patience_s: float = 60) -> list[OffloadSession]:
        """Sessions, oldest first, once `count` of them are in one of `states`."""
        deadline = time.monotonic() + patience_s
        while True:
            with self.house.database.read() as session:
                rows = list(
                    session.scalars(select(OffloadSession).order_by(OffloadSession.opened_at, OffloadSession.id))
                )
                if sum(row.state in states for row in rows) >= count:
                    for row in rows:
                        _ = list(row.files)
                    return rows
            if time.monotonic() > deadline:
                raise AssertionError([(row.state, row.message, row.error_code) for row in rows])
            time.sleep(0.02)
