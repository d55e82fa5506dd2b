from __future__ import annotations

import array
import errno
import struct
import threading
from pathlib import Path
from typing import Any

import pytest
import usb.core
import usb.util
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bwc.core.errors import DeviceError
from bwc.docking import scsi
from bwc.docking.emulated_camera import usb_error
from bwc.docking.emulation import EmulatedBus
from bwc.docking.errors import DeviceBusyError, DeviceGoneError, MediumError
from bwc.docking.msc import BadBlockError, MassStorage, NoMediumError, ProtocolError
from usb_helpers import BLOCKS, device_on, make_camera, make_image, opened, pattern


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return make_image(tmp_path)


class Spy(EmulatedBus):
    """Remembers the SCSI commands that pass."""

    def __init__(self) -> None:
        super().__init__()
        self.commands: list[bytes] = []

    def bulk_write(self, dev_handle: Any, ep: int, intf: int, data: array.array[int], timeout: int) -> int:
        if data[:4].tobytes() == b"USBC":
            self.commands.append(data[15:].tobytes())
        return super().bulk_write(dev_handle, ep, intf, data, timeout)


def test_a_card_states_its_size_and_who_it_is(image: Path) -> None:
    with opened(make_camera(image)) as card:
        assert (card.block_size, card.block_count, card.read_only) == (512, BLOCKS, False)
        assert (card.vendor, card.model) == ("bwc", "Demonstration ca")


@pytest.mark.parametrize(("lba", "count"), [(0, 1), (0, 0), (BLOCKS - 1, 1), (17, 3000), (0, BLOCKS)])
def test_blocks_are_read_as_they_are(image: Path, lba: int, count: int) -> None:
    with opened(make_camera(image)) as card:
        assert card.read(lba, count) == pattern(lba, count)


def test_reading_into_a_buffer_fills_exactly_that_buffer(image: Path) -> None:
    around = bytearray(b"\xee" * (4 * 512))
    with opened(make_camera(image)) as card:
        card.read_into(5, memoryview(around)[512 : 3 * 512])
    assert around == b"\xee" * 512 + pattern(5, 2) + b"\xee" * 512


def test_a_part_of_a_block_is_refused(image: Path) -> None:
    with opened(make_camera(image)) as card, pytest.raises(ValueError, match="whole number"):
        card.read_into(0, memoryview(bytearray(100)))


@pytest.mark.parametrize(("lba", "count"), [(-1, 1), (BLOCKS, 1), (BLOCKS - 1, 2), (1 << 60, 1), (0, 1 << 50)])
def test_blocks_outside_the_card_are_refused_before_any_command(image: Path, lba: int, count: int) -> None:
    with opened(make_camera(image)) as card, pytest.raises(DeviceError, match="of a card"):
        card.read(lba, count)


def test_requests_stay_within_the_cap_of_the_profile(image: Path) -> None:
    bus = Spy()
    bus.plug(1, make_camera(image))
    card = MassStorage(device_on(bus), max_transfer=65536)
    bus.commands.clear()
    assert card.read(0, 300) == pattern(0, 300)
    assert [struct.unpack(">H", c[7:9])[0] for c in bus.commands] == [128, 128, 44]
    card.close()


def test_a_kernel_short_of_memory_gets_smaller_requests(image: Path) -> None:
    class Tight(EmulatedBus):
        def bulk_read(self, dev_handle: Any, ep: int, intf: int, buff: array.array[int], timeout: int) -> int:
            if len(buff) > 262144:
                raise usb_error(errno.ENOMEM)
            return super().bulk_read(dev_handle, ep, intf, buff, timeout)

    bus = Tight()
    bus.plug(1, make_camera(image))
    card = MassStorage(device_on(bus))
    assert card.read(0, BLOCKS) == pattern(0, BLOCKS)
    card.close()


def test_a_card_beyond_two_tebibytes_is_read_with_the_long_commands(tmp_path: Path) -> None:
    blocks, path = (1 << 32) + 4096, tmp_path / "large.img"
    with path.open("wb") as file:
        file.truncate(blocks * 512)
        file.seek((blocks - 2) * 512)
        file.write(pattern(blocks - 2, 2))
    bus = Spy()
    bus.plug(1, make_camera(path))
    card = MassStorage(device_on(bus))
    assert card.block_count == blocks
    assert card.read(blocks - 2, 2) == pattern(blocks - 2, 2)
    with card.allow_writes():
        card.write((1 << 32) + 7, pattern(99, 1))
    assert card.read((1 << 32) + 7, 1) == pattern(99, 1)
    assert {0x88, 0x8A, 0x9E} <= {command[0] for command in bus.commands}
    card.close()
    bus.close()


