"""The limit of an intake: what its parts cost alone, one after the other, on buffers that stay in the cache.

`python -m benchmarks.parts SOURCE FOLDER`: read the source, hash it twice, encrypt and decrypt it, write and read it
past the cache. Nothing is kept in step, checked or committed, so that no arrangement of the same parts can take less.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from benchmarks.telling import told
from bwc.vault.container import SEGMENT, TAG, nonce
from bwc.vault.diskfile import DirectFile, aligned_buffer
from bwc.vault.writer import BLOCK, ROOM


def parts(source: str, folder: str) -> None:
    """Every byte once through each part."""
    size = Path(source).stat().st_size
    cipher, sha = AESGCM(bytes(32)), hashlib.sha256()
    block = aligned_buffer(BLOCK)
    plain, room = memoryview(bytearray(SEGMENT)), memoryview(bytearray(SEGMENT + TAG))
    with told():
        with Path(source).open("rb", buffering=0) as file:
            while file.readinto(block[:ROOM]):
                pass
        for number in range(size // SEGMENT):
            sha.update(plain)
            cipher.encrypt_into(nonce(number, False), plain, b"", room)
            sha.update(plain)
            cipher.decrypt_into(nonce(number, False), room, b"", plain)
        out = DirectFile(Path(folder) / "parts.bin", write=True)
        for at in range(0, size, BLOCK):
            out.write_at(block, at)
        out.sync()
        for at in range(0, size, BLOCK):
            out.read_at(block, at)
        out.close()


if __name__ == "__main__":
    parts(*sys.argv[1:])
