"""Reading a container: any range as a seekable file, or the whole of it, strictly, past the page cache."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

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
from bwc.vault.diskfile import DirectFile, aligned_buffer, storage_error
from bwc.vault.writer import BLOCK, BLOCK_SEGMENTS, _Block, _Worker

_BATCH = BLOCK_SEGMENTS


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
            size = os.fstat(self._fd).st_size
            if part:
                self.length = max(0, (size - PAGE) // STRIPE_ON_DISK) * STRIPE
            else:
                self.length = trailer_length(os.pread(self._fd, PAGE, max(0, size - PAGE)))
                if size != file_size(self.length):
                    raise EvidenceError(f"container {path.name}: wrong size", code="container_size")
        except BaseException:
            os.close(self._fd)
            raise
        self._position = 0
        self._last = -1 if part else segments(self.length) - 1
        self._tags: tuple[int, bytes] = (-1, b"")
        self._held: tuple[int, bytearray] = (-1, bytearray())

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
            if self._held[0] != segment:
                plain = bytearray(self._size(segment))
                self._decrypt(segment, 1, memoryview(plain))
                self._held = (segment, plain)
            count = min(view.nbytes, len(self._held[1]) - inside)
            view[:count] = memoryview(self._held[1])[inside : inside + count]
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

    def _size(self, segment: int) -> int:
        return min(SEGMENT, self.length - segment * SEGMENT)

    def _decrypt(self, first: int, number: int, plain: memoryview) -> None:
        """Decrypt `number` segments of one stripe into `plain`, which is exactly their length."""
        try:
            stored = bytearray(plain.nbytes + TAG)
            got = os.preadv(self._fd, [memoryview(stored)[: plain.nbytes]], segment_offset(first))
        except OSError as error:
            raise storage_error(error, self._path) from error
        if got != plain.nbytes:
            raise _altered(self._path, first)
        tags = self._tag_page(first // STRIPE_SEGMENTS)
        decrypt(self._opened, self._path, first, number, memoryview(stored), plain, tags, self._last)

    def _tag_page(self, stripe: int) -> bytes:
        if self._tags[0] != stripe:
            self._tags = (stripe, os.pread(self._fd, PAGE, tag_page_offset(stripe, self.length)))
        return self._tags[1]


def decrypt(
    opened: Opened,
    path: Path,
    first: int,
    number: int,
    stored: memoryview,
    plain: memoryview,
    tags: bytes,
    last: int,
    sha: hashlib._Hash | None = None,
) -> None:
    """Decrypt segments `first` … of one stripe from `stored` (ciphertext then 16 spare bytes) into `plain`.

    `last` is the number of the recording's last segment. Each tag is laid behind its ciphertext for the call, over
    bytes of the next segment that are put back; `sha` takes the plaintext while it is in cache. Raises EvidenceError, with nothing of that segment in `plain`.
    """
    position = 0
    for segment in range(first, first + number):
        size = min(SEGMENT, plain.nbytes - position)
        end = position + size
        kept = bytes(stored[end : end + TAG])
        place = (segment % STRIPE_SEGMENTS) * TAG
        stored[end : end + TAG] = tags[place : place + TAG].ljust(TAG, b"\0")
        try:
            opened.cipher.decrypt_into(
                nonce(segment, segment == last), stored[position : end + TAG], opened.aad, plain[position:end]
            )
        except InvalidTag:
            plain[position:end] = bytes(size)
            raise _altered(path, segment) from None
        stored[end : end + TAG] = kept
        if sha is not None:
            sha.update(plain[position:end])
        position = end


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
        self._sha = hashlib.sha256()

    def run(self) -> str:
        ring = [_Block() for _ in range(3)]
        plan = [
            (stripe * STRIPE_SEGMENTS + start // SEGMENT, min(BLOCK, self._inside(stripe) - start))
            for stripe in range(stripes(self._length))
            for start in range(0, max(self._inside(stripe), 1), BLOCK)
        ]
        reader = _Worker("vault-reread", self._fetch)
        try:
            for ahead in range(min(2, len(plan))):
                reader.put(ring[ahead], ring[ahead], *plan[ahead])
            for number, (segment, count) in enumerate(plan):
                if number + 2 < len(plan):
                    following = ring[(number + 2) % 3]
                    reader.put(following, following, *plan[number + 2])
                block = ring[number % 3]
                block.pending.acquire()
                if reader.error is not None:
                    raise reader.error
                self._check(block, segment, count)
        finally:
            reader.finish()
        return self._sha.hexdigest()

    def _inside(self, stripe: int) -> int:
        return min(STRIPE, self._length - stripe * STRIPE)

    def _fetch(self, block: _Block, segment: int, count: int) -> None:
        size = padded(count)
        if self._file.read_at(block.cipher[:size], segment_offset(segment)) != size:
            raise _altered(self._path, segment)

    def _check(self, block: _Block, segment: int, count: int) -> None:
        if segment % STRIPE_SEGMENTS == 0:
            self._tags = self._tag_page(segment // STRIPE_SEGMENTS)
        self._must_be_zero(bytes(block.cipher[count : padded(count)]))
        plain = block.plain[:count]
        number = segments(count)
        decrypt(self._opened, self._path, segment, number, block.cipher, plain, self._tags, self._last, self._sha)

    def _tag_page(self, stripe: int) -> bytes:
        page = aligned_buffer(PAGE)
        self._file.read_at(page, tag_page_offset(stripe, self._length))
        tags = bytes(page)
        self._must_be_zero(tags[segments(self._inside(stripe)) * TAG :])
        return tags

    def _must_be_zero(self, padding: bytes) -> None:
        if padding != bytes(len(padding)):
            raise EvidenceError(f"container {self._path.name}: padding was altered", code="container_padding")
