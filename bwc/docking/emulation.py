"""An emulated dock: a USB bus of this process that pyusb believes, and a folder through which to plug and
pull.

`EmulatedBus` is a pyusb backend, so everything above it is the product's real code. `EmulatedDock` ties it to
a control folder that the web and the command line of another process may write (`put`, `take`, `state`). What
a camera answers is in bwc.docking.emulated_camera. For demonstrations and tests; never in place of a real
dock.
"""

from __future__ import annotations

import array
import errno
import json
import os
import re
import tempfile
import threading
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace

import structlog
import usb.backend
import usb.core

from bwc.core.errors import ConfigError, InputError
from bwc.docking.emulated_camera import (
    ENDPOINT_IN,
    ENDPOINT_OUT,
    PACKET,
    EmulatedCamera,
    PluggedCamera,
    usb_error,
)

__all__ = [
    "CameraSpec",
    "EmulatedBus",
    "EmulatedCamera",
    "EmulatedDock",
    "cameras",
    "describe",
    "put",
    "state",
    "take",
]

log = structlog.get_logger()

BUS = 1
PORTS = 8
_HIGH_SPEED = 3
_CAMERA_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_CAMERA_FOLDER = "cameras"
_PORT_FILE_LIMIT = 128


class _Handle:
    """An opened device; dies with the plug it was opened in."""

    def __init__(self, device: PluggedCamera) -> None:
        self.device = device


