"""The thin layer between pyusb and the product: which libusb, which bay, whose interface, what an errno
means.

Not responsible for commands (bwc.docking.msc) nor for noticing arrivals (bwc.docking.monitor). Measured facts
behind the choices: reference note usb.md §2 (backend order, claim race, errnos of a pulled device).
"""

from __future__ import annotations

import errno
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import libusb_package
import structlog
import usb.backend
import usb.core
import usb.util

from bwc.core.errors import DeviceError
from bwc.docking.errors import DeviceBusyError, DeviceGoneError
from bwc.docking.transport import Identity

log = structlog.get_logger()

SYSFS_USB = Path("/sys/bus/usb/devices")
STRING_LIMIT = 126
CLASS_HUB = 0x09
CLASS_MASS_STORAGE = 0x08
SUBCLASSES_SCSI = frozenset({0x05, 0x06})
PROTOCOL_BULK_ONLY = 0x50

_GONE = frozenset({errno.EIO, errno.ENODEV, errno.EPROTO, errno.ESHUTDOWN})
_CLAIM_RACE = frozenset({errno.EBUSY, errno.ENOENT, errno.ENODATA})
_CERTAINLY_GONE = frozenset({errno.ENODEV, errno.ESHUTDOWN})
_CLAIM_ATTEMPTS = 6
_CLAIM_PAUSE_S = 0.05


class StallError(DeviceError):
    """The device halted an endpoint (errno 32). Inside the docking layer only: the halt must be cleared."""

    code = "device_stall"


class UsbTimeoutError(DeviceError):
    """The device gave no answer in the time allowed (errno 110)."""

    code = "device_timeout"


class UsbMemoryError(DeviceError):
    """The kernel has no memory left for the transfer (errno 12, `usbcore.usbfs_memory_mb`)."""

    code = "device_memory"


@dataclass(frozen=True)
class BulkOnly:
    """Where a device speaks Bulk-Only mass storage.

    `alternate` is the setting to choose; `choose` tells that the interface has several (a UAS device offers
    Bulk-Only as one of them, and the kernel may have left the other selected).
    """

    interface: int
    alternate: int
    choose: bool
    endpoint_in: int
    endpoint_out: int


def usb_backend() -> usb.backend.IBackend | None:
    """The bundled libusb, loaded before pyusb can pick the system's, which is blind to hot-plug without
    udevd.

    None when no libusb can be loaded at all.
    """
    return libusb_package.get_libusb1_backend()


def find_devices(backend: usb.backend.IBackend | None = None) -> list[usb.core.Device]:
    """Every device now on the bus of `backend` (the bundled libusb when None), hubs included.

    An empty list on a machine without USB. Raises DeviceError if the bus cannot be listed.
    """
    chosen = backend if backend is not None else usb_backend()
    if chosen is None:
        return []
    with usb_errors("listing devices"):
        return list(usb.core.find(find_all=True, backend=chosen))


def has_usb_bus(sysfs: Path = SYSFS_USB) -> bool:
    """Whether this machine has a USB bus at all: the kernel lists one, or libusb sees a device."""
    try:
        if any(sysfs.iterdir()):
            return True
    except OSError:
        log.debug("usb_sysfs_absent", path=str(sysfs))
    try:
        return bool(find_devices())
    except DeviceError:
        return False


def translated(error: usb.core.USBError, doing: str) -> DeviceError:
    """The product's error for a libusb one.

    Errnos 5, 19, 71 and 108 are a pulled device, 16 a busy one, 32 a stall, 110 a timeout, 12 the kernel's
    memory, 13 missing rights; all else is a plain DeviceError.
    """
    number = error.errno
    message = f"{doing}: {error}"
    if number in _GONE:
        return DeviceGoneError(message)
    if number == errno.EBUSY:
        return DeviceBusyError(message)
    if number == errno.EPIPE:
        return StallError(message)
    if number == errno.ETIMEDOUT or isinstance(error, usb.core.USBTimeoutError):
        return UsbTimeoutError(message)
    if number == errno.ENOMEM:
        return UsbMemoryError(message)
    if number == errno.EACCES:
        return DeviceError(
            f"{message} (udev rule missing?)",
            code="device_access",
            person="Le poste n'a pas le droit d'ouvrir la caméra. Prévenez l'administrateur.",
        )
    return DeviceError(message)


@contextmanager
def usb_errors(doing: str) -> Iterator[None]:
    """Turn any USBError of the block into the product's error; `doing` (English) opens its message."""
    try:
        yield
    except usb.core.USBError as error:
        raise translated(error, doing) from error
    except (NotImplementedError, ValueError) as error:
        raise DeviceError(f"{doing}: not possible on this device or backend: {error}") from error


