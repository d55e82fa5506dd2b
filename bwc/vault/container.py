"""The container: layout, key derivation, nonces. Pure functions, no disk. Specification: docs/custody-format.md §2.

    header 4096 | stripe 0 | stripe 1 | … | trailer 4096
    stripe = up to 256 segments of 65 536 ciphertext bytes, the last padded with zeros to 4096, | tag page 4096

Every part starts on a 4096-byte boundary, so that the file is written and read past the page cache, and any byte
of the recording is found by arithmetic.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from bwc.core.digests import sha256
from bwc.core.errors import EvidenceError

PAGE: Final = 4096
SEGMENT: Final = 65_536
STRIPE_SEGMENTS: Final = 256
STRIPE: Final = SEGMENT * STRIPE_SEGMENTS  # plaintext bytes of a whole stripe, 16 MiB
STRIPE_ON_DISK: Final = STRIPE + PAGE
TAG: Final = 16
KEY: Final = 32

_MAGIC: Final = b"bwcvault"
_END: Final = b"bwcv-end"
_VERSION: Final = 1
_SUITE: Final = 1  # AES-256-GCM, HKDF-SHA-256
_HEADER = struct.Struct(">8sHHII32s32sH")
_TRAILER = struct.Struct(">8sQQ")
_NONCE = struct.Struct(">3xQ?")


@dataclass(frozen=True)
class Opened:
    """What encrypting and decrypting segments needs: the cipher and the data every segment is bound to."""

    cipher: AESGCM
    aad: bytes


def make_header(key: bytes, context: str, salt: bytes) -> bytes:
    """The 4096 header bytes of a new container for `context` (the id of what it holds, at most 200 bytes)."""
    return _header(context, salt, _derive(key, context, salt)[1])


def open_header(header: bytes, key: bytes, context: str) -> Opened:
    """Check a header against the key and the context; raises EvidenceError unless every byte is as made."""
    if len(header) != PAGE:
        raise EvidenceError("container header is short", code="container_header")
    magic, version, suite, segment, stripe, salt, commitment, length = _HEADER.unpack_from(header)
    if (magic, version, suite, segment, stripe) != (_MAGIC, _VERSION, _SUITE, SEGMENT, STRIPE_SEGMENTS):
        raise EvidenceError("not a container of this version", code="container_header")
    segment_key, expected = _derive(key, context, salt)
    if commitment != expected or length > 200 or header != _header(context, salt, commitment):
        raise EvidenceError("container header does not match its key and id", code="container_header")
    return Opened(AESGCM(segment_key), sha256(header))


def _header(context: str, salt: bytes, commitment: bytes) -> bytes:
    name = context.encode()
    if not 1 <= len(name) <= 200:
        raise ValueError("a container's context is 1 to 200 bytes")
    fixed = _HEADER.pack(_MAGIC, _VERSION, _SUITE, SEGMENT, STRIPE_SEGMENTS, salt, commitment, len(name))
    return (fixed + name).ljust(PAGE, b"\0")


def _derive(key: bytes, context: str, salt: bytes) -> tuple[bytes, bytes]:
    """Segment key and key commitment, 32 bytes each (HKDF-SHA-256, RFC 5869)."""
    if len(key) != KEY:
        raise ValueError("a container key is 32 bytes")
    material = HKDF(SHA256(), 64, salt, b"bwc/vault/1|" + context.encode()).derive(key)
    return material[:32], material[32:]


def nonce(segment: int, last: bool) -> bytes:
    """Nonce of a segment: 3 zero bytes, its number on 8 bytes, 1 for the last segment else 0."""
    return _NONCE.pack(segment, last)


def make_trailer(length: int) -> bytes:
    """The 4096 trailer bytes: plaintext length and number of segments, for a reader that has only the file."""
    return _TRAILER.pack(_END, length, segments(length)).ljust(PAGE, b"\0")


def trailer_length(trailer: bytes) -> int:
    """Plaintext length a trailer states; raises EvidenceError when the trailer is not whole."""
    if len(trailer) != PAGE or trailer[:8] != _END:
        raise EvidenceError("container has no trailer", code="container_trailer")
    length = int(_TRAILER.unpack_from(trailer)[1])
    if trailer != make_trailer(length):
        raise EvidenceError("container trailer was altered", code="container_trailer")
    return length


def segments(length: int) -> int:
    """Number of segments of `length` plaintext bytes; an empty file has one, so that it is authenticated too."""
    return max(1, -(-length // SEGMENT))


def padded(count: int) -> int:
    """`count` rounded up to the page."""
    return -(-count // PAGE) * PAGE


def segment_offset(segment: int) -> int:
    """Where in the file the ciphertext of a segment begins."""
    return PAGE + segment * SEGMENT + (segment // STRIPE_SEGMENTS) * PAGE


def tag_page_offset(stripe: int, length: int) -> int:
    """Where in the file the tag page of a stripe begins, in a container of `length` plaintext bytes."""
    inside = min(STRIPE, length - stripe * STRIPE)
    return PAGE + stripe * STRIPE_ON_DISK + padded(inside)


def stripes(length: int) -> int:
    """Number of stripes of `length` plaintext bytes, at least one."""
    return -(-segments(length) // STRIPE_SEGMENTS)


def file_size(length: int) -> int:
    """Size in bytes of a whole container of `length` plaintext bytes."""
    return tag_page_offset(stripes(length) - 1, length) + 2 * PAGE