def test_a_uas_device_left_on_its_other_setting_is_read_over_bulk_only(image: Path) -> None:
    with opened(make_camera(image, uas=True)) as card:
        assert card.read(1, 1) == pattern(1, 1)


def test_the_first_unit_with_a_card_is_chosen(image: Path) -> None:
    with opened(make_camera(image, empty_units=2)) as card:
        assert card.read(2, 1) == pattern(2, 1)


def test_a_camera_without_card_says_so_and_lets_go_of_the_interface(image: Path) -> None:
    bus = EmulatedBus()
    camera = make_camera(image, no_medium=True)
    bus.plug(1, camera)
    with pytest.raises(NoMediumError):
        MassStorage(device_on(bus))
    camera.no_medium = False
    MassStorage(device_on(bus)).close()


def test_a_device_that_is_no_disk_is_refused(image: Path) -> None:
    with pytest.raises(DeviceError) as caught, opened(make_camera(image, interface_class=3)):
        pass
    assert caught.value.code == "not_mass_storage"


def test_a_unit_that_is_a_cd_is_not_taken_for_the_card(image: Path) -> None:
    with pytest.raises(NoMediumError), opened(make_camera(image, answers={0x12: b"\x05" + bytes(35)})):
        pass


def test_a_card_that_wakes_slowly_is_waited_for(image: Path) -> None:
    with opened(make_camera(image, not_ready_for=5, unit_attention_first=True)) as card:
        assert card.read(0, 1) == pattern(0, 1)


def test_a_card_that_never_wakes_is_given_up(image: Path) -> None:
    with (
        pytest.raises(DeviceError, match="never became ready"),
        opened(make_camera(image, not_ready_for=10**6), ready_attempts=4),
    ):
        pass


def test_a_second_program_finds_the_card_busy(image: Path) -> None:
    bus = EmulatedBus()
    bus.plug(1, make_camera(image))
    card = MassStorage(device_on(bus))
    with pytest.raises(DeviceBusyError):
        MassStorage(device_on(bus))
    card.close()
    MassStorage(device_on(bus)).close()


def test_a_command_left_unfinished_by_a_dead_program_does_not_hinder_the_next(image: Path) -> None:
    bus = EmulatedBus()
    bus.plug(1, make_camera(image))
    dead = device_on(bus)
    dead.detach_kernel_driver(0)
    cdb = scsi.read_blocks(0, 64).ljust(16, b"\0")
    dead.write(2, struct.pack("<4sIIBBB16s", b"USBC", 9, 64 * 512, 0x80, 0, 10, cdb))
    usb.util.dispose_resources(dead)
    card = MassStorage(device_on(bus))
    assert card.read(3, 1) == pattern(3, 1)
    card.close()


# Faults


def test_a_pull_in_the_middle_of_a_transfer_is_gone_for_ever(image: Path) -> None:
    camera = make_camera(image)
    bus = EmulatedBus()
    bus.plug(1, camera)
    card = MassStorage(device_on(bus), max_transfer=65536)
    camera.gone_after_bytes = 1_000_000
    with pytest.raises(DeviceGoneError):
        card.read(0, BLOCKS)
    assert usb.core.find(backend=bus) is None
    bus.plug(1, camera)
    with pytest.raises(DeviceGoneError):
        card.read(0, 1)
    card.close()
    again = MassStorage(device_on(bus))
    assert again.read(0, 5) == pattern(0, 5)
    again.close()


def test_a_camera_pulled_from_another_thread_ends_the_transfer_under_way(image: Path) -> None:
    bus = EmulatedBus()
    bus.plug(1, make_camera(image))
    card = MassStorage(device_on(bus))
    bus.camera_at(1).read_bytes_per_s = 1000  # type: ignore[union-attr]
    failures: list[DeviceError] = []

    def copy() -> None:
        try:
            card.read(0, BLOCKS)
        except DeviceError as error:
            failures.append(error)

    worker = threading.Thread(target=copy)
    worker.start()
    bus.pull(1)
    worker.join(30)
    assert not worker.is_alive()
    assert [type(failure) for failure in failures] == [DeviceGoneError]
    card.close()