def address_of(device: usb.core.Device) -> str:
    """The bay a device sits in: bus and port path as text, "1-2.3"; stable across unplug, replug and
    re-enumeration.

    A root hub, which sits in no port, is "1-0".
    """
    ports = device.port_numbers or (0,)
    return f"{int(device.bus or 0)}-{'.'.join(str(int(port)) for port in ports)}"


def cleaned(text: str) -> str:
    """A device's text made safe to show and log: no control or format character, at most 126."""
    kept = (char for char in text if unicodedata.category(char)[0] != "C")
    return " ".join("".join(kept).split())[:STRING_LIMIT].strip()


def identify(device: usb.core.Device) -> Identity:
    """Who the device says it is; a string it does not give, or gives malformed, is empty.

    Raises DeviceGoneError when it is pulled meanwhile, so that it never passes for one without serial.
    """
    return Identity(
        vendor_id=int(device.idVendor),
        product_id=int(device.idProduct),
        serial=_string(device, int(device.iSerialNumber)),
        manufacturer=_string(device, int(device.iManufacturer)),
        product=_string(device, int(device.iProduct)),
    )


def _string(device: usb.core.Device, index: int) -> str:
    """String descriptor `index` of the device, cleaned; empty when absent or unreadable."""
    if index == 0:
        return ""
    try:
        return cleaned(usb.util.get_string(device, index) or "")
    except usb.core.USBError as error:
        if error.errno in _CERTAINLY_GONE:
            raise translated(error, "reading a string") from error
        return ""
    except (ValueError, IndexError, NotImplementedError):
        return ""


def find_bulk_only(device: usb.core.Device) -> BulkOnly | None:
    """The first Bulk-Only mass storage setting of the device, from its descriptors alone (nothing is opened).

    None when it has none, or when its descriptors cannot be read.
    """
    try:
        for configuration in device:
            settings = list(configuration)
            for setting in settings:
                found = _bulk_only(setting)
                if found is not None:
                    alternates = sum(other.bInterfaceNumber == found.interface for other in settings)
                    return replace(found, choose=alternates > 1 or found.alternate > 0)
    except (usb.core.USBError, IndexError, ValueError, NotImplementedError) as error:
        log.warning("usb_descriptors_unreadable", address=address_of(device), error=str(error))
    return None


def _bulk_only(setting: usb.core.Interface) -> BulkOnly | None:
    """The endpoints of one interface setting, if it is Bulk-Only mass storage with both directions."""
    if setting.bInterfaceClass != CLASS_MASS_STORAGE or setting.bInterfaceProtocol != PROTOCOL_BULK_ONLY:
        return None
    if setting.bInterfaceSubClass not in SUBCLASSES_SCSI:
        return None
    bulk = [
        int(endpoint.bEndpointAddress)
        for endpoint in setting
        if usb.util.endpoint_type(endpoint.bmAttributes) == usb.util.ENDPOINT_TYPE_BULK
    ]
    ins = [address for address in bulk if address & 0x80]
    outs = [address for address in bulk if not address & 0x80]
    if not ins or not outs:
        return None
    return BulkOnly(int(setting.bInterfaceNumber), int(setting.bAlternateSetting), False, ins[0], outs[0])


def claim(device: usb.core.Device, interface: int, pause_s: float = _CLAIM_PAUSE_S) -> None:
    """Take the interface from the kernel's driver and hold it for this process.

    The kernel may bind between the look and the claim: EBUSY, ENOENT and ENODATA are tried again, six times
    in all, `pause_s` seconds apart. Sets a configuration only on a device that has none: doing so on a
    configured one resets its interfaces. Raises DeviceBusyError when another program keeps it,
    DeviceGoneError when pulled.
    """
    _ensure_configured(device)
    for attempt in range(1, _CLAIM_ATTEMPTS + 1):
        try:
            with suppress(NotImplementedError):
                if device.is_kernel_driver_active(interface):
                    device.detach_kernel_driver(interface)
            usb.util.claim_interface(device, interface)
        except usb.core.USBError as error:
            if error.errno not in _CLAIM_RACE or attempt == _CLAIM_ATTEMPTS:
                raise translated(error, "claiming the interface") from error
            time.sleep(pause_s)
        else:
            return


def _ensure_configured(device: usb.core.Device) -> None:
    """Configure the device only if it says it is not."""
    with usb_errors("reading the configuration"):
        try:
            device.get_active_configuration()
        except usb.core.USBError as error:
            if error.errno is not None:
                raise
            device.set_configuration()


def release(device: usb.core.Device) -> None:
    """Give back every interface and the handle; never raises, re-attaches no kernel driver."""
    try:
        usb.util.dispose_resources(device)
    except (usb.core.USBError, NotImplementedError) as error:
        log.debug("usb_release_failed", error=str(error))
