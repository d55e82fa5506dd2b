from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import usb.core
import usb.util

from bwc.core.errors import ConfigError, InputError
from bwc.docking.emulation import (
    CameraSpec,
    EmulatedBus,
    EmulatedDock,
    cameras,
    describe,
    put,
    read_spec,
    state,
    take,
)
from bwc.docking.monitor import HotplugMonitor
from bwc.docking.msc import MassStorage
from usb_helpers import device_on, make_camera, make_image, pattern


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return make_image(tmp_path, 64)


# The bus, as pyusb sees it


def test_pyusb_finds_the_camera_by_its_ids_and_reads_its_strings(image: Path) -> None:
    bus = EmulatedBus()
    bus.plug(2, make_camera(image))
    device = usb.core.find(backend=bus, idVendor=0x1209, idProduct=0xB0D1)
    assert (device.serial_number, device.product, device.manufacturer) == (
        "DEMO-0007",
        "Demonstration camera",
        "bwc",
    )
    assert (device.bus, device.port_numbers, device.parent) == (1, (2,), None)


def test_pyusb_prints_the_whole_device(image: Path) -> None:
    bus = EmulatedBus()
    bus.plug(1, make_camera(image, uas=True))
    text = str(device_on(bus))
    assert "Mass Storage" in text
    assert "Bulk" in text
    assert "DEMO-0007" in text
    assert "Error" not in text


def test_a_string_the_camera_lacks_is_absent(image: Path) -> None:
    bus = EmulatedBus()
    bus.plug(1, make_camera(image, serial=""))
    assert device_on(bus).serial_number is None


def test_an_unknown_control_request_stalls(image: Path) -> None:
    bus = EmulatedBus()
    bus.plug(1, make_camera(image))
    with pytest.raises(usb.core.USBError) as caught:
        device_on(bus).ctrl_transfer(0xC0, 0x42, 0, 0, 8)
    assert caught.value.errno == errno.EPIPE


def test_a_stale_handle_stays_dead_after_a_replug(image: Path) -> None:
    bus, camera = EmulatedBus(), make_camera(image)
    bus.plug(1, camera)
    stale = device_on(bus)
    stale.detach_kernel_driver(0)
    usb.util.claim_interface(stale, 0)
    bus.pull(1)
    bus.plug(1, camera)
    calls = [
        lambda: stale.read(0x81, 13),
        lambda: stale.write(2, b"USBC"),
        lambda: stale.ctrl_transfer(0x80, 6, 0x0303, 0x0409, 254),
        lambda: stale.clear_halt(0x81),
        lambda: stale.is_kernel_driver_active(0),
        lambda: stale.set_interface_altsetting(0, 0),
    ]
    for call in calls:
        with pytest.raises(usb.core.USBError) as caught:
            call()
        assert caught.value.errno == errno.ENODEV
    fresh = device_on(bus)
    assert fresh.address != stale.address
    assert fresh.serial_number == "DEMO-0007"


def test_a_garbled_command_halts_the_device_until_it_is_reset(image: Path) -> None:
    bus = EmulatedBus()
    bus.plug(1, make_camera(image))
    device = device_on(bus)
    device.detach_kernel_driver(0)
    device.write(2, b"not a command")
    for _ in range(2):
        with pytest.raises(usb.core.USBError) as caught:
            device.read(0x81, 13)
        assert caught.value.errno == errno.EPIPE
        device.clear_halt(0x81)
    device.ctrl_transfer(0x21, 0xFF, 0, 0, None)
    device.clear_halt(0x81)
    device.clear_halt(0x02)
    usb.util.dispose_resources(device)
    MassStorage(device).close()


def test_the_kernel_driver_holds_the_interface_until_it_is_detached(image: Path) -> None:
    bus = EmulatedBus()
    bus.plug(1, make_camera(image))
    device = device_on(bus)
    with pytest.raises(usb.core.USBError) as caught:
        usb.util.claim_interface(device, 0)
    assert caught.value.errno == errno.EBUSY
    device.detach_kernel_driver(0)
    with pytest.raises(usb.core.USBError) as caught:
        device.detach_kernel_driver(0)
    assert caught.value.errno == errno.ENOENT
    usb.util.claim_interface(device, 0)
    usb.util.release_interface(device, 0)
    device.attach_kernel_driver(0)
    assert device.is_kernel_driver_active(0)


@pytest.mark.parametrize("port", [0, 9, -1])
def test_a_port_the_dock_does_not_have_is_refused(image: Path, port: int) -> None:
    with pytest.raises(InputError):
        EmulatedBus().plug(port, make_camera(image))


def test_a_taken_port_is_refused_and_an_empty_one_may_be_pulled(image: Path) -> None:
    bus = EmulatedBus()
    bus.pull(1)
    bus.plug(1, make_camera(image))
    with pytest.raises(InputError):
        bus.plug(1, make_camera(image))