@pytest.mark.parametrize("descriptor_sense", [False, True])
def test_a_bad_block_is_a_medium_error_after_three_retries_and_its_neighbours_stay_readable(
    image: Path, descriptor_sense: bool
) -> None:
    bus = Spy()
    bus.plug(1, make_camera(image, bad_blocks={100}, descriptor_sense=descriptor_sense))
    card = MassStorage(device_on(bus))
    bus.commands.clear()
    with pytest.raises(BadBlockError) as caught:
        card.read(100, 10)
    assert isinstance(caught.value, MediumError)
    assert (caught.value.lba, caught.value.count) == (100, 10)
    assert [command[0] for command in bus.commands].count(0x28) == 4
    assert card.read(101, 1) == pattern(101, 1)
    assert card.read(99, 1) == pattern(99, 1)
    card.close()


def test_the_bad_block_is_the_one_the_device_names(image: Path) -> None:
    with opened(make_camera(image, bad_blocks={77, 90})) as card, pytest.raises(BadBlockError) as caught:
        card.read(50, 100)
    assert caught.value.lba == 77


def test_a_block_that_recovers_on_retry_is_read(image: Path) -> None:
    camera = make_camera(image)
    with opened(camera) as card:
        camera.attention_next = (3, 0x11, 0)
        assert card.read(8, 2) == pattern(8, 2)


def test_a_stalled_status_is_cleared_and_asked_again(image: Path) -> None:
    camera = make_camera(image)
    with opened(camera) as card:
        camera.stall_next = True
        assert card.read(8, 2) == pattern(8, 2)


def test_a_phase_error_is_reset_and_the_command_given_once_more(image: Path) -> None:
    camera = make_camera(image)
    with opened(camera) as card:
        camera.phase_error_next = True
        assert card.read(8, 2) == pattern(8, 2)


LIES: list[dict[str, Any]] = [
    {"wrong_tag_next": True},
    {"short_data_next": True},
    {"garbage_csw_next": b""},
    {"garbage_csw_next": b"\xa5" * 13},
    {"garbage_csw_next": b"USBS"},
]


@pytest.mark.parametrize("lie", LIES, ids=str)
def test_a_device_that_lies_is_an_error_and_is_back_in_step_for_the_next_command(
    image: Path, lie: dict[str, Any]
) -> None:
    camera = make_camera(image)
    with opened(camera) as card:
        for name, value in lie.items():
            setattr(camera, name, value)
        with pytest.raises(ProtocolError):
            card.read(8, 2)
        assert card.read(8, 2) == pattern(8, 2)


def test_a_single_block_cut_to_nothing_is_an_error(image: Path) -> None:
    camera = make_camera(image)
    with opened(camera) as card:
        camera.short_data_next = True
        with pytest.raises(ProtocolError):
            card.read(8, 1)


def test_a_card_changed_under_way_is_never_read_on(image: Path) -> None:
    camera = make_camera(image)
    with opened(camera) as card:
        camera.attention_next = (6, 0x28, 0)
        with pytest.raises(DeviceGoneError, match="changed"):
            card.read(8, 2)


def test_a_card_taken_out_under_way_is_gone(image: Path) -> None:
    camera = make_camera(image)
    with opened(camera) as card:
        camera.no_medium = True
        with pytest.raises(DeviceGoneError):
            card.read(8, 2)


def test_a_reset_notice_under_way_is_passed_over(image: Path) -> None:
    camera = make_camera(image)
    with opened(camera) as card:
        camera.attention_next = (6, 0x29, 0)
        assert card.read(8, 2) == pattern(8, 2)


def test_a_command_the_device_does_not_know_is_a_device_error_without_retries(image: Path) -> None:
    camera = make_camera(image)
    with opened(camera) as card:
        camera.attention_next = (5, 0x20, 0)
        with pytest.raises(DeviceError, match="5/20/00"):
            card.read(8, 2)


def status_of(card: MassStorage, status: int, residue: int = 0, signature: bytes = b"USBS") -> bytes:
    """The status block that would answer the card's next command."""
    return struct.pack("<4sIIB", signature, card._tag + 1, residue, status)


