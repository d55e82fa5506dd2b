"""Containers read by somebody who has docs/custody-format.md §1 to §4 only: nothing here comes from bwc's reader."""

from __future__ import annotations

import hashlib
import hmac
import io
import random
import struct
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bwc.db.models import RecordingKey
from bwc.installation import Installation
from bwc.vault.store import Vault
from factories import recording, take

PAGE, SEGMENT, STRIPE = 4096, 65_536, 16_777_216
KEY = bytes(range(32))
SIZES = [0, 1, 4096, SEGMENT, SEGMENT + 1, STRIPE - 1, STRIPE, STRIPE + 1, STRIPE + 3 * SEGMENT + 5]


def hkdf(key: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869 with SHA-256."""
    pseudo_random = hmac.digest(salt or bytes(32), key, "sha256")
    done, block = b"", b""
    while len(done) < length:
        block = hmac.digest(pseudo_random, block + info + bytes([len(done) // 32 + 1]), "sha256")
        done += block
    return done[:length]


def up(count: int) -> int:
    return -(-count // PAGE) * PAGE


def read_container(data: bytes, key: bytes, context: str) -> bytes:
    """The plaintext, by §2 alone, every byte of the file accounted for."""
    header, trailer = data[:PAGE], data[-PAGE:]
    name = context.encode()
    assert header[:20] == b"bwcvault" + struct.pack(">HHII", 1, 1, SEGMENT, 256)
    salt, commitment = header[20:52], header[52:84]
    assert header[84:] == (struct.pack(">H", len(name)) + name).ljust(PAGE - 84, b"\0")
    material = hkdf(key, salt, b"bwc/vault/1|" + name, 64)
    assert material[32:] == commitment
    cipher, bound = AESGCM(material[:32]), hashlib.sha256(header).digest()

    length, count = struct.unpack(">QQ", trailer[8:24])
    assert trailer == (b"bwcv-end" + struct.pack(">QQ", length, count)).ljust(PAGE, b"\0")
    assert count == max(1, -(-length // SEGMENT))
    plain, accounted = b"", PAGE
    for stripe in range(-(-count // 256)):
        inside = min(STRIPE, length - stripe * STRIPE)
        tag_page = PAGE + stripe * 16_781_312 + up(inside)
        tags = data[tag_page : tag_page + PAGE]
        segments = range(stripe * 256, min(count, stripe * 256 + 256))
        for segment in segments:
            start = PAGE + SEGMENT * segment + PAGE * (segment // 256)
            size = min(SEGMENT, length - segment * SEGMENT)
            tag = tags[16 * (segment % 256) : 16 * (segment % 256) + 16]
            last = b"\1" if segment == count - 1 else b"\0"
            nonce = bytes(3) + segment.to_bytes(8, "big") + last
            plain += cipher.decrypt(nonce, data[start : start + size] + tag, bound)
            accounted = start + size
        assert not any(data[accounted:tag_page])
        assert not any(tags[16 * len(segments) :])
        accounted = tag_page + PAGE
    assert accounted + PAGE == len(data)
    return plain


@pytest.mark.parametrize("size", SIZES)
def test_the_specification_alone_reads_what_the_vault_wrote(tmp_path: Path, size: int) -> None:
    content = random.Random(size).randbytes(size)
    vault = Vault(tmp_path / "vault", reserve_bytes=0)
    stored = vault.take(io.BytesIO(content), KEY, "a context — é")
    path = tmp_path / "vault" / stored.name[:2] / f"{stored.name}.bwc"
    assert read_container(path.read_bytes(), KEY, "a context — é") == content
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_empty_container_is_three_pages(tmp_path: Path) -> None:
    vault = Vault(tmp_path / "vault", reserve_bytes=0)
    stored = vault.take(io.BytesIO(b""), KEY, "x")
    assert (tmp_path / "vault" / stored.name[:2] / f"{stored.name}.bwc").stat().st_size == 12_288


def unwrap(wrapped: bytes, under: bytes, purpose: str) -> bytes:
    assert len(wrapped) == 60
    return AESGCM(under).decrypt(wrapped[:12], wrapped[12:], purpose.encode())


def test_the_hierarchy_of_keys_opens_a_recording_from_the_root_key_down(house: Installation) -> None:
    content = b"what the camera recorded"
    row = recording(house, take(house, content).recording_id)
    with house.database.read() as session:
        held = session.get_one(RecordingKey, row.id)
    root = bytes.fromhex(house.settings.root_key_file.read_text())
    file = house.settings.data / "keys" / f"day-{held.day_key_id}.key"
    day_key = unwrap(file.read_bytes(), root, f"bwc/day/{held.day_key_id}")
    key = unwrap(held.wrapped, day_key, f"bwc/recording/{row.id}")
    container = house.settings.data / "vault" / row.vault_name[:2] / f"{row.vault_name}.bwc"
    assert read_container(container.read_bytes(), key, row.id) == content
    assert held.day_key_id.startswith(f"{row.due_on.isoformat()}-")
    assert file.stat().st_mode & 0o777 == 0o600