def test_a_camera_without_its_image_cannot_be_plugged(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        EmulatedBus().plug(1, make_camera(tmp_path / "absent.img"))


def test_pulling_closes_the_image(image: Path) -> None:
    bus = EmulatedBus()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        bus.plug(1, make_camera(image))
        bus.pull(1)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_throttled_camera_gives_the_same_bytes(image: Path) -> None:
    bus = EmulatedBus()
    bus.plug(1, make_camera(image, read_bytes_per_s=10_000_000))
    card = MassStorage(device_on(bus))
    assert card.read(0, 64) == pattern(0, 64)
    card.close()


# The dock and its folder


def test_a_name_that_is_none_describes_no_camera(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        describe(tmp_path, "../x", SPEC)
    assert list(tmp_path.iterdir()) == []


SPEC = CameraSpec("../card.img", 0x1209, 0xB0D1, 'N° "7"', "Caméra é\\", "bwc", 0)


@pytest.fixture
def folder(tmp_path: Path, image: Path) -> Path:
    home = tmp_path / "dock"
    describe(home, "CAM07", SPEC)
    (tmp_path / "second").mkdir()
    make_image(tmp_path / "second", 64).rename(home / "other.img")
    image.rename(home / "card.img")
    describe(home, "CAM08", CameraSpec("../other.img", 0x1209, 0xB0D1, "8", "Camera", "bwc"))
    return home


def test_a_description_reads_back_as_it_was_written(folder: Path) -> None:
    assert read_spec(folder / "cameras" / "CAM07.toml") == SPEC
    assert cameras(folder) == ["CAM07", "CAM08"]


def test_what_is_put_in_the_folder_appears_on_the_bus_and_what_is_taken_goes(folder: Path) -> None:
    dock = EmulatedDock(folder)
    assert dock.find() == []
    put(folder, 3, "CAM07")
    [device] = dock.find()
    assert (device.port_numbers, device.serial_number) == ((3,), 'N° "7"')
    assert state(folder) == {1: None, 2: None, 3: "CAM07", 4: None, 5: None, 6: None, 7: None, 8: None}
    take(folder, 3)
    take(folder, 3)
    assert dock.find() == []
    assert set(state(folder).values()) == {None}


def test_a_camera_is_read_through_the_dock(folder: Path) -> None:
    dock = EmulatedDock(folder)
    put(folder, 1, "CAM07")
    card = MassStorage(dock.find()[0])
    assert card.read(5, 1) == pattern(5, 1)
    card.close()
    dock.bus.close()


def test_a_swap_between_two_looks_is_seen_by_the_monitor(folder: Path) -> None:
    dock = EmulatedDock(folder)
    monitor = HotplugMonitor(dock.find)
    put(folder, 1, "CAM07")
    assert len(monitor.poll_once()) == 1
    take(folder, 1)
    put(folder, 1, "CAM07")
    assert [type(event).__name__ for event in monitor.poll_once()] == ["Removed", "Arrived"]
    assert monitor.poll_once() == []


def test_cameras_that_change_places_between_two_looks_both_return(folder: Path) -> None:
    dock = EmulatedDock(folder)
    put(folder, 1, "CAM07")
    put(folder, 2, "CAM08")
    dock.sync()
    take(folder, 1)
    take(folder, 2)
    put(folder, 1, "CAM08")
    put(folder, 2, "CAM07")
    dock.sync()
    assert [device.serial_number for device in dock.find()] == ["8", 'N° "7"']


def test_a_camera_gone_by_a_fault_stays_away_until_it_is_put_again(folder: Path) -> None:
    dock = EmulatedDock(folder)
    put(folder, 1, "CAM07")
    dock.sync()
    camera = dock.bus.camera_at(1)
    assert camera is not None
    camera.gone_after_bytes = 600
    card = MassStorage(dock.find()[0])
    with pytest.raises(Exception, match="No such device"):
        card.read(0, 64)
    card.close()
    assert dock.find() == []
    take(folder, 1)
    put(folder, 1, "CAM07")
    assert len(dock.find()) == 1


@pytest.mark.parametrize("text", ["", "NOBODY", "../card", "CAM07\nCAM08", "x" * 500, "\xff"])
def test_a_malformed_port_file_is_left_out_and_the_other_ports_work(folder: Path, text: str) -> None:
    (folder / "port-1").write_text(text, encoding="latin-1")
    put(folder, 2, "CAM08")
    assert [device.port_numbers for device in EmulatedDock(folder).find()] == [(2,)]


@pytest.mark.parametrize(
    "text",
    ["", "image = 3", "nonsense", "unknown = 1", "image = 'a'\nvendor_id = 70000", "vendor_id = true"],
)
def test_a_malformed_description_is_left_out_until_it_is_mended(folder: Path, text: str) -> None:
    good = (folder / "cameras" / "CAM07.toml").read_text("utf-8")
    put(folder, 1, "CAM07")
    (folder / "cameras" / "CAM07.toml").write_text(text, "utf-8")
    dock = EmulatedDock(folder)
    assert dock.find() == []
    (folder / "cameras" / "CAM07.toml").write_text(good, "utf-8")
    os.utime(folder / "cameras" / "CAM07.toml", ns=(1, 1))
    assert len(dock.find()) == 1


def test_a_camera_is_in_one_port_only(folder: Path) -> None:
    put(folder, 1, "CAM07")
    with pytest.raises(InputError, match="already docked"):
        put(folder, 2, "CAM07")
    with pytest.raises(InputError, match="taken"):
        put(folder, 1, "CAM08")
    (folder / "port-2").write_text("CAM07")
    assert [device.port_numbers for device in EmulatedDock(folder).find()] == [(1,)]


@pytest.mark.parametrize(("port", "name"), [(0, "CAM07"), (9, "CAM07"), (1, "CAM99"), (1, "../CAM07"), (1, "")])
def test_what_cannot_be_put_is_refused_and_leaves_nothing_behind(folder: Path, port: int, name: str) -> None:
    before = sorted(folder.iterdir())
    with pytest.raises(InputError):
        put(folder, port, name)
    assert sorted(folder.iterdir()) == before


def test_a_folder_that_is_not_there_is_an_empty_dock(tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    assert (EmulatedDock(absent).find(), cameras(absent), set(state(absent).values())) == ([], [], {None})