@pytest.mark.parametrize(("status", "signature"), [(0, b"USBC"), (3, b"USBS"), (255, b"USBS")])
def test_a_status_of_the_right_tag_needs_the_right_signature_and_a_known_value(
    image: Path, status: int, signature: bytes
) -> None:
    camera = make_camera(image)
    with opened(camera) as card:
        camera.garbage_csw_next = status_of(card, status, 0, signature)
        with pytest.raises(ProtocolError):
            card.read(8, 2)


def test_short_data_the_status_keeps_silent_about_is_an_error(image: Path) -> None:
    camera = make_camera(image)
    with opened(camera) as card:
        camera.short_data_next = True
        camera.garbage_csw_next = status_of(card, 0)
        with pytest.raises(ProtocolError):
            card.read(8, 2)


def test_a_residue_larger_than_what_was_asked_resets_the_device_while_opening(image: Path) -> None:
    first_status = struct.pack("<4sIIB", b"USBS", 1, 1000, 0)
    with opened(make_camera(image, garbage_csw_next=first_status)) as card:
        assert card.read(8, 2) == pattern(8, 2)


RECOVERED_SENSE = b"\x70\x00\x01" + bytes(9) + b"\x17\x00" + bytes(4)


def test_blocks_the_device_recovered_and_gave_whole_are_taken(image: Path) -> None:
    camera = make_camera(image, answers={0x03: RECOVERED_SENSE})
    bus = Spy()
    bus.plug(1, camera)
    card = MassStorage(device_on(bus))
    bus.commands.clear()
    camera.garbage_csw_next = status_of(card, 1)
    assert card.read(8, 2) == pattern(8, 2)
    assert [command[0] for command in bus.commands] == [0x28, 0x03]
    card.close()


def test_blocks_the_device_recovered_but_gave_in_part_are_asked_again(image: Path) -> None:
    camera = make_camera(image, answers={0x03: RECOVERED_SENSE})
    with opened(camera) as card:
        camera.short_data_next = True
        camera.garbage_csw_next = status_of(card, 1, 512)
        assert card.read(8, 2) == pattern(8, 2)


# Hostile answers: nothing but the DeviceError family, ever

hostile = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@hostile
@given(raw=st.binary(max_size=13))
@example(raw=b"USBS\x00\x00\x00\x00\xff\xff\xff\xff\x00")
def test_any_bytes_as_status_end_in_a_device_error(image: Path, raw: bytes) -> None:
    camera = make_camera(image)
    with opened(camera) as card:
        camera.garbage_csw_next = raw
        with pytest.raises(DeviceError):
            card.read(8, 2)
        assert card.read(8, 2) == pattern(8, 2)


@hostile
@given(status=st.integers(0, 255), residue=st.integers(0, 2**32 - 1))
def test_a_status_with_any_residue_never_gives_wrong_bytes(image: Path, status: int, residue: int) -> None:
    camera = make_camera(image)
    bus = Spy()
    bus.plug(1, camera)
    card = MassStorage(device_on(bus), ready_pause_s=0)
    camera.garbage_csw_next = status_of(card, status, residue)
    try:
        assert card.read(8, 2) == pattern(8, 2)
    except DeviceError:
        assert (status, residue) != (0, 0)
    finally:
        card.close()
        bus.close()


@hostile
@given(raw=st.binary(max_size=20))
def test_any_bytes_as_sense_end_in_a_device_error(image: Path, raw: bytes) -> None:
    camera = make_camera(image, bad_blocks={9})
    with opened(camera) as card:
        camera.answers[0x03] = raw
        with pytest.raises(DeviceError):
            card.read(8, 2)


@hostile
@given(
    opcode=st.sampled_from([0x12, 0x25, 0x9E, 0x1A, 0x03]),
    raw=st.binary(max_size=260),
    no_medium=st.booleans(),
)
@example(opcode=0x25, raw=bytes(8), no_medium=False)
@example(opcode=0x25, raw=struct.pack(">II", 0xFFFFFFFF, 512), no_medium=False)
@example(opcode=0x25, raw=struct.pack(">II", 10, 513), no_medium=False)
def test_any_bytes_while_opening_give_a_sane_card_or_a_device_error(
    image: Path, opcode: int, raw: bytes, no_medium: bool
) -> None:
    try:
        with opened(make_camera(image, answers={opcode: raw}, no_medium=no_medium), ready_attempts=3) as card:
            assert card.block_size in scsi.BLOCK_SIZES
            assert 0 < card.block_count < 1 << 48
    except DeviceError:
        pass


