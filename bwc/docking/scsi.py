"""The words of SCSI a card reader needs: commands built, answers decoded. No input or output.

Sources: SPC-4 (INQUIRY, MODE SENSE, REQUEST SENSE, TEST UNIT READY), SBC-3 (READ, WRITE, READ CAPACITY,
SYNCHRONIZE CACHE). Decoders accept any bytes and never raise: what cannot be understood is neutral.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

INQUIRY_BYTES = 36
SENSE_BYTES = 18
MODE_SENSE_BYTES = 192
BLOCK_SIZES = frozenset({512, 1024, 2048, 4096})
BLOCK_COUNT_LIMIT = 1 << 48

RECOVERED = 0x1
NOT_READY = 0x2
MEDIUM_ERROR = 0x3
HARDWARE_ERROR = 0x4
ILLEGAL_REQUEST = 0x5
UNIT_ATTENTION = 0x6
DATA_PROTECT = 0x7
ABORTED_COMMAND = 0xB

_ASC_NOT_READY = 0x04
_ASC_MEDIUM_CHANGED = 0x28
_ASC_NO_MEDIUM = 0x3A
_BLOCK_DEVICE_TYPES = frozenset({0x00, 0x0E})
_LIMIT_10 = 1 << 32


@dataclass(frozen=True)
class Sense:
    """Why a command failed: sense key, additional code and qualifier, and the block it names if it does.

    0/00/00 also stands for an answer that could not be understood.
    """

    key: int
    asc: int
    ascq: int
    information: int | None = None

    def __str__(self) -> str:
        return f"{self.key:x}/{self.asc:02x}/{self.ascq:02x}"

    @property
    def no_medium(self) -> bool:
        """No card is in the unit."""
        return self.key == NOT_READY and self.asc == _ASC_NO_MEDIUM

    @property
    def becoming_ready(self) -> bool:
        """The unit is starting, or busy with itself."""
        return self.key == NOT_READY and self.asc == _ASC_NOT_READY

    @property
    def unit_attention(self) -> bool:
        """Something happened since the last command (plug, reset, card change)."""
        return self.key == UNIT_ATTENTION

    @property
    def medium_changed(self) -> bool:
        """The card is not, or may not be, the one that was there."""
        return self.no_medium or (self.unit_attention and self.asc == _ASC_MEDIUM_CHANGED)

    @property
    def medium(self) -> bool:
        """The blocks themselves are at fault, or the hardware that reads them."""
        return self.key in (MEDIUM_ERROR, HARDWARE_ERROR, ABORTED_COMMAND)

    @property
    def worth_retrying(self) -> bool:
        """Whether the same command may pass a moment later."""
        return self.medium or self.unit_attention or self.becoming_ready or self.key == RECOVERED


@dataclass(frozen=True)
class Inquiry:
    """What a unit says it is; texts are the device's own, uncleaned."""

    is_disk: bool
    vendor: str
    product: str


def decode_sense(raw: bytes) -> Sense:
    """Sense data in fixed (70h, 71h) or descriptor (72h, 73h) format, SPC-4 4.5; all else is 0/00/00."""
    form = raw[0] & 0x7F if raw else 0
    if form in (0x70, 0x71) and len(raw) >= 14:
        information = int.from_bytes(raw[3:7], "big") if raw[0] & 0x80 else None
        return Sense(raw[2] & 0x0F, raw[12], raw[13], information)
    if form in (0x72, 0x73) and len(raw) >= 8:
        return Sense(raw[1] & 0x0F, raw[2], raw[3], _information(raw[8 : 8 + raw[7]]))
    return Sense(0, 0, 0)


def _information(descriptors: bytes) -> int | None:
    """Value of the information descriptor (type 00h, SPC-4 4.5.2.2), if it is there, whole and valid."""
    while len(descriptors) >= 2:
        size = 2 + descriptors[1]
        if descriptors[0] == 0x00 and size == 12 and len(descriptors) >= 12 and descriptors[2] & 0x80:
            return int.from_bytes(descriptors[4:12], "big")
        descriptors = descriptors[size:]
    return None


def decode_inquiry(raw: bytes) -> Inquiry:
    """Standard INQUIRY data (SPC-4 6.4.2); too short an answer is no disk."""
    if len(raw) < 5:
        return Inquiry(False, "", "")
    return Inquiry(
        is_disk=raw[0] >> 5 == 0 and raw[0] & 0x1F in _BLOCK_DEVICE_TYPES,
        vendor=raw[8:16].decode("latin-1"),
        product=raw[16:32].decode("latin-1"),
    )


def inquiry() -> bytes:
    """INQUIRY of the standard data."""
    return bytes((0x12, 0, 0, 0, INQUIRY_BYTES, 0))


def test_unit_ready() -> bytes:
    """TEST UNIT READY."""
    return bytes(6)


def request_sense() -> bytes:
    """REQUEST SENSE, fixed format asked for."""
    return bytes((0x03, 0, 0, 0, SENSE_BYTES, 0))


def mode_sense_6() -> bytes:
    """MODE SENSE(6) of all pages, for the header's write-protect bit."""
    return bytes((0x1A, 0, 0x3F, 0, MODE_SENSE_BYTES, 0))


def read_capacity_10() -> bytes:
    """READ CAPACITY(10)."""
    return bytes((0x25,)) + bytes(9)


def read_capacity_16() -> bytes:
    """READ CAPACITY(16), 32 bytes."""
    return struct.pack(">BBQIBB", 0x9E, 0x10, 0, 32, 0, 0)


def synchronize_cache() -> bytes:
    """SYNCHRONIZE CACHE(10) of the whole medium."""
    return bytes((0x35,)) + bytes(9)


def read_blocks(lba: int, count: int) -> bytes:
    """READ(10), or READ(16) where the blocks or their number exceed it."""
    return _blocks(0x28, 0x88, lba, count)


def write_blocks(lba: int, count: int) -> bytes:
    """WRITE(10), or WRITE(16) where the blocks or their number exceed it."""
    return _blocks(0x2A, 0x8A, lba, count)


def _blocks(short: int, long: int, lba: int, count: int) -> bytes:
    if lba + count <= _LIMIT_10 and count <= 0xFFFF:
        return struct.pack(">BBIBHB", short, 0, lba, 0, count, 0)
    return struct.pack(">BBQIBB", long, 0, lba, count, 0, 0)