class EmulatedBus(usb.backend.IBackend):  # type: ignore[misc]  # pyusb ships no types
    """USB bus 1 with ports 1 to `ports`, each empty or holding one camera. Thread-safe."""

    def __init__(self, ports: int = PORTS) -> None:
        super().__init__()
        self.ports = ports
        self._lock = threading.Lock()
        self._plugged: dict[int, PluggedCamera] = {}
        self._numbers = 1

    def plug(self, port: int, camera: EmulatedCamera) -> None:
        """Set the camera in a port, as a new device of the bus.

        Raises InputError for a port that does not exist or is taken, ConfigError without a readable image.
        """
        with self._lock:
            if not 1 <= port <= self.ports:
                raise InputError(f"port {port} of a dock of {self.ports}")
            if self._at(port) is not None:
                raise InputError(f"port {port} is taken")
            self._numbers += 1
            self._plugged[port] = PluggedCamera(camera, port, self._numbers)

    def pull(self, port: int) -> None:
        """Take whatever is in the port off; handles on it answer USBError 19 for ever."""
        with self._lock:
            plugged = self._plugged.pop(port, None)
        if plugged is not None:
            plugged.pull()

    def close(self) -> None:
        """Pull every camera."""
        for port in range(1, self.ports + 1):
            self.pull(port)

    def camera_at(self, port: int) -> EmulatedCamera | None:
        """The camera now in the port."""
        with self._lock:
            plugged = self._at(port)
            return plugged.camera if plugged else None

    def _at(self, port: int) -> PluggedCamera | None:
        """What sits in the port; a camera gone by its own fault does not."""
        plugged = self._plugged.get(port)
        return None if plugged is None or plugged.gone.is_set() else plugged

    # What pyusb calls: usb.backend.IBackend

    def enumerate_devices(self) -> Iterator[PluggedCamera]:
        """Every camera now plugged, by port."""
        with self._lock:
            present = [self._at(port) for port in sorted(self._plugged)]
        return iter([plugged for plugged in present if plugged is not None])

    def get_parent(self, dev: PluggedCamera) -> None:
        """No hub is shown between the root and the ports."""

    def get_device_descriptor(self, dev: PluggedCamera) -> SimpleNamespace:
        """Device descriptor (USB 2.0 9.6.1) with the place on the bus."""
        camera = dev.camera
        texts = (camera.manufacturer, camera.product, camera.serial)
        indexes = [i if text or i in camera.raw_strings else 0 for i, text in enumerate(texts, start=1)]
        return SimpleNamespace(
            bLength=18,
            bDescriptorType=1,
            bcdUSB=0x0200,
            bDeviceClass=0,
            bDeviceSubClass=0,
            bDeviceProtocol=0,
            bMaxPacketSize0=64,
            idVendor=camera.vendor_id,
            idProduct=camera.product_id,
            bcdDevice=0x0100,
            iManufacturer=indexes[0],
            iProduct=indexes[1],
            iSerialNumber=indexes[2],
            bNumConfigurations=1,
            bus=BUS,
            address=dev.number,
            port_number=dev.port,
            port_numbers=(dev.port,),
            speed=_HIGH_SPEED,
        )

    def get_configuration_descriptor(self, dev: PluggedCamera, config: int) -> SimpleNamespace:
        """The one configuration (USB 2.0 9.6.3)."""
        if config:
            raise usb_error(errno.ENOENT)
        return SimpleNamespace(
            bLength=9,
            bDescriptorType=2,
            wTotalLength=32 + 23 * dev.camera.uas,
            bNumInterfaces=1,
            bConfigurationValue=1,
            iConfiguration=0,
            bmAttributes=0xC0,
            bMaxPower=50,
            extra_descriptors=[],
        )

    def get_interface_descriptor(self, dev: PluggedCamera, intf: int, alt: int, config: int) -> SimpleNamespace:
        """Setting 0: Bulk-Only mass storage; setting 1, on a UAS camera: USB Attached SCSI."""
        if config or intf or alt > int(dev.camera.uas):
            raise IndexError("no such interface setting")
        return SimpleNamespace(
            bLength=9,
            bDescriptorType=4,
            bInterfaceNumber=0,
            bAlternateSetting=alt,
            bNumEndpoints=2,
            bInterfaceClass=dev.camera.interface_class,
            bInterfaceSubClass=6,
            bInterfaceProtocol=0x62 if alt else 0x50,
            iInterface=0,
            extra_descriptors=[],
        )

    def get_endpoint_descriptor(self, dev: PluggedCamera, ep: int, intf: int, alt: int, config: int) -> SimpleNamespace:
        """Bulk in, then bulk out, 512 bytes a packet."""
        if ep > 1:
            raise IndexError("no such endpoint")
        return SimpleNamespace(
            bLength=7,
            bDescriptorType=5,
            bEndpointAddress=(ENDPOINT_IN, ENDPOINT_OUT)[ep],
            bmAttributes=2,
            wMaxPacketSize=PACKET,
            bInterval=0,
            bRefresh=0,
            bSynchAddress=0,
            extra_descriptors=[],
        )

    def open_device(self, dev: PluggedCamera) -> _Handle:
        """A handle on the camera."""
        dev.check()
        return _Handle(dev)

    def close_device(self, dev_handle: _Handle) -> None:
        """Forget the handle and what it claimed."""
        if dev_handle.device.claimed_by is dev_handle:
            dev_handle.device.release(dev_handle)

    def set_configuration(self, dev_handle: _Handle, config_value: int) -> None:
        """Select a configuration; claims do not survive it."""
        dev_handle.device.check()
        dev_handle.device.claimed_by = None

    def get_configuration(self, dev_handle: _Handle) -> int:
        """The configuration selected: always the one."""
        dev_handle.device.check()
        return 1

    def set_interface_altsetting(self, dev_handle: _Handle, intf: int, altsetting: int) -> None:
        """Select a setting of the interface."""
        dev_handle.device.check()
        if altsetting > int(dev_handle.device.camera.uas):
            raise usb_error(errno.ENOENT)
        dev_handle.device.alternate = altsetting

    def claim_interface(self, dev_handle: _Handle, intf: int) -> None:
        """Claim for the handle."""
        if intf:
            raise usb_error(errno.ENOENT)
        dev_handle.device.claim(dev_handle)

    def release_interface(self, dev_handle: _Handle, intf: int) -> None:
        """Release from the handle."""
        dev_handle.device.check()
        dev_handle.device.release(dev_handle)

    def bulk_write(self, dev_handle: _Handle, ep: int, intf: int, data: array.array[int], timeout: int) -> int:
        """Bulk out; bytes taken."""
        return dev_handle.device.bulk_out(data.tobytes(), dev_handle)

    def bulk_read(self, dev_handle: _Handle, ep: int, intf: int, buff: array.array[int], timeout: int) -> int:
        """Bulk in, into `buff`; bytes given."""
        data = dev_handle.device.bulk_in(len(buff), dev_handle)
        memoryview(buff)[: len(data)] = memoryview(data)
        return len(data)

    def ctrl_transfer(
        self,
        dev_handle: _Handle,
        bmRequestType: int,  # noqa: N803  # pyusb's name
        bRequest: int,  # noqa: N803
        wValue: int,  # noqa: N803
        wIndex: int,  # noqa: N803
        data: array.array[int],
        timeout: int,
    ) -> int:
        """Control transfer; bytes moved."""
        answer = dev_handle.device.control(bmRequestType, bRequest, wValue, len(data))[: len(data)]
        memoryview(data)[: len(answer)] = memoryview(answer)
        return len(answer)

    def clear_halt(self, dev_handle: _Handle, ep: int) -> None:
        """CLEAR FEATURE(ENDPOINT_HALT)."""
        dev_handle.device.clear_halt(ep)

    def reset_device(self, dev_handle: _Handle) -> None:
        """Reset of the port."""
        dev_handle.device.reset()

    def is_kernel_driver_active(self, dev_handle: _Handle, intf: int) -> bool:
        """Whether the kernel's usb-storage is said to hold the interface, as it is after each plug."""
        dev_handle.device.check()
        return dev_handle.device.kernel_driver

    def detach_kernel_driver(self, dev_handle: _Handle, intf: int) -> None:
        """Unbind the kernel's driver."""
        dev_handle.device.detach()

    def attach_kernel_driver(self, dev_handle: _Handle, intf: int) -> None:
        """Bind the kernel's driver again."""
        dev_handle.device.check()
        dev_handle.device.kernel_driver = True


