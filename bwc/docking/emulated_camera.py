"""A camera that exists only in this process: its USB face, its Bulk-Only transport and its SCSI commands over
a file.

For demonstrations and for tests of every fault path; proves nothing about real cameras by itself. Not
responsible for ports and hot-plug (bwc.docking.emulation). Behaves as Bulk-Only Transport 1.0 asks of a
device, and misbehaves only where a fault is set. Raises usb.core.USBError with libusb's errnos, as a real
backend does.
"""

from __future__ import annotations

import errno
import os
import struct
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import usb.core

from bwc.core.errors import ConfigError

BLOCK = 512
PACKET = 512
ENDPOINT_IN = 0x81
ENDPOINT_OUT = 0x02

_CBW = struct.Struct("<4sIIBBB16s")
_NO_SENSE = (0, 0, 0)
_UNKNOWN_COMMAND = (5, 0x20, 0)
_OUT_OF_RANGE = (5, 0x21, 0)
_BAD_BLOCK = (3, 0x11, 0)
_NO_MEDIUM = (2, 0x3A, 0)
_BECOMING_READY = (2, 0x04, 1)
_PROTECTED = (7, 0x27, 0)

SenseCodes = tuple[int, int, int]


def usb_error(number: int) -> usb.core.USBError:
    """The exception libusb's backend raises for `number`."""
    if number == errno.ETIMEDOUT:
        return usb.core.USBTimeoutError("Operation timed out", -7, number)
    return usb.core.USBError(os.strerror(number), None, number)


@dataclass
class EmulatedCamera:
    """What a camera is, and how it shall misbehave.

    `image_path` is its card, whole blocks of 512 bytes, written through. `read_bytes_per_s` throttles
    reading. Faults ending in `_next` are spent by the next occasion; the others last until changed. Fields
    may be set while the camera is plugged.

    gone_after_bytes    pulled (errno 19) once so many more data bytes were read; spent then
    bad_blocks          CHECK CONDITION 3/11/00 for a read or write touching one
    stall_next          the next status is refused by a STALL, and given when asked again
    wrong_tag_next      the next status carries another command's tag
    short_data_next     the next data-in phase ends one packet early, with the residue told
    phase_error_next    the next status is 2; then only a reset is listened to
    garbage_csw_next    these bytes stand for the next status
    attention_next      the next command but INQUIRY and REQUEST SENSE: CHECK CONDITION with these sense codes
    unit_attention_first  the first such command after a plug: 6/28/00
    not_ready_for       so many TEST UNIT READY answer 2/04/01
    no_medium           2/3A/00 to all that needs a card
    answers             bytes answered instead of the true ones, by opcode (hostile devices)
    raw_strings         bytes of string descriptors, by index (1 manufacturer, 2 product, 3 serial)
    busy_claims         so many claims answer EBUSY after the kernel's driver was detached
    """

    image_path: Path
    vendor_id: int
    product_id: int
    serial: str
    product: str
    manufacturer: str
    read_bytes_per_s: int | None = None
    read_only: bool = False
    empty_units: int = 0
    uas: bool = False
    interface_class: int = 0x08
    descriptor_sense: bool = False
    has_cache_command: bool = True
    gone_after_bytes: int | None = None
    bad_blocks: set[int] = field(default_factory=set)
    stall_next: bool = False
    wrong_tag_next: bool = False
    short_data_next: bool = False
    phase_error_next: bool = False
    garbage_csw_next: bytes | None = None
    attention_next: SenseCodes | None = None
    unit_attention_first: bool = False
    not_ready_for: int = 0
    no_medium: bool = False
    answers: dict[int, bytes] = field(default_factory=dict)
    raw_strings: dict[int, bytes] = field(default_factory=dict)
    busy_claims: int = 0


@dataclass
class _Phase:
    """Where the current command stands: data still to give, or to take, then its status."""

    name: str = "command"
    tag: int = 0
    asked: int = 0
    moved: int = 0
    status: int = 0
    pending: memoryview = field(default_factory=lambda: memoryview(b""))
    taken: bytearray = field(default_factory=bytearray)
    lba: int = 0


