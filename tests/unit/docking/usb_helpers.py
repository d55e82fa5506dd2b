"""An emulated bus with cameras on it, shared by the USB tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import usb.core

from bwc.docking.emulation import EmulatedBus, EmulatedCamera
from bwc.docking.msc import MassStorage

BLOCKS = 6000


def pattern(first: int, count: int) -> bytes:
    """Blocks that each say their own number, so that a wrong block is a wrong byte."""
    return b"".join(number.to_bytes(8, "big") * 64 for number in range(first, first + count))


def make_image(folder: Path, blocks: int = BLOCKS) -> Path:
    path = folder / "card.img"
    path.write_bytes(pattern(0, blocks))
    return path


def make_camera(image: Path, **changes: Any) -> EmulatedCamera:
    facts: dict[str, Any] = {
        "vendor_id": 0x1209,
        "product_id": 0xB0D1,
        "serial": "DEMO-0007",
        "product": "Demonstration camera",
        "manufacturer": "bwc",
    }
    return EmulatedCamera(image, **{**facts, **changes})


def device_on(bus: EmulatedBus) -> usb.core.Device:
    """The first device on the bus."""
    device = usb.core.find(backend=bus)
    assert device is not None
    return device


@contextmanager
def opened(camera: EmulatedCamera, **options: Any) -> Iterator[MassStorage]:
    """The camera's card over a bus of its own, without waiting between attempts."""
    bus = EmulatedBus()
    bus.plug(1, camera)
    try:
        card = MassStorage(device_on(bus), ready_pause_s=0, **options)
        try:
            yield card
        finally:
            card.close()
    finally:
        bus.close()