@dataclass(frozen=True)
class CameraSpec:
    """An emulated camera as described by `cameras/<name>.toml`; `image` is relative to that file."""

    image: str
    vendor_id: int
    product_id: int
    serial: str
    product: str
    manufacturer: str
    read_bytes_per_s: int = 0

    def camera(self, base: Path) -> EmulatedCamera:
        """The camera, whose card is `image` under `base`. A speed of 0 is as fast as the machine allows."""
        return EmulatedCamera(
            image_path=base / self.image,
            vendor_id=self.vendor_id,
            product_id=self.product_id,
            serial=self.serial,
            product=self.product,
            manufacturer=self.manufacturer,
            read_bytes_per_s=self.read_bytes_per_s or None,
        )


def read_spec(path: Path) -> CameraSpec:
    """The description in a TOML file; raises ConfigError naming the file and the key at fault."""
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from error
    kinds = {name: int if kind == "int" else str for name, kind in CameraSpec.__annotations__.items()}
    for key, value in table.items():
        if type(value) is not kinds.get(key):
            raise ConfigError(f"{path}: {key}: unknown, or not of its type")
    for key in ("vendor_id", "product_id"):
        if not 0 <= table.get(key, 0) <= 0xFFFF:
            raise ConfigError(f"{path}: {key}: outside 0 to 0xFFFF")
    if table.get("read_bytes_per_s", 0) < 0:
        raise ConfigError(f"{path}: read_bytes_per_s: negative")
    try:
        return CameraSpec(**table)
    except TypeError as error:
        raise ConfigError(f"{path}: {error}") from error


def describe(folder: Path, name: str, spec: CameraSpec) -> None:
    """Add (or replace) the camera `name` of the dock in `folder`. Raises InputError for no valid name."""
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in asdict(spec).items()]
    home = folder / _CAMERA_FOLDER
    target = home / f"{_checked_name(name)}.toml"
    home.mkdir(parents=True, exist_ok=True)
    _written(home, "".join(lines)).replace(target)


def cameras(folder: Path) -> list[str]:
    """Names of the cameras described under `folder`, in order; their images are not looked at."""
    names = (path.stem for path in (folder / _CAMERA_FOLDER).glob("*.toml"))
    return sorted(name for name in names if _CAMERA_NAME.fullmatch(name))


def state(folder: Path, ports: int = PORTS) -> dict[int, str | None]:
    """The camera's name in each port from 1 to `ports`, None where it is empty or its file is malformed."""
    return {port: _name_in(_port_file(folder, port)) for port in range(1, ports + 1)}