class PluggedCamera:
    """A camera from one plug to its pull: address on the bus, claims, halts and the command under way.

    After `pull` every operation raises USBError 19, for ever. Raises ConfigError when the image cannot be
    opened.
    """

    def __init__(self, camera: EmulatedCamera, port: int, number: int) -> None:
        self.camera = camera
        self.port = port
        self.number = number
        self.gone = threading.Event()
        self.kernel_driver = camera.interface_class == 0x08
        self.claimed_by: object | None = None
        self.alternate = int(camera.uas)
        self._lock = threading.RLock()
        self._halted: set[int] = set()
        self._deaf = False
        self._phase = _Phase()
        self._sense: SenseCodes = _NO_SENSE
        self._bad_block: int | None = None
        self._attention: SenseCodes | None = (6, 0x28, 0) if camera.unit_attention_first else None
        self._next_at = 0.0
        try:
            flags = os.O_RDONLY if camera.read_only else os.O_RDWR
            self._image = os.open(camera.image_path, flags | os.O_CLOEXEC)
        except OSError as error:
            raise ConfigError(f"camera image {camera.image_path}: {error}") from error
        self._blocks = os.fstat(self._image).st_size // BLOCK

    def pull(self) -> None:
        """Take the camera off: what is under way fails, the image is closed."""
        self.gone.set()
        with self._lock:
            if self._image >= 0:
                os.close(self._image)
                self._image = -1

    def check(self) -> None:
        """Raise USBError 19 once pulled."""
        if self.gone.is_set():
            raise usb_error(errno.ENODEV)

    # USB

    def claim(self, holder: object) -> None:
        """Give the interface to `holder`; EBUSY while the kernel's driver or another holder has it."""
        with self._lock:
            self.check()
            if self.camera.busy_claims > 0 and not self.kernel_driver:
                self.camera.busy_claims -= 1
                raise usb_error(errno.EBUSY)
            if self.kernel_driver or self.claimed_by not in (None, holder):
                raise usb_error(errno.EBUSY)
            self.claimed_by = holder

    def release(self, holder: object) -> None:
        """Take the interface back from `holder` (ENOENT if it had none); works on a pulled camera."""
        with self._lock:
            if self.claimed_by is not holder:
                raise usb_error(errno.ENOENT)
            self.claimed_by = None

    def detach(self) -> None:
        """Unbind the kernel's driver; ENOENT if none is bound."""
        with self._lock:
            self.check()
            if not self.kernel_driver:
                raise usb_error(errno.ENOENT)
            self.kernel_driver = False

    def control(self, request_type: int, request: int, value: int, length: int) -> bytes:
        """Answer to a control request; unknown ones stall (errno 32)."""
        with self._lock:
            self.check()
            if (request_type, request) == (0x80, 0x06) and value >> 8 == 0x03:
                return self._string(value & 0xFF)[:length]
            if (request_type, request) == (0xA1, 0xFE) and self.camera.empty_units:
                return bytes((self.camera.empty_units,))
            if (request_type, request) == (0x21, 0xFF):
                self.reset()
                return b""
            raise usb_error(errno.EPIPE)

    def _string(self, index: int) -> bytes:
        """String descriptor `index` (USB 2.0 9.6.7); 0 is the list of languages."""
        if index in self.camera.raw_strings:
            return self.camera.raw_strings[index]
        texts = {1: self.camera.manufacturer, 2: self.camera.product, 3: self.camera.serial}
        if index == 0:
            body = b"\x09\x04"
        elif texts.get(index):
            body = texts[index][:126].encode("utf-16-le")[:252]
        else:
            raise usb_error(errno.EPIPE)
        return bytes((len(body) + 2, 0x03)) + body

    def reset(self) -> None:
        """Bulk-Only reset (BOT 3.1): ready for a command again; halts stay until cleared."""
        with self._lock:
            self.check()
            self._phase, self._deaf = _Phase(), False

    def clear_halt(self, endpoint: int) -> None:
        """Let the endpoint answer again, unless the device waits for a reset (BOT 6.6.1)."""
        with self._lock:
            self.check()
            if not self._deaf:
                self._halted.discard(endpoint)

    def bulk_out(self, data: bytes, holder: object) -> int:
        """Take a command or its data; bytes taken."""
        with self._lock:
            self._check_transfer(ENDPOINT_OUT, holder)
            if self._phase.name == "command":
                self._take_command(data)
            elif self._phase.name == "out":
                self._take_data(data)
            else:
                raise usb_error(errno.ETIMEDOUT)
            return len(data)

    def bulk_in(self, size: int, holder: object) -> bytes:
        """Give data or a status, `size` bytes at most."""
        with self._lock:
            self._check_transfer(ENDPOINT_IN, holder)
            if self._phase.name == "in":
                return self._give_data(size)
            if self._phase.name == "status":
                return self._give_status(size)
            raise usb_error(errno.ETIMEDOUT)

    def _check_transfer(self, endpoint: int, holder: object) -> None:
        self.check()
        if self.claimed_by is not holder:
            raise usb_error(errno.EBUSY)
        if endpoint in self._halted or self.alternate:
            raise usb_error(errno.EPIPE)

    # Bulk-Only Transport

    def _take_command(self, data: bytes) -> None:
        """Understand a CBW and run it; an invalid one halts both endpoints until a reset (BOT 6.6.1)."""
        if len(data) != _CBW.size or data[:4] != b"USBC":
            self._deaf = True
            self._halted = {ENDPOINT_IN, ENDPOINT_OUT}
            return
        _, tag, asked, flags, unit, _, cdb = _CBW.unpack(data)
        self._phase = _Phase(tag=tag, asked=asked)
        answer, sense = self._run(unit & 0x0F, cdb)
        if cdb[0] != 0x03:
            self._sense = sense
        self._phase.status = int(sense != _NO_SENSE)
        if asked and not flags & 0x80:
            self._expect_data(sense)
        elif asked:
            self._offer_data(answer[:asked])
        else:
            self._phase.name = "status"

    def _expect_data(self, sense: SenseCodes) -> None:
        """Data-out phase, or a halt where the command already failed (BOT case 9)."""
        self._phase.name = "out"
        if sense != _NO_SENSE:
            self._phase.name = "status"
            self._halted.add(ENDPOINT_OUT)

    def _offer_data(self, answer: bytes) -> None:
        """Data-in phase; with nothing to give, a halt (BOT case 4)."""
        if self.camera.short_data_next and answer:
            self.camera.short_data_next = False
            answer = answer[: max(0, len(answer) - PACKET)]
        self._phase.pending = memoryview(answer)
        self._phase.name = "in" if answer else "status"
        if not answer:
            self._halted.add(ENDPOINT_IN)

    def _give_data(self, size: int) -> bytes:
        part = self._phase.pending[:size]
        if len(part) < len(self._phase.pending) and size % PACKET:
            raise usb_error(errno.EOVERFLOW)
        self._throttle(len(part))
        self._count_down(len(part))
        self._phase.moved += len(part)
        self._phase.pending = self._phase.pending[size:]
        if not self._phase.pending:
            self._phase.name = "status"
        return bytes(part)

    def _throttle(self, size: int) -> None:
        """Wait as long as the camera's speed asks, or until it is pulled."""
        if self.camera.read_bytes_per_s:
            now = time.monotonic()
            self._next_at = max(now, self._next_at) + size / self.camera.read_bytes_per_s
            self.gone.wait(self._next_at - now)
            self.check()

    def _count_down(self, size: int) -> None:
        """Go away when `gone_after_bytes` are spent."""
        if self.camera.gone_after_bytes is None:
            return
        self.camera.gone_after_bytes -= size
        if self.camera.gone_after_bytes <= 0:
            self.camera.gone_after_bytes = None
            self.pull()
            raise usb_error(errno.ENODEV)

    def _take_data(self, data: bytes) -> None:
        self._phase.taken += data
        self._phase.moved += len(data)
        if self._phase.moved >= self._phase.asked:
            os.pwrite(self._image, self._phase.taken, self._phase.lba * BLOCK)
            self._phase.name = "status"

    def _give_status(self, size: int) -> bytes:
        """The CSW, or what a fault puts in its place."""
        camera, phase = self.camera, self._phase
        if camera.stall_next:
            camera.stall_next = False
            self._halted.add(ENDPOINT_IN)
            raise usb_error(errno.EPIPE)
        tag, status = phase.tag, phase.status
        if camera.phase_error_next:
            camera.phase_error_next = False
            status, self._deaf = 2, True
            self._halted = {ENDPOINT_IN, ENDPOINT_OUT}
        if camera.wrong_tag_next:
            camera.wrong_tag_next = False
            tag = (tag - 1) & 0xFFFFFFFF
        raw = struct.pack("<4sIIB", b"USBS", tag, phase.asked - phase.moved, status)
        if camera.garbage_csw_next is not None:
            raw, camera.garbage_csw_next = camera.garbage_csw_next, None
        self._phase = _Phase()
        if len(raw) > size:
            raise usb_error(errno.EOVERFLOW)
        return raw

    # SCSI

    def _run(self, unit: int, cdb: bytes) -> tuple[bytes, SenseCodes]:
        """Data answered to a command, and its sense (0/0/0 when it passed)."""
        opcode = cdb[0]
        if opcode in self.camera.answers:
            return self.camera.answers[opcode], _NO_SENSE
        if opcode == 0x12:
            return self._inquiry(), _NO_SENSE
        if opcode == 0x03:
            return self._sense_data(), _NO_SENSE
        attention = self.camera.attention_next or self._attention
        if attention:
            self.camera.attention_next = self._attention = None
            return b"", attention
        if self.camera.no_medium or unit < self.camera.empty_units:
            return b"", _NO_MEDIUM
        return self._run_on_card(opcode, cdb)

    def _run_on_card(self, opcode: int, cdb: bytes) -> tuple[bytes, SenseCodes]:
        if opcode == 0x00:
            waiting = self.camera.not_ready_for > 0
            self.camera.not_ready_for -= int(waiting)
            return b"", _BECOMING_READY if waiting else _NO_SENSE
        if opcode == 0x1A:
            return bytes((3, 0, 0x80 if self.camera.read_only else 0, 0)), _NO_SENSE
        if opcode == 0x25:
            return struct.pack(">II", min(self._blocks - 1, 0xFFFFFFFF), BLOCK), _NO_SENSE
        if opcode == 0x9E and cdb[1] & 0x1F == 0x10:
            return struct.pack(">QI", self._blocks - 1, BLOCK).ljust(32, b"\0"), _NO_SENSE
        if opcode in (0x28, 0x2A, 0x88, 0x8A):
            return self._move(opcode, cdb)
        if opcode == 0x35 and self.camera.has_cache_command:
            os.fsync(self._image)
            return b"", _NO_SENSE
        return b"", _UNKNOWN_COMMAND

    def _move(self, opcode: int, cdb: bytes) -> tuple[bytes, SenseCodes]:
        """READ and WRITE, 10 and 16; a write's data comes in the next phase."""
        lba, count = struct.unpack(">IxH", cdb[2:9]) if opcode < 0x80 else struct.unpack(">QI", cdb[2:14])
        if lba + count > self._blocks:
            return b"", _OUT_OF_RANGE
        bad = min((b for b in self.camera.bad_blocks if lba <= b < lba + count), default=None)
        if bad is not None:
            self._bad_block = bad
            return b"", _BAD_BLOCK
        if opcode in (0x2A, 0x8A):
            self._phase.lba = lba
            return b"", _PROTECTED if self.camera.read_only else _NO_SENSE
        return os.pread(self._image, count * BLOCK, lba * BLOCK), _NO_SENSE

    def _inquiry(self) -> bytes:
        vendor = self.camera.manufacturer.encode("ascii", "replace")[:8].ljust(8)
        product = self.camera.product.encode("ascii", "replace")[:16].ljust(16)
        return bytes((0x00, 0x80, 0x06, 0x02, 31, 0, 0, 0)) + vendor + product + b"0001"

    def _sense_data(self) -> bytes:
        """Sense of the last failed command, then none; the failing block is named for a medium error."""
        (key, asc, ascq), self._sense = self._sense, _NO_SENSE
        block = self._bad_block if key == 3 else None
        if self.camera.descriptor_sense:
            named = b"" if block is None else struct.pack(">BBBBQ", 0, 10, 0x80, 0, block)
            return bytes((0x72, key, asc, ascq, 0, 0, 0, len(named))) + named
        valid, low = (0x80, block) if block is not None and block <= 0xFFFFFFFF else (0, 0)
        return struct.pack(">BBBIBIBBBBH", 0x70 | valid, 0, key, low, 10, 0, asc, ascq, 0, 0, 0)
