"""Writing a container: one pass of SHA-256, encryption and direct writes, on a small ring of buffers.

The caller fills buffers, hashes and encrypts each segment while it is in the processor's cache; a thread writes.
Memory is the ring's, whatever the size.
A container is written once, in order, under a key of its own: no segment is ever written twice under one nonce.
"""

from __future__ import annotations

import hashlib
import queue
import secrets
import threading
from collections.abc import Callable
from pathlib import Path

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
from bwc.vault.diskfile import DirectFile, aligned_buffer

BLOCK_SEGMENTS = 16
BLOCK = BLOCK_SEGMENTS * SEGMENT  # 1 MiB
RING = 4


class _Block:
    """One buffer of the ring: plaintext, ciphertext, and whether hasher and writer are done with it."""

    def __init__(self) -> None:
        self.plain = aligned_buffer(BLOCK)
        self.cipher = aligned_buffer(BLOCK + PAGE)
        self.filled = 0
        self.pending = threading.Semaphore(0)


class _Worker(threading.Thread):
    """Applies a function to what is put; keeps the first error, swallows what follows it until stopped."""

    def __init__(self, name: str, act: Callable[..., None]) -> None:
        super().__init__(name=name, daemon=True)
        self._act = act
        self._queue: queue.SimpleQueue[tuple[_Block | None, tuple[object, ...]] | None] = queue.SimpleQueue()
        self.error: BaseException | None = None
        self.start()

    def put(self, block: _Block | None, *arguments: object) -> None:
        """Queue one act; `block` is handed back to the ring afterwards, done or failed."""
        self._queue.put((block, arguments))

    def run(self) -> None:
        """Thread body."""
        while (item := self._queue.get()) is not None:
            block, arguments = item
            try:
                if self.error is None:
                    self._act(*arguments)
            except BaseException as error:  # carried to the caller by `finish`
                self.error = error
            finally:
                if block is not None:
                    block.pending.release()

    def finish(self) -> None:
        """Wait for what is queued and stop."""
        self._queue.put(None)
        self.join()


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
        self._writer = _Worker("vault-write", self._file.write_at)
        self._ring = [_Block() for _ in range(RING)]
        self._turn = 0
        self._current = self._ring[0]
        self._full: _Block | None = None  # whole, but not known to be the last yet
        self._segment = 0
        self._tags = bytearray()
        self.length = 0
        head = aligned_buffer(PAGE)
        head[:] = header
        self._writer.put(None, head, 0)

    def space(self) -> memoryview:
        """Room for the next plaintext bytes, 1 byte to 1 MiB."""
        if self._current.filled == BLOCK:
            self._turn_ring()
        return self._current.plain[self._current.filled :]

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
        if self._full is not None:
            self._submit(self._full, last=not self._current.filled)
        if self._current.filled or not self.length:
            self._submit(self._current, last=True)
        self._full = None
        trailer = aligned_buffer(PAGE)
        trailer[:] = make_trailer(self.length)
        self._writer.put(None, trailer, self._end + PAGE)
        self._stop()
        try:
            self._file.sync()
        finally:
            self._file.close()
        return self._sha.hexdigest()

    def abandon(self) -> None:
        """Stop and close, leaving what was written: its whole stripes may be read again. Never raises."""
        if self._full is not None and self._current.filled and self._writer.error is None:
            self._submit(self._full, last=False)
        self._writer.finish()
        self._file.close()

    def _stop(self) -> None:
        self._writer.finish()
        if self._writer.error is not None:
            self._file.close()
            raise self._writer.error

    def _turn_ring(self) -> None:
        if self._full is not None:
            self._submit(self._full, last=False)
        self._full = self._current
        self._turn = (self._turn + 1) % RING
        block = self._ring[self._turn]
        if block.filled:
            block.pending.acquire()
            block.filled = 0
        self._current = block
        if self._writer.error is not None:
            raise self._writer.error

    def _submit(self, block: _Block, *, last: bool) -> None:
        start = segment_offset(self._segment)
        self._encrypt(block, last)
        size = padded(block.filled)
        block.cipher[block.filled : size] = bytes(size - block.filled)
        self._writer.put(block, block.cipher[:size], start)
        self._end = start + size
        if last or self._segment % STRIPE_SEGMENTS == 0:
            page = aligned_buffer(PAGE)
            page[: len(self._tags)] = self._tags
            self._writer.put(None, page, self._end)
            self._tags.clear()

    def _encrypt(self, block: _Block, last: bool) -> None:
        """A segment's tag lands where the next segment's ciphertext will be; it is moved to the tag page."""
        cipher, aad = self._opened.cipher, self._opened.aad
        position = 0
        while position < block.filled or (last and not self.length):
            end = min(position + SEGMENT, block.filled)
            final = last and end == block.filled
            self._sha.update(block.plain[position:end])
            cipher.encrypt_into(
                nonce(self._segment, final),
                block.plain[position:end],
                aad,
                block.cipher[position : end + TAG],
            )
            self._tags += block.cipher[end : end + TAG]
            self._segment += 1
            position = end
            if final:
                break
