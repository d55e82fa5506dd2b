"""Reading a container: any range as a seekable file, or the whole of it, strictly, past the page cache."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag

from bwc.core.errors import EvidenceError, StorageError
from bwc.vault.container import (
    PAGE,
    SEGMENT,
    STRIPE,
    STRIPE_ON_DISK,
    STRIPE_SEGMENTS,
    TAG,
    Opened,
    file_size,
    nonce,
    open_header,
    padded,
    segment_offset,
    segments,
    stripes,
    tag_page_offset,
    trailer_length,
)
from bwc.vault.diskfile import Aside, DirectFile, aligned_buffer, storage_error
from bwc.vault.writer import BLOCK, RING, Block

_BATCH: Final = 4  # segments read and decrypted at once: they stay in the processor's cache between the two


def _altered(path: Path, segment: int) -> EvidenceError:
    offset = segment_offset(segment)
    return EvidenceError(
        f"container {path.name}: segment {segment} (file offset {offset}) does not authenticate",
        code="segment_altered",
    )


class SealedFile(io.RawIOBase):
    """A container opened for reading: seekable, decrypting and authenticating segment by segment. Not thread-safe.

    Reads raise EvidenceError on the first byte that does not authenticate, and give no byte of that segment.
    """

    def __init__(self, path: Path, key: bytes, context: str, *, part: bool = False) -> None:
        """Open `path`; with `part`, an unfinished container of which only whole stripes are read.

        Raises StorageError when it cannot be opened, EvidenceError when header, trailer or size is wrong.
        """
        super().__init__()
        self._path = path
        self._part = part
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise StorageError(f"cannot open container {path.name}: {error}", code="container_missing") from error
        try:
            self._opened: Opened = open_header(os.pread(self._fd, PAGE, 0), key, context)
            self.length = self._whole_stripes() if part else self._stated_length()
        except BaseException:
            os.close(self._fd)
            raise
        self._position = 0
        self._last = -1 if part else segments(self.length) - 1
        self._tags: tuple[int, bytes] = (-1, b"")
        self._stored = memoryview(bytearray(_BATCH * SEGMENT + TAG))
        self._held = memoryview(bytearray(SEGMENT))
        self._held_segment = -1

    def _stated_length(self) -> int:
        size = os.fstat(self._fd).st_size
        length = trailer_length(os.pread(self._fd, PAGE, max(0, size - PAGE)))
        if size != file_size(length):
            raise EvidenceError(f"container {self._path.name}: wrong size", code="container_size")
        return length

    def _whole_stripes(self) -> int:
        return max(0, (os.fstat(self._fd).st_size - PAGE) // STRIPE_ON_DISK) * STRIPE

    def readable(self) -> bool:
        """Always true."""
        return True

    def seekable(self) -> bool:
        """Always true."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move; positions beyond the end read as empty."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.length}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        """Position in plaintext bytes."""
        return self._position

    def readinto(self, buffer: memoryview | bytearray) -> int:  # type: ignore[override]
        """Fill the buffer as far as the end of the recording; returns the bytes given."""
        view = memoryview(buffer).cast("B")
        wanted = max(0, min(view.nbytes, self.length - self._position))
        done = 0
        while done < wanted:
            done += self._some(view[done:wanted])
        return done

    def close(self) -> None:
        """Close the file."""
        if not self.closed:
            os.close(self._fd)
        super().close()

    def _some(self, view: memoryview) -> int:
        """Give bytes from the current position up to the end of a batch of segments; at least one byte."""
        segment, inside = divmod(self._position, SEGMENT)
        if inside or view.nbytes < self._size(segment):
            held = self._hold(segment)
            count = min(view.nbytes, held.nbytes - inside)
            view[:count] = held[inside : inside + count]
        else:
            count, number = 0, 0
            while number < _BATCH and segment + number < segments(self.length):
                size = self._size(segment + number)
                if count + size > view.nbytes or (number and (segment + number) % STRIPE_SEGMENTS == 0):
                    break
                count, number = count + size, number + 1
            self._decrypt(segment, number, view[:count])
        self._position += count
        return count

    def _hold(self, segment: int) -> memoryview:
        """A whole segment's plaintext, kept for the readings that follow."""
        plain = self._held[: self._size(segment)]
        if self._held_segment != segment:
            self._held_segment = -1
            self._decrypt(segment, 1, plain)
            self._held_segment = segment
        return plain

    def _size(self, segment: int) -> int:
        return min(SEGMENT, self.length - segment * SEGMENT)

    def _decrypt(self, first: int, number: int, plain: memoryview) -> None:
        """Decrypt `number` segments of one stripe into `plain`, which is exactly their length."""
        stored = self._stored
        try:
            got = os.preadv(self._fd, [stored[: plain.nbytes]], segment_offset(first))
            tags = self._tag_page(first // STRIPE_SEGMENTS)
        except OSError as error:
            raise storage_error(error, self._path) from error
        if got != plain.nbytes:
            raise _altered(self._path, first)
        for segment in range(first, first + number):
            start = (segment - first) * SEGMENT
            end = min(start + SEGMENT, plain.nbytes)
            room, out = stored[start : end + TAG], plain[start:end]
            _open_segment(self._opened, self._path, segment, segment == self._last, room, tags, out)

    def _tag_page(self, stripe: int) -> bytes:
        if self._tags[0] != stripe:
            page = os.pread(self._fd, PAGE, tag_page_offset(stripe, self.length))
            self._tags = (stripe, page.ljust(PAGE, b"\0"))
        return self._tags[1]


def _open_segment(
    opened: Opened, path: Path, segment: int, last: bool, room: memoryview, tags: bytes, plain: memoryview
) -> None:
    """Decrypt one segment from `room` (ciphertext, then 16 bytes) into `plain`.

    Its tag, from its stripe's page, is laid in the 16 bytes for the call; what was there (the next segment's
    beginning) is put back. Raises EvidenceError, with nothing of the segment in `plain`.
    """
    behind = room[plain.nbytes :]
    kept = bytes(behind)
    place = segment % STRIPE_SEGMENTS * TAG
    behind[:] = tags[place : place + TAG]
    try:
        opened.cipher.decrypt_into(nonce(segment, last), room, opened.aad, plain)
    except InvalidTag:
        plain[:] = bytes(plain.nbytes)
        raise _altered(path, segment) from None
    behind[:] = kept


def read_back(path: Path, key: bytes, context: str) -> str:
    """Read a whole container from the disk, past the cache, and return its plaintext's SHA-256 in hex.

    Strict: header, every segment, every tag, every padding byte, trailer and size must be exactly what was
    written. Raises EvidenceError that names the first fault, StorageError when the disk fails.
    """
    file = DirectFile(path, write=False)
    try:
        return _read_back(file, path, key, context)
    finally:
        file.close()


def _read_back(file: DirectFile, path: Path, key: bytes, context: str) -> str:
    page = aligned_buffer(PAGE)
    size = file.size()
    got = file.read_at(page, 0)
    opened = open_header(bytes(page[:got]), key, context)
    if size % PAGE or size < 3 * PAGE:
        raise EvidenceError(f"container {path.name}: wrong size", code="container_size")
    file.read_at(page, size - PAGE)
    length = trailer_length(bytes(page))
    if size != file_size(length):
        raise EvidenceError(f"container {path.name}: wrong size", code="container_size")
    return _ReadBack(file, path, opened, length).run()


class _ReadBack:
    """One strict pass over a container: a thread reads ahead, decryption and hashing follow in its steps."""

    def __init__(self, file: DirectFile, path: Path, opened: Opened, length: int) -> None:
        self._file, self._path, self._opened, self._length = file, path, opened, length
        self._last = segments(length) - 1
        self._plain = memoryview(bytearray(SEGMENT))  # one segment: it never leaves the processor's cache
        self._tags = b""
        self._sha = hashlib.sha256()

    def run(self) -> str:
        """SHA-256 of the plaintext, in hex."""
        reader: Aside[Block] = Aside("vault-reread", self._fetch)
        extents = [
            (stripe * STRIPE_SEGMENTS + start // SEGMENT, min(BLOCK, self._inside(stripe) - start))
            for stripe in range(stripes(self._length))
            for start in range(0, max(self._inside(stripe), 1), BLOCK)
        ]

        def ask(number: int, block: Block) -> None:
            if number < len(extents):
                reader.put(block, block, *extents[number])

        try:
            for number in range(min(RING, len(extents))):
                ask(number, Block())
            for number, (segment, count) in enumerate(extents):
                block = reader.done.get()
                if reader.error is not None:
                    raise reader.error
                self._check(block, segment, count)
                ask(number + RING, block)
        finally:
            reader.finish()
        return self._sha.hexdigest()

    def _inside(self, stripe: int) -> int:
        return min(STRIPE, self._length - stripe * STRIPE)

    def _fetch(self, block: Block, segment: int, count: int) -> None:
        """On the reading thread: the ciphertext and, with a stripe's first block, the stripe's tag page behind it."""
        size = padded(count)
        if self._file.read_at(block.cipher[:size], segment_offset(segment)) != size:
            raise _altered(self._path, segment)
        if segment % STRIPE_SEGMENTS == 0:
            page = tag_page_offset(segment // STRIPE_SEGMENTS, self._length)
            if self._file.read_at(block.cipher[BLOCK:], page) != PAGE:
                raise _altered(self._path, segment)

    def _check(self, block: Block, segment: int, count: int) -> None:
        if segment % STRIPE_SEGMENTS == 0:
            self._tags = bytes(block.cipher[BLOCK:])
            self._must_be_zero(self._tags[segments(self._inside(segment // STRIPE_SEGMENTS)) * TAG :])
        self._must_be_zero(bytes(block.cipher[count : padded(count)]))
        for number in range(segments(count)):
            size = min(SEGMENT, count - number * SEGMENT)
            room, plain = block.rooms[number], self._plain
            if size < SEGMENT:
                room, plain = room[: size + TAG], plain[:size]
            last = segment + number == self._last
            _open_segment(self._opened, self._path, segment + number, last, room, self._tags, plain)
            self._sha.update(plain)

    def _must_be_zero(self, padding: bytes) -> None:
        if padding != bytes(len(padding)):
            raise EvidenceError(f"container {self._path.name}: padding was altered", code="container_padding")
