"""Writing a container: one pass of SHA-256, encryption and direct writes, on a few buffers.

The caller fills plaintext buffers; each segment is hashed and encrypted in one go, while it is in the processor's
cache; a thread writes blocks of ciphertext. Memory is these buffers', whatever the size.
A container is written once, in order, under a key of its own: no segment is ever written twice under one nonce.
"""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path
from typing import Final

from bwc.vault.container import (
    PAGE,
    SEGMENT,
    STRIPE_SEGMENTS,
    TAG,
    make_header,
    make_trailer,
    nonce,
    open_header,
    padded,
    segment_offset,
)
from bwc.vault.diskfile import Aside, DirectFile, aligned_buffer

ROOM: Final = 1 << 20  # one plaintext buffer: the largest USB transfer a camera is asked for
BLOCK_SEGMENTS: Final = 32  # a divisor of STRIPE_SEGMENTS
BLOCK: Final = BLOCK_SEGMENTS * SEGMENT  # one write to the disk, 2 MiB (docs/performance.md)
RING: Final = 3


class Block:
    """A buffer for BLOCK bytes of ciphertext and a tag page; `rooms` are its segments, each with 16 bytes more."""

    def __init__(self) -> None:
        self.cipher = aligned_buffer(BLOCK + PAGE)
        self.rooms = [self.cipher[at : at + SEGMENT + TAG] for at in range(0, BLOCK, SEGMENT)]


class _Plain:
    """A buffer of plaintext, and its whole segments."""

    def __init__(self, view: memoryview) -> None:
        self.view = view
        self.pieces = [self.view[at : at + SEGMENT] for at in range(0, ROOM, SEGMENT)]
        self.filled = 0


class SealedWriter:
    """A container being written to `path`, created here. Not thread-safe.

    Fill `space()` and call `advance(n)`, or `write(data)`; then `finish()`, or `abandon()`.
    """

    def __init__(self, path: Path, key: bytes, context: str) -> None:
        """Create the file and write its header. Raises StorageError."""
        header = make_header(key, context, secrets.token_bytes(32))
        self._opened = open_header(header, key, context)
        self._file = DirectFile(path, write=True)
        self._sha = hashlib.sha256()
        self._disk: Aside[Block] = Aside("vault-write", self._file.write_at)
        both = aligned_buffer(2 * ROOM)  # one huge page
        self._current = _Plain(both[:ROOM])
        self._other = _Plain(both[ROOM:])  # empty, or full and not known to be the last
        self._block: Block | None = None
        self._blocks = 0  # made so far
        self._inside = 0  # segments in the block
        self._segment = 0
        self._tags = bytearray()
        self._end = PAGE
        self.length = 0
        head = aligned_buffer(PAGE)
        head[:] = header
        self._disk.put(None, head, 0)

    def space(self) -> memoryview:
        """Room for the next plaintext bytes, 1 byte to 1 MiB."""
        if self._current.filled == ROOM:
            self._turn()
        return self._current.view[self._current.filled :]

    def advance(self, count: int) -> None:
        """Say that `count` bytes of `space()` were filled."""
        self._current.filled += count
        self.length += count

    def write(self, data: bytes | memoryview) -> None:
        """Append `data`."""
        view = memoryview(data).cast("B")
        while view.nbytes:
            room = self.space()
            count = min(room.nbytes, view.nbytes)
            room[:count] = view[:count]
            self.advance(count)
            view = view[count:]

    def finish(self) -> str:
        """Write what remains, make the file durable, close it; returns the plaintext's SHA-256 in hex.

        Raises StorageError; the file is then to be discarded.
        """
        if self._other.filled:
            self._encrypt(self._other, last=not self._current.filled)
        if self._current.filled or not self.length:
            self._encrypt(self._current, last=True)
        trailer = aligned_buffer(PAGE)
        trailer[:] = make_trailer(self.length)
        self._disk.put(None, trailer, self._end)
        self._stop()
        try:
            self._file.sync()
        finally:
            self._file.close()
        return self._sha.hexdigest()

    def abandon(self) -> None:
        """Stop and close, leaving what was written: its whole stripes may be read again. Never raises."""
        if self._current.filled and self._disk.error is None:
            self._encrypt(self._other, last=False)
        self._disk.finish()
        self._file.close()

    def _stop(self) -> None:
        self._disk.finish()
        if self._disk.error is not None:
            self._file.close()
            raise self._disk.error

    def _turn(self) -> None:
        """More is to come after a full buffer: what was full before it is not the last."""
        self._encrypt(self._other, last=False)
        self._current, self._other = self._other, self._current
        if self._disk.error is not None:
            raise self._disk.error

    def _encrypt(self, plain: _Plain, *, last: bool) -> None:
        """Seal a buffer's segments and empty it; only the last buffer's last segment may be short (or empty)."""
        whole, rest = divmod(plain.filled, SEGMENT)
        for number in range(whole):
            self._seal(plain.pieces[number], last=last and not rest and number == whole - 1)
        if rest or not self.length:
            self._seal(plain.view[whole * SEGMENT : plain.filled], last=True)
        plain.filled = 0

    def _seal(self, piece: memoryview, *, last: bool) -> None:
        """Hash and encrypt one segment. Its tag lands where the next segment will be; it is kept for the tag page."""
        block = self._block or self._fresh_block()
        room, size = block.rooms[self._inside], piece.nbytes
        if size < SEGMENT:
            room = room[: size + TAG]
        self._sha.update(piece)
        self._opened.cipher.encrypt_into(nonce(self._segment, last), piece, self._opened.aad, room)
        self._tags += room[size:]
        self._segment += 1
        self._inside += 1
        if last or self._inside == BLOCK_SEGMENTS:
            self._flush(block, (self._inside - 1) * SEGMENT + size, last=last)

    def _fresh_block(self) -> Block:
        if self._blocks < RING:
            self._blocks += 1
            self._block = Block()
        else:
            self._block = self._disk.done.get()
        return self._block

    def _flush(self, block: Block, filled: int, *, last: bool) -> None:
        """Queue a block to the disk, followed by the tag page when it ends a stripe."""
        start, size = segment_offset(self._segment - self._inside), padded(filled)
        block.cipher[filled:size] = bytes(size - filled)
        if last or self._segment % STRIPE_SEGMENTS == 0:
            block.cipher[size : size + PAGE] = self._tags.ljust(PAGE, b"\0")
            self._tags.clear()
            size += PAGE
        self._disk.put(block, block.cipher[:size], start)
        self._end = start + size
        self._block, self._inside = None, 0
