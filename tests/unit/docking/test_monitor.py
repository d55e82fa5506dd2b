from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import usb.core

from bwc.core.errors import DeviceError
from bwc.docking import monitor as monitor_module
from bwc.docking import usbio
from bwc.docking.emulation import EmulatedBus
from bwc.docking.monitor import Arrived, HotplugMonitor, NetlinkWake, Removed, is_usb_device_event
from bwc.docking.msc import MassStorage
from usb_helpers import device_on, make_camera, make_image


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return make_image(tmp_path, 64)


def watching(bus: EmulatedBus, **options: Any) -> HotplugMonitor:
    return HotplugMonitor(lambda: usbio.find_devices(bus), **options)


def test_an_empty_bus_has_no_events() -> None:
    assert watching(EmulatedBus()).poll_once() == []


def test_a_plug_and_a_pull_are_each_told_once(image: Path) -> None:
    bus = EmulatedBus()
    monitor = watching(bus)
    bus.plug(4, make_camera(image))
    [event] = monitor.poll_once()
    assert isinstance(event, Arrived)
    assert (event.address, event.mass_storage, event.vendor_id, event.product_id) == (
        "1-4",
        True,
        0x1209,
        0xB0D1,
    )
    assert monitor.poll_once() == []
    bus.pull(4)
    assert monitor.poll_once() == [Removed("1-4")]
    assert monitor.poll_once() == []


def test_the_device_of_an_arrival_can_be_opened(image: Path) -> None:
    bus = EmulatedBus()
    bus.plug(1, make_camera(image))
    [event] = watching(bus).poll_once()
    assert isinstance(event, Arrived)
    card = MassStorage(event.device)
    assert card.block_count == 64
    card.close()


def test_a_replug_between_two_polls_is_a_removal_then_an_arrival(image: Path) -> None:
    bus, camera = EmulatedBus(), make_camera(image)
    monitor = watching(bus)
    bus.plug(2, camera)
    monitor.poll_once()
    bus.pull(2)
    bus.plug(2, camera)
    events = monitor.poll_once()
    assert [type(event) for event in events] == [Removed, Arrived]
    assert {event.address for event in events} == {"1-2"}


def test_a_camera_gone_by_itself_is_removed(image: Path) -> None:
    bus, camera = EmulatedBus(), make_camera(image, gone_after_bytes=600)
    bus.plug(1, camera)
    monitor = watching(bus)
    monitor.poll_once()
    card = MassStorage(device_on(bus))
    with pytest.raises(DeviceError):
        card.read(0, 64)
    card.close()
    assert monitor.poll_once() == [Removed("1-1")]


def test_two_cameras_in_two_bays_are_two_arrivals(tmp_path: Path, image: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    bus = EmulatedBus()
    bus.plug(1, make_camera(image))
    bus.plug(8, make_camera(make_image(other, 64)))
    assert [event.address for event in watching(bus).poll_once()] == ["1-1", "1-8"]


def test_a_device_that_is_not_mass_storage_arrives_flagged(image: Path) -> None:
    bus = EmulatedBus()
    bus.plug(1, make_camera(image, interface_class=3))
    [event] = watching(bus).poll_once()
    assert isinstance(event, Arrived)
    assert not event.mass_storage


def test_hubs_are_not_told() -> None:
    hub = SimpleNamespace(bDeviceClass=9, bus=1, port_numbers=(1,), address=2, idVendor=1, idProduct=2)
    assert HotplugMonitor(lambda: [hub]).poll_once() == []


@pytest.mark.parametrize("error", [DeviceError("no list"), usb.core.USBError("io", None, errno.EIO), OSError("folder")])
def test_a_bus_that_cannot_be_listed_removes_nothing(image: Path, error: Exception) -> None:
    bus = EmulatedBus()
    bus.plug(1, make_camera(image))
    failing = False

    def find() -> Iterable[usb.core.Device]:
        if failing:
            raise error
        return usbio.find_devices(bus)

    monitor = HotplugMonitor(find)
    monitor.poll_once()
    failing = True
    assert monitor.poll_once() == []
    failing = False
    assert monitor.poll_once() == []


def test_the_loop_hands_events_over_survives_its_handler_and_stops(image: Path) -> None:
    bus, stop = EmulatedBus(), threading.Event()
    bus.plug(1, make_camera(image))
    told: list[str] = []

    def handle(event: monitor_module.Event) -> None:
        told.append(type(event).__name__)
        if len(told) == 1:
            bus.pull(1)
            raise RuntimeError("a handler's own fault")
        stop.set()

    watching(bus, interval_s=0.001, on_event=handle).run(stop)
    assert told == ["Arrived", "Removed"]


def test_the_loop_waits_on_the_wake_and_closes_it(image: Path) -> None:
    bus, stop = EmulatedBus(), threading.Event()

    class Wake:
        closed = False

        def wait(self, timeout_s: float) -> bool:
            bus.plug(1, make_camera(image))
            return True

        def close(self) -> None:
            self.closed = True

    wake = Wake()
    told: list[monitor_module.Event] = []

    def handle(event: monitor_module.Event) -> None:
        told.append(event)
        stop.set()

    watching(bus, wake=wake, interval_s=0.001, on_event=handle).run(stop)
    assert [event.address for event in told] == ["1-1"]
    assert wake.closed


def test_an_interval_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="interval"):
        HotplugMonitor(list, interval_s=0)


USB_EVENT = b"add@/devices/usb1/1-1\0ACTION=add\0SUBSYSTEM=usb\0DEVTYPE=usb_device\0"


@pytest.mark.parametrize(
    ("raw", "concerned"),
    [
        (USB_EVENT, True),
        (b"add@/x\0DEVTYPE=usb_interface\0", False),
        (b"add@/x\0DEVTYPE=usb_device_of_another_kind\0", False),
        (b"", False),
        (b"\xff\xfe\x00garbage", False),
    ],
)
def test_only_whole_usb_devices_wake(raw: bytes, concerned: bool) -> None:
    assert is_usb_device_event(raw) is concerned


def test_a_kernel_event_ends_the_wait_and_others_do_not() -> None:
    ours, kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with kernel:
        wake = NetlinkWake(ours)
        kernel.send(b"change@/block\0SUBSYSTEM=block\0")
        assert not wake.wait(0.01)
        kernel.send(USB_EVENT)
        assert wake.wait(60)
        assert not wake.wait(0.0)
        wake.close()
        assert not wake.wait(0.001)


def test_without_kernel_events_there_is_no_wake(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> socket.socket:
        raise PermissionError("no netlink here")

    monkeypatch.setattr(monitor_module.socket, "socket", refuse)
    assert NetlinkWake.open() is None


def test_a_refused_binding_leaves_no_socket_open(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing:
        closed = False

        def bind(self, _: object) -> None:
            raise PermissionError("no group for you")

        def close(self) -> None:
            self.closed = True

    source = Refusing()
    monkeypatch.setattr(monitor_module.socket, "socket", lambda *_: source)
    assert NetlinkWake.open() is None
    assert source.closed
