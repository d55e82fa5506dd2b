from __future__ import annotations

import errno
from pathlib import Path

import pytest
import usb.core
import usb.util
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bwc.core.errors import DeviceError
from bwc.docking import usbio
from bwc.docking.emulation import EmulatedBus
from bwc.docking.errors import DeviceBusyError, DeviceGoneError
from bwc.docking.usbio import StallError, UsbMemoryError, UsbTimeoutError
from usb_helpers import device_on, make_camera, make_image


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (5, DeviceGoneError),
        (19, DeviceGoneError),
        (71, DeviceGoneError),
        (108, DeviceGoneError),
        (16, DeviceBusyError),
        (32, StallError),
        (110, UsbTimeoutError),
        (12, UsbMemoryError),
        (75, DeviceError),
        (None, DeviceError),
    ],
)
def test_each_errno_of_libusb_becomes_its_own_error(number: int | None, kind: type[DeviceError]) -> None:
    assert type(usbio.translated(usb.core.USBError("x", None, number), "reading")) is kind


def test_missing_rights_name_the_udev_rule_in_the_log_line() -> None:
    error = usbio.translated(usb.core.USBError("x", None, errno.EACCES), "opening")
    assert (error.code, "udev" in str(error)) == ("device_access", True)


def test_a_call_the_backend_cannot_make_is_a_device_error() -> None:
    with pytest.raises(DeviceError, match="resetting"), usbio.usb_errors("resetting"):
        raise NotImplementedError


def test_the_bundled_libusb_is_the_backend_pyusb_then_keeps() -> None:
    import libusb_package
    import usb.backend.libusb1

    backend = usbio.usb_backend()
    assert backend is not None
    assert backend is usb.backend.libusb1.get_backend()
    assert str(libusb_package.get_library_path()) == backend.lib._name


def test_a_machine_has_a_bus_when_the_kernel_lists_one(tmp_path: Path) -> None:
    (tmp_path / "usb1").mkdir()
    assert usbio.has_usb_bus(tmp_path)


def test_a_machine_has_no_bus_when_neither_kernel_nor_libusb_knows_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usbio, "usb_backend", EmulatedBus)
    assert not usbio.has_usb_bus(tmp_path / "absent")
    assert not usbio.has_usb_bus(tmp_path)


def test_a_bay_is_named_by_bus_and_port_path(tmp_path: Path) -> None:
    bus = EmulatedBus()
    bus.plug(3, make_camera(make_image(tmp_path)))
    device = device_on(bus)
    assert usbio.address_of(device) == "1-3"
    device.port_numbers = (2, 3, 4)
    assert usbio.address_of(device) == "1-2.3.4"
    device.port_numbers = None
    assert usbio.address_of(device) == "1-0"


def test_identity_holds_the_ids_and_the_strings(tmp_path: Path) -> None:
    bus = EmulatedBus()
    bus.plug(1, make_camera(make_image(tmp_path)))
    identity = usbio.identify(device_on(bus))
    assert (identity.vendor_id, identity.product_id) == (0x1209, 0xB0D1)
    assert (identity.serial, identity.manufacturer, identity.product) == (
        "DEMO-0007",
        "bwc",
        "Demonstration camera",
    )


def test_a_camera_without_serial_has_an_empty_one(tmp_path: Path) -> None:
    bus = EmulatedBus()
    bus.plug(1, make_camera(make_image(tmp_path), serial=""))
    assert usbio.identify(device_on(bus)).serial == ""


def test_a_camera_pulled_while_it_is_identified_is_gone_and_not_nameless(tmp_path: Path) -> None:
    bus = EmulatedBus()
    bus.plug(1, make_camera(make_image(tmp_path)))
    device = device_on(bus)
    assert device.langids
    bus.pull(1)
    with pytest.raises(DeviceGoneError):
        usbio.identify(device)


def test_hostile_strings_lose_control_and_bidirectional_characters_and_their_length() -> None:
    assert usbio.cleaned("A\x00\x1b[31m\n B\u202e\u2028C") == "A[31m B C"
    assert len(usbio.cleaned("x" * 500)) == 126


@given(raw=st.binary(max_size=254), languages=st.binary(max_size=8))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_bytes_as_string_descriptors_give_clean_text(raw: bytes, languages: bytes, tmp_path: Path) -> None:
    image = tmp_path / "card.img"
    image.write_bytes(bytes(512))
    bus = EmulatedBus()
    bus.plug(1, make_camera(image, raw_strings={0: languages, 3: raw}))
    serial = usbio.identify(device_on(bus)).serial
    bus.close()
    assert serial == usbio.cleaned(serial)
    assert len(serial) <= 126


def test_claiming_detaches_the_kernel_driver_and_outlasts_a_race_with_it(tmp_path: Path) -> None:
    bus = EmulatedBus()
    bus.plug(1, make_camera(make_image(tmp_path), busy_claims=2))
    device = device_on(bus)
    assert device.is_kernel_driver_active(0)
    usbio.claim(device, 0, pause_s=0)
    assert not device.is_kernel_driver_active(0)


def test_an_interface_another_program_keeps_is_busy(tmp_path: Path) -> None:
    bus = EmulatedBus()
    bus.plug(1, make_camera(make_image(tmp_path)))
    first, second = device_on(bus), device_on(bus)
    usbio.claim(first, 0, pause_s=0)
    with pytest.raises(DeviceBusyError):
        usbio.claim(second, 0, pause_s=0)
    usbio.release(first)
    usbio.claim(second, 0, pause_s=0)


def test_claiming_a_pulled_camera_says_it_is_gone(tmp_path: Path) -> None:
    bus = EmulatedBus()
    bus.plug(1, make_camera(make_image(tmp_path)))
    device = device_on(bus)
    bus.pull(1)
    with pytest.raises(DeviceGoneError):
        usbio.claim(device, 0, pause_s=0)
    usbio.release(device)


def test_a_configured_device_is_never_configured_again(tmp_path: Path) -> None:
    class Strict(EmulatedBus):
        def set_configuration(self, dev_handle: object, config_value: int) -> None:
            raise AssertionError("set_configuration resets the interfaces")

    bus = Strict()
    bus.plug(1, make_camera(make_image(tmp_path)))
    usbio.claim(device_on(bus), 0, pause_s=0)


def test_an_unconfigured_device_is_configured_once(tmp_path: Path) -> None:
    class Unconfigured(EmulatedBus):
        value = 0

        def get_configuration(self, dev_handle: object) -> int:
            return self.value

        def set_configuration(self, dev_handle: object, config_value: int) -> None:
            self.value = config_value

    bus = Unconfigured()
    bus.plug(1, make_camera(make_image(tmp_path)))
    usbio.claim(device_on(bus), 0, pause_s=0)
    assert bus.value == 1


def test_the_bulk_only_setting_of_a_uas_device_is_found_and_must_be_chosen(tmp_path: Path) -> None:
    bus = EmulatedBus()
    bus.plug(1, make_camera(make_image(tmp_path), uas=True))
    assert usbio.find_bulk_only(device_on(bus)) == usbio.BulkOnly(0, 0, True, 0x81, 0x02)


def test_a_device_of_another_class_has_no_bulk_only_setting(tmp_path: Path) -> None:
    bus = EmulatedBus()
    bus.plug(1, make_camera(make_image(tmp_path), interface_class=3))
    assert usbio.find_bulk_only(device_on(bus)) is None