def put(folder: Path, port: int, camera: str, ports: int = PORTS) -> None:
    """Set a camera in a port, for the process that holds the dock to see at its next look.

    Raises InputError when the port does not exist or is taken, or the camera is unknown or already in a port.
    """
    now = state(folder, ports)
    if port not in now:
        raise InputError(f"port {port} of a dock of {ports}", person="Cette baie n'existe pas.")
    if _checked_name(camera) not in cameras(folder):
        raise InputError(f"no camera {camera}", person="Cette caméra de démonstration n'existe pas.")
    if camera in now.values():
        raise InputError(f"camera {camera} is already docked", person="Cette caméra est déjà sur une baie.")
    written = _written(folder, camera + "\n")
    try:
        os.link(written, _port_file(folder, port))
    except FileExistsError as error:
        raise InputError(f"port {port} is taken", person="Cette baie est déjà occupée.") from error
    finally:
        written.unlink(missing_ok=True)


def take(folder: Path, port: int) -> None:
    """Pull whatever is in the port; nothing happens to an empty one."""
    _port_file(folder, port).unlink(missing_ok=True)


def _port_file(folder: Path, port: int) -> Path:
    return folder / f"port-{port:d}"


def _written(folder: Path, text: str) -> Path:
    """A new file of the folder with `text`, readable by the dock's user, to be renamed or linked into place."""
    descriptor, name = tempfile.mkstemp(dir=folder, prefix=".new-")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        os.fchmod(descriptor, 0o644)
    return Path(name)


def _checked_name(name: str) -> str:
    if not _CAMERA_NAME.fullmatch(name):
        raise InputError(f"camera name {name!r}", person="Le nom de la caméra n'est pas valable.")
    return name


def _name_in(path: Path) -> str | None:
    """The camera named by a port's file; None when absent, unreadable or malformed."""
    try:
        with path.open("rb") as file:
            name = file.read(_PORT_FILE_LIMIT).decode("ascii").strip()
    except (OSError, ValueError):
        return None
    return name if _CAMERA_NAME.fullmatch(name) else None


_Token = tuple[int, int, int] | None


class EmulatedDock:
    """The bus kept in step with a control folder: `port-N` holds a camera's name, `cameras/<name>.toml` its
    nature.

    A port's file written anew is a new plug, so a pull and replug between two looks is not missed; a camera
    gone by a fault stays away until it is taken and put again.
    """

    def __init__(self, folder: Path, ports: int = PORTS) -> None:
        self.folder = folder
        self.bus = EmulatedBus(ports)
        self._seen: dict[int, _Token] = {}
        self._lock = threading.Lock()

    def find(self) -> list[usb.core.Device]:
        """`sync`, then the devices on the bus: what a HotplugMonitor takes."""
        self.sync()
        return list(usb.core.find(find_all=True, backend=self.bus))

    def sync(self) -> None:
        """Plug and pull until the bus is as the folder says; what is malformed is left out, with one log
        line.
        """
        with self._lock:
            tokens = {port: self._token(port) for port in range(1, self.bus.ports + 1)}
            changed = [port for port, token in tokens.items() if self._seen.get(port) != token]
            for port in changed:
                self.bus.pull(port)
            for port in changed:
                self._seen[port] = tokens[port]
                if tokens[port] is not None:
                    self._plug(port)

    def _token(self, port: int) -> _Token:
        """What changes when the port's file or its camera's description is written anew."""
        path = _port_file(self.folder, port)
        try:
            found = path.stat()
        except OSError:
            return None
        try:
            described = (self.folder / _CAMERA_FOLDER / f"{_name_in(path)}.toml").stat().st_mtime_ns
        except OSError:
            described = 0
        return found.st_ino, found.st_mtime_ns, described

    def _plug(self, port: int) -> None:
        try:
            self.bus.plug(port, self._camera(port))
        except (ConfigError, InputError) as error:
            log.warning("emulated_port_ignored", port=port, error=str(error))

    def _camera(self, port: int) -> EmulatedCamera:
        """The camera the port's file names; raises ConfigError when there is none, or its card is in use."""
        name = _name_in(_port_file(self.folder, port))
        if name is None:
            raise ConfigError("no camera named")
        home = self.folder / _CAMERA_FOLDER
        camera = read_spec(home / f"{name}.toml").camera(home)
        held = [self.bus.camera_at(other) for other in range(1, self.bus.ports + 1)]
        if any(other is not None and other.image_path == camera.image_path for other in held):
            raise ConfigError(f"the card of {name} is in another port")
        return camera
