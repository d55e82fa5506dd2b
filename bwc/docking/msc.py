"""A camera's card as blocks, over USB: Bulk-Only Transport and the few SCSI commands it takes.

Not responsible for what the blocks mean (bwc.docking.fat...) nor for finding devices (bwc.docking.monitor).
The device is not trusted: every status block is checked for signature, tag, status and residue, every length
against what was asked, and every way of lying ends in an error of the DeviceError family, never in wrong
bytes.
Sources: USB Mass Storage Class, Bulk-Only Transport 1.0 (BOT); SPC-4; SBC-3; reference note usb.md §2, §5.
"""

from __future__ import annotations

import array
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import structlog
import usb.core

from bwc.core.errors import DeviceError
from bwc.docking import scsi, usbio
from bwc.docking.errors import DeviceGoneError, MediumError
from bwc.docking.scsi import Sense

log = structlog.get_logger()

MAX_TRANSFER_BYTES = 1024 * 1024
MIN_TRANSFER_BYTES = 16 * 1024
TIMEOUT_MS = 20_000
RETRIES = 3

_CBW = struct.Struct("<4sIIBBB16s")
_CSW = struct.Struct("<4sIIB")
_RESET_REQUEST = (0x21, 0xFF)
_MAX_LUN_REQUEST = (0xA1, 0xFE)
_LUN_LIMIT = 15

_T = TypeVar("_T")


class ProtocolError(DeviceError):
    """The device broke the transport's rules (length, tag, signature, status); it was reset."""

    code = "device_protocol"


class NoMediumError(DeviceError):
    """The device answers but holds no card (SCSI 2/3A)."""

    code = "no_medium"
    person = "La caméra ne présente pas de carte. Vérifiez la carte, ou déverrouillez la caméra, puis replacez-la."


class BadBlockError(MediumError):
    """Blocks stayed unreadable (or unwritable) after the retries.

    `lba` is the failing block if the device names it, else the request's first; `count` the request's.
    """

    def __init__(self, message: str, *, lba: int, count: int) -> None:
        super().__init__(message)
        self.lba = lba
        self.count = count


class _PhaseError(ProtocolError):
    """Status 2 of a CSW: host and device disagree on the phase (BOT 6.6); the device was reset."""


class _CheckConditionError(DeviceError):
    """A command failed with sense data; turned into a public error before it leaves this module."""

    def __init__(self, sense: Sense) -> None:
        super().__init__(f"check condition {sense}")
        self.sense = sense


@dataclass(frozen=True)
class _Answer:
    """Outcome of one command: `complete` when every byte asked moved and the residue is nil."""

    passed: bool
    complete: bool
    data: memoryview


