"""Notices cameras set on and taken off the dock.

The list of devices, polled, is the truth; a kernel event only makes the next look come sooner, so that a lost
event costs one interval and never a camera. Not responsible for opening devices (bwc.docking.msc) nor for
what is done with them.
"""

from __future__ import annotations

import errno
import select
import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

import structlog
import usb.core

from bwc.core.errors import DeviceError
from bwc.docking import usbio

log = structlog.get_logger()

_NETLINK_KOBJECT_UEVENT = 15
_KERNEL_GROUP = 1
_UEVENT_LIMIT = 16 * 1024
_SETTLE_S = 0.05


@dataclass(frozen=True)
class Arrived:
    """A device sits in bay `address`. Without `mass_storage` it is an unknown device."""

    address: str
    device: usb.core.Device = field(compare=False)
    mass_storage: bool
    vendor_id: int
    product_id: int


@dataclass(frozen=True)
class Removed:
    """The device that was in bay `address` is no longer there."""

    address: str


Event = Arrived | Removed


class Wake(Protocol):
    """Something that may know of a change before the next poll."""

    def wait(self, timeout_s: float) -> bool:
        """Return True as soon as a change is suspected, False after `timeout_s` seconds."""

    def close(self) -> None:
        """Let go of the source; never raises."""


class NetlinkWake:
    """Kernel uevents of USB devices (AF_NETLINK, protocol 15, group 1), as a wake-up only.

    What a message says is not believed beyond "look now", so a forged one costs a poll.
    """

    def __init__(self, source: socket.socket) -> None:
        self._socket = source
        self._socket.setblocking(False)

    @classmethod
    def open(cls) -> NetlinkWake | None:
        """Listen to the kernel; None, with one log line, where that is not possible (container)."""
        try:
            source = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, _NETLINK_KOBJECT_UEVENT)
        except (OSError, AttributeError) as error:
            log.info("hotplug_events_unavailable", error=str(error))
            return None
        try:
            source.bind((0, _KERNEL_GROUP))
        except OSError as error:
            source.close()
            log.info("hotplug_events_unavailable", error=str(error))
            return None
        return cls(source)

    def wait(self, timeout_s: float) -> bool:
        """Return True on a USB device event, False after `timeout_s` seconds; others do not end the wait."""
        deadline = time.monotonic() + timeout_s
        while (left := deadline - time.monotonic()) > 0:
            try:
                ready, _, _ = select.select([self._socket], [], [], left)
                if ready and self._drain():
                    return True
            except (OSError, ValueError) as error:
                if isinstance(error, OSError) and error.errno == errno.ENOBUFS:
                    return True
                log.warning("hotplug_event_read_failed", error=str(error))
                time.sleep(max(0.0, deadline - time.monotonic()))
        return False

    def _drain(self) -> bool:
        """Read all that waits; whether any of it was about a USB device."""
        concerned = False
        while True:
            try:
                concerned |= is_usb_device_event(self._socket.recv(_UEVENT_LIMIT))
            except BlockingIOError:
                return concerned

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def is_usb_device_event(raw: bytes) -> bool:
    """Whether a kernel uevent speaks of a whole USB device (not of an interface or other subsystem)."""
    return b"DEVTYPE=usb_device" in raw.split(b"\0")


@dataclass(frozen=True)
class _Seen:
    """What makes a device at a port the same one: its number on the bus changes at each plug."""

    bus: int
    ports: tuple[int, ...]
    number: int
    vendor_id: int
    product_id: int


class HotplugMonitor:
    """Compares what is on the bus with what was there at the last look.

    `find` lists the devices now present; `wake`, if any, may shorten the wait; `interval_s` seconds (above 0)
    separate two looks at most; `on_event` receives the events of `run`, in `run`'s thread. Hubs are ignored.
    """

    def __init__(
        self,
        find: Callable[[], Iterable[usb.core.Device]],
        wake: Wake | None = None,
        interval_s: float = 1.0,
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        if interval_s <= 0:
            raise ValueError("interval_s must be above 0")
        self._find = find
        self._wake = wake
        self._interval_s = interval_s
        self._on_event = on_event
        self._present: dict[str, _Seen] = {}

    def poll_once(self) -> list[Event]:
        """What changed since the last look, removals first; an unplug and replug in between gives both.

        A bus that cannot be listed changes nothing: an error is not a removal.
        """
        try:
            devices = [device for device in self._find() if device.bDeviceClass != usbio.CLASS_HUB]
        except (DeviceError, OSError) as error:
            log.warning("hotplug_poll_failed", error=str(error))
            return []
        now = {usbio.address_of(device): (_seen(device), device) for device in devices}
        removed: list[Event] = [
            Removed(address) for address, was in self._present.items() if address not in now or now[address][0] != was
        ]
        arrived: list[Event] = [
            _arrived(address, device) for address, (seen, device) in now.items() if self._present.get(address) != seen
        ]
        self._present = {address: seen for address, (seen, _) in now.items()}
        return removed + arrived

    def run(self, stop: threading.Event) -> None:
        """Poll until `stop` is set, handing each event to `on_event`; a failing handler is logged."""
        try:
            while not stop.is_set():
                for event in self.poll_once():
                    self._hand_over(event)
                self._pause(stop)
        finally:
            if self._wake is not None:
                self._wake.close()

    def _pause(self, stop: threading.Event) -> None:
        """Wait one interval, or until the kernel speaks and a moment for libusb to have heard it too."""
        if stop.is_set():
            return
        if self._wake is None:
            stop.wait(self._interval_s)
        elif self._wake.wait(self._interval_s):
            stop.wait(min(_SETTLE_S, self._interval_s))

    def _hand_over(self, event: Event) -> None:
        log.info("hotplug_event", kind=type(event).__name__, address=event.address)
        if self._on_event is None:
            return
        try:
            self._on_event(event)
        except Exception:
            log.exception("hotplug_handler_failed", kind=type(event).__name__, address=event.address)


def _seen(device: usb.core.Device) -> _Seen:
    return _Seen(
        bus=int(device.bus or 0),
        ports=tuple(int(port) for port in device.port_numbers or ()),
        number=int(device.address or 0),
        vendor_id=int(device.idVendor),
        product_id=int(device.idProduct),
    )


def _arrived(address: str, device: usb.core.Device) -> Arrived:
    return Arrived(
        address=address,
        device=device,
        mass_storage=usbio.find_bulk_only(device) is not None,
        vendor_id=int(device.idVendor),
        product_id=int(device.idProduct),
    )