def test_an_impossible_capacity_is_refused(image: Path) -> None:
    long = struct.pack(">QI", 1 << 50, 512).ljust(32, b"\0")
    answers = {0x25: struct.pack(">II", 0xFFFFFFFF, 512), 0x9E: long}
    with pytest.raises(DeviceError, match="capacity"), opened(make_camera(image, answers=answers)):
        pass


@given(raw=st.binary(max_size=64))
def test_sense_and_inquiry_decoders_accept_any_bytes(raw: bytes) -> None:
    assert 0 <= scsi.decode_sense(raw).key <= 15
    assert len(scsi.decode_inquiry(raw).product) <= 16


def test_sense_is_decoded_in_both_formats_with_the_block_it_names() -> None:
    fixed = bytes.fromhex("f00003000004d20a0000000011000000") + bytes(2)
    named = bytes.fromhex("720311000000000c 000a8000 00000000000004d2")
    assert scsi.decode_sense(fixed) == scsi.decode_sense(named) == scsi.Sense(3, 0x11, 0, 1234)


# Writing


def test_writing_is_refused_until_it_is_allowed_and_again_afterwards(image: Path) -> None:
    bus = Spy()
    bus.plug(1, make_camera(image))
    card = MassStorage(device_on(bus))
    bus.commands.clear()
    with pytest.raises(DeviceError) as caught:
        card.write(4, pattern(0, 1))
    assert caught.value.code == "write_refused"
    with card.allow_writes():
        card.write(4, pattern(70, 1))
        card.flush()
    with pytest.raises(DeviceError):
        card.write(4, pattern(0, 1))
    assert [command[0] for command in bus.commands] == [0x2A, 0x35]
    card.close()
    assert image.read_bytes()[4 * 512 : 5 * 512] == pattern(70, 1)


def test_a_long_write_lands_whole(image: Path) -> None:
    with opened(make_camera(image)) as card, card.allow_writes():
        card.write(3, pattern(5000, 3000))
        card.flush()
        assert card.read(0, BLOCKS) == pattern(0, 3) + pattern(5000, 3000) + pattern(3003, BLOCKS - 3003)


def test_a_card_known_to_be_protected_is_not_even_sent_a_write(image: Path) -> None:
    bus = Spy()
    bus.plug(1, make_camera(image, read_only=True))
    card = MassStorage(device_on(bus))
    bus.commands.clear()
    with card.allow_writes(), pytest.raises(DeviceError) as caught:
        card.write(4, pattern(0, 1))
    assert (card.read_only, caught.value.code, bus.commands) == (True, "write_protected", [])
    card.close()


def test_a_protection_the_device_hid_shows_when_it_refuses_the_write(image: Path) -> None:
    camera = make_camera(image, read_only=True, answers={0x1A: b"\x03\0\0\0"})
    with opened(camera) as card, card.allow_writes():
        assert not card.read_only
        with pytest.raises(DeviceError) as caught:
            card.write(4, pattern(0, 1))
        assert caught.value.code == "write_protected"
        assert card.read(4, 1) == pattern(4, 1)


def test_a_block_that_cannot_be_written_is_a_medium_error(image: Path) -> None:
    camera = make_camera(image, bad_blocks={4})
    with opened(camera) as card, card.allow_writes(), pytest.raises(BadBlockError):
        card.write(4, pattern(0, 1))


def test_flushing_a_device_without_a_cache_command_succeeds(image: Path) -> None:
    with opened(make_camera(image, has_cache_command=False)) as card:
        card.flush()


def test_a_flush_that_fails_for_another_reason_is_an_error(image: Path) -> None:
    camera = make_camera(image)
    with opened(camera) as card:
        camera.attention_next = (7, 0x27, 0)
        with pytest.raises(DeviceError):
            card.flush()


def test_a_closed_card_answers_nothing_and_may_be_closed_again(image: Path) -> None:
    bus = EmulatedBus()
    bus.plug(1, make_camera(image))
    device = device_on(bus)
    card = MassStorage(device)
    card.close()
    card.close()
    with pytest.raises(DeviceError, match="closed"):
        card.read(0, 1)
    with pytest.raises(DeviceError, match="closed"):
        card.flush()
    assert not device.is_kernel_driver_active(0)