class MassStorage:
    """One card behind a USB device, claimed on construction and held until `close`.

    Reads only, until `allow_writes`. `max_transfer` bytes per request, kept within 16 KiB and 1 MiB, the
    profile's cap; `timeout_ms` bounds each USB transfer; `ready_attempts` times `ready_pause_s` seconds bound
    the wait for a card that is becoming ready. Safe to share between threads: one command at a time, as BOT
    requires. Raises DeviceBusyError, DeviceGoneError, NoMediumError, or DeviceError for a device that is no
    sane disk.
    """

    def __init__(
        self,
        device: usb.core.Device,
        *,
        max_transfer: int = MAX_TRANSFER_BYTES,
        timeout_ms: int = TIMEOUT_MS,
        ready_attempts: int = 40,
        ready_pause_s: float = 0.25,
    ) -> None:
        bulk = usbio.find_bulk_only(device)
        if bulk is None:
            raise DeviceError("no Bulk-Only mass storage interface", code="not_mass_storage")
        self._device = device
        self._bulk = bulk
        self._timeout_ms = timeout_ms
        self._pause_s = ready_pause_s
        self._lock = threading.RLock()
        self._tag = 0
        self._lun = 0
        self._opened = self._closed = False
        self._writers = 0
        self._buffer = array.array("B")
        self.block_size = 0
        self.block_count = 0
        self.read_only = True
        self.vendor = ""
        self.model = ""
        try:
            self._open(ready_attempts)
        except BaseException:
            self.close()
            raise
        transfer = min(MAX_TRANSFER_BYTES, max(MIN_TRANSFER_BYTES, max_transfer))
        self._max_blocks = transfer // self.block_size
        self._opened = True

    # Opening

    def _open(self, ready_attempts: int) -> None:
        """Claim, then settle on the first logical unit that is a disk with a card."""
        usbio.claim(self._device, self._bulk.interface)
        if self._bulk.choose:
            with usbio.usb_errors("choosing the Bulk-Only setting"):
                self._device.set_interface_altsetting(self._bulk.interface, self._bulk.alternate)
        for lun in range(self._unit_count()):
            self._lun = lun
            if not self._is_disk():
                continue
            try:
                self._await_ready(ready_attempts)
            except NoMediumError:
                log.info("unit_without_medium", lun=lun)
                continue
            self.block_size, self.block_count = self._capacity()
            self.read_only = self._is_write_protected()
            return
        raise NoMediumError("no logical unit holds a medium")

    def _unit_count(self) -> int:
        """How many logical units to look at (1 to 16); a device that stalls the request has one (BOT 3.2)."""
        try:
            with usbio.usb_errors("asking for the logical units"):
                answer = self._device.ctrl_transfer(*_MAX_LUN_REQUEST, 0, self._bulk.interface, 1, self._timeout_ms)
        except DeviceGoneError:
            raise
        except DeviceError:
            return 1
        return min(int(answer[0]), _LUN_LIMIT) + 1 if len(answer) == 1 else 1

    def _is_disk(self) -> bool:
        """INQUIRY; a transport out of step is forgiven once here: a program may have died mid-command."""
        try:
            raw = self._command(scsi.inquiry(), scsi.INQUIRY_BYTES)
        except ProtocolError:
            raw = self._command(scsi.inquiry(), scsi.INQUIRY_BYTES)
        except _CheckConditionError as error:
            raise DeviceError(f"INQUIRY failed: {error}") from error
        answer = scsi.decode_inquiry(bytes(raw))
        if answer.is_disk:
            self.vendor, self.model = usbio.cleaned(answer.vendor), usbio.cleaned(answer.product)
        return answer.is_disk

    def _await_ready(self, attempts: int) -> None:
        """TEST UNIT READY until the card is; raises NoMediumError when there is none."""
        sense = Sense(0, 0, 0)
        for _ in range(max(1, attempts)):
            try:
                self._command(scsi.test_unit_ready())
            except _CheckConditionError as error:
                sense = error.sense
                if sense.no_medium:
                    raise NoMediumError(f"unit {self._lun}: {sense}") from error
                if not (sense.becoming_ready or sense.unit_attention):
                    raise DeviceError(f"unit {self._lun} is not ready: {sense}") from error
                if not sense.unit_attention:
                    time.sleep(self._pause_s)
            else:
                return
        raise DeviceError(f"unit {self._lun} never became ready: {sense}")

    def _capacity(self) -> tuple[int, int]:
        """Block size and block count, READ CAPACITY(16) where (10) overflows; refused when not a disk's."""
        raw = self._patiently(lambda: self._command(scsi.read_capacity_10(), 8, exact=True))
        last, size = struct.unpack(">II", raw)
        if last == 0xFFFFFFFF:
            raw = self._patiently(lambda: self._command(scsi.read_capacity_16(), 32, exact=True))
            last, size = struct.unpack(">QI", raw[:12])
        if size not in scsi.BLOCK_SIZES or not 0 < last + 1 < scsi.BLOCK_COUNT_LIMIT:
            raise DeviceError(f"impossible capacity: {last + 1} blocks of {size} bytes")
        return size, last + 1

    def _is_write_protected(self) -> bool:
        """The write-protect bit of MODE SENSE(6); False where the device does not tell."""
        try:
            raw = self._command(scsi.mode_sense_6(), scsi.MODE_SENSE_BYTES)
        except (_CheckConditionError, ProtocolError):
            return False
        return len(raw) >= 4 and bool(raw[2] & 0x80)

    # Blocks

    def read(self, lba: int, count: int) -> bytes:
        """`count` blocks from `lba`. Raises as `read_into`."""
        if count < 0:
            raise ValueError("count must not be negative")
        self._check_range(lba, count)
        data = bytearray(count * self.block_size)
        self.read_into(lba, memoryview(data))
        return bytes(data)

    def read_into(self, lba: int, view: memoryview) -> None:
        """Fill `view` (a whole number of blocks) from block `lba` on.

        Raises BadBlockError after three retries, DeviceGoneError when the camera or its card was taken away,
        DeviceError outside the card; `view` may then be partly filled.
        """
        target = view.cast("B")
        size = self.block_size

        def take(first: int, count: int, start: int) -> None:
            cdb = scsi.read_blocks(first, count)
            data = self._patiently(lambda: self._command(cdb, count * size, exact=True), first, count)
            target[start : start + count * size] = data

        self._in_chunks(lba, len(target), take)

    def write(self, lba: int, data: bytes) -> None:
        """Put `data` (a whole number of blocks) at block `lba`; durable only after `flush`.

        Raises DeviceError when writing is not allowed, the card is protected or the range is outside it.
        """
        if not self._writers:
            raise DeviceError("writing to a card that was not released for writing", code="write_refused")
        if self.read_only:
            raise _write_protected("the card is write-protected")
        size = self.block_size

        def put(first: int, count: int, start: int) -> None:
            cdb, part = scsi.write_blocks(first, count), data[start : start + count * size]
            self._patiently(lambda: self._command(cdb, out=part), first, count)

        self._in_chunks(lba, len(data), put)

    def flush(self) -> None:
        """SYNCHRONIZE CACHE; a device that does not know the command has no cache to write back."""
        with self._lock:
            self._check_open()

            def synchronise() -> None:
                try:
                    self._command(scsi.synchronize_cache())
                except _CheckConditionError as error:
                    if error.sense.key != scsi.ILLEGAL_REQUEST:
                        raise

            self._patiently(synchronise)

    @contextmanager
    def allow_writes(self) -> Iterator[None]:
        """Writing is possible inside this block only: opened once the stored copies are verified."""
        self._writers += 1
        try:
            yield
        finally:
            self._writers -= 1

    def close(self) -> None:
        """Release the interface and the handle; re-attaches no driver, never raises."""
        with self._lock:
            if not self._closed:
                self._closed = True
                usbio.release(self._device)

    def _in_chunks(self, lba: int, length: int, act: Callable[[int, int, int], None]) -> None:
        """Call `act(first block, blocks, byte offset)` over the range, in requests the device can take."""
        total, rest = divmod(length, self.block_size)
        if rest:
            raise ValueError("length is not a whole number of blocks")
        with self._lock:
            self._check_open()
            self._check_range(lba, total)
            done = 0
            while done < total:
                count = min(total - done, self._max_blocks)
                try:
                    act(lba + done, count, done * self.block_size)
                except usbio.UsbMemoryError:
                    if self._max_blocks * self.block_size <= MIN_TRANSFER_BYTES:
                        raise
                    self._max_blocks //= 2
                    log.warning("usb_memory_short", request_bytes=self._max_blocks * self.block_size)
                else:
                    done += count

    def _check_open(self) -> None:
        if self._closed:
            raise DeviceError("the card was closed")

    def _check_range(self, lba: int, count: int) -> None:
        if lba < 0 or lba + count > self.block_count:
            raise DeviceError(f"blocks {lba} to {lba + count} of a card of {self.block_count}")

    def _patiently(self, act: Callable[[], _T], lba: int = 0, count: int = 0) -> _T:
        """Result of `act`, tried again up to three times for what may pass; then the error it stands for."""
        for attempt in range(RETRIES + 1):
            try:
                return act()
            except _CheckConditionError as error:
                sense = error.sense
                if self._opened and sense.medium_changed:
                    raise DeviceGoneError(f"the card was taken out or changed: {sense}") from error
                if attempt == RETRIES or not sense.worth_retrying:
                    raise self._final(sense, lba, count) from error
                log.warning("scsi_retry", lba=lba, blocks=count, sense=str(sense), attempt=attempt + 1)
                if sense.becoming_ready:
                    time.sleep(self._pause_s)
        raise AssertionError("unreachable")

    @staticmethod
    def _final(sense: Sense, lba: int, count: int) -> DeviceError:
        """The public error for a command that keeps failing with `sense`."""
        if sense.medium:
            named = sense.information
            bad = named if named is not None and lba <= named < lba + count else lba
            return BadBlockError(f"block {bad}: {sense}", lba=bad, count=count)
        if sense.key == scsi.DATA_PROTECT:
            return _write_protected(f"write refused by the device: {sense}")
        return DeviceError(f"command refused: {sense}")

    # Bulk-Only Transport

    def _command(self, cdb: bytes, wanted: int = 0, out: bytes = b"", exact: bool = False) -> memoryview:
        """Data answered to a command, valid until the next one; a phase error is tried again once.

        `exact`: anything but `wanted` bytes is an error. Raises _CheckConditionError with the sense data.
        """
        try:
            answer = self._transact(cdb, wanted, out, exact)
        except _PhaseError:
            log.warning("bulk_only_phase_error", opcode=cdb[0])
            answer = self._transact(cdb, wanted, out, exact)
        if answer.passed:
            return answer.data
        sense = self._sense()
        if sense.key == scsi.RECOVERED and answer.complete:
            log.warning("scsi_recovered_error", opcode=cdb[0], sense=str(sense))
            return answer.data
        raise _CheckConditionError(sense)

    def _sense(self) -> Sense:
        """REQUEST SENSE after a failed command; an answer that makes no sense is one no rule retries."""
        answer = self._transact(scsi.request_sense(), scsi.SENSE_BYTES, b"", False)
        return scsi.decode_sense(bytes(answer.data)) if answer.passed else Sense(0, 0, 0)

    def _transact(self, cdb: bytes, wanted: int, out: bytes, exact: bool) -> _Answer:
        """One command, data and status (BOT 5.3); any breach resets the device before it is raised."""
        self._tag = self._tag % 0xFFFFFFFF + 1
        length = wanted or len(out)
        direction = 0x80 if wanted else 0x00
        try:
            self._send(_CBW.pack(b"USBC", self._tag, length, direction, self._lun, len(cdb), cdb), "command")
            moved, data = self._receive(wanted) if wanted else (self._deliver(out), memoryview(b""))
            status, residue = self._status(length)
            complete = moved == length and residue == 0
            if status == 0 and (exact or out) and not complete:
                raise ProtocolError(f"{moved} bytes moved, residue {residue}, {length} asked")
        except DeviceGoneError:
            raise
        except DeviceError as error:
            self._recover(error)
            if isinstance(error, ProtocolError | usbio.UsbMemoryError):
                raise
            raise ProtocolError(f"transport failed: {error}") from error
        return _Answer(status == 0, complete, data[: length - residue])

    def _send(self, data: bytes, what: str) -> None:
        with usbio.usb_errors(f"sending {what}"):
            sent = self._device.write(self._bulk.endpoint_out, array.array("B", data), self._timeout_ms)
        if sent != len(data):
            raise ProtocolError(f"{what}: {sent} of {len(data)} bytes taken")

    def _deliver(self, out: bytes) -> int:
        """Data-out phase; bytes the device took (0 when it stalled: the status tells why)."""
        if out:
            try:
                self._send(out, "data")
            except usbio.StallError:
                self._clear(self._bulk.endpoint_out)
                return 0
        return len(out)

    def _receive(self, wanted: int) -> tuple[int, memoryview]:
        """Data-in phase; bytes received, none when the device stalled (the status tells why)."""
        if len(self._buffer) != wanted:
            self._buffer = array.array("B", bytes(wanted))
        try:
            with usbio.usb_errors("receiving data"):
                got = self._device.read(self._bulk.endpoint_in, self._buffer, self._timeout_ms)
        except usbio.StallError:
            self._clear(self._bulk.endpoint_in)
            got = 0
        return got, memoryview(self._buffer)[:got]

    def _status(self, length: int) -> tuple[int, int]:
        """Status (0 passed, 1 failed) and residue of the CSW; a stall is cleared, once (BOT 6.7.2)."""
        raw = b""
        for attempt in (1, 2):
            try:
                with usbio.usb_errors("receiving the status"):
                    raw = bytes(self._device.read(self._bulk.endpoint_in, _CSW.size, self._timeout_ms))
            except usbio.StallError:
                if attempt == 2:
                    raise
                self._clear(self._bulk.endpoint_in)
            if raw:
                break
        if len(raw) != _CSW.size:
            raise ProtocolError(f"status of {len(raw)} bytes")
        signature, tag, residue, status = _CSW.unpack(raw)
        if signature != b"USBS" or tag != self._tag or status > 2:
            raise ProtocolError(f"not the status of this command: {raw.hex()}")
        if status == 2:
            raise _PhaseError("phase error")
        if residue > length:
            raise ProtocolError(f"residue {residue} of {length} bytes")
        return status, residue

    def _clear(self, endpoint: int) -> None:
        with usbio.usb_errors("clearing a halt"):
            self._device.clear_halt(endpoint)

    def _recover(self, cause: DeviceError) -> None:
        """Bulk-Only reset, then both halts cleared (BOT 5.3.4); raises ProtocolError if even that fails."""
        try:
            with usbio.usb_errors("resetting the device"):
                self._device.ctrl_transfer(*_RESET_REQUEST, 0, self._bulk.interface, None, self._timeout_ms)
            self._clear(self._bulk.endpoint_in)
            self._clear(self._bulk.endpoint_out)
        except DeviceGoneError:
            raise
        except DeviceError as error:
            raise ProtocolError(f"reset after '{cause}' failed: {error}") from error


def _write_protected(message: str) -> DeviceError:
    return DeviceError(
        message,
        code="write_protected",
        person="La carte de la caméra refuse l'écriture. Rien n'y est effacé ; les copies sont conservées.",
    )
