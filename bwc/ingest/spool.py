"""Temporary storage that is useless to whoever finds it: a seekable file whose every byte on disk is encrypted.

A proxy has to be rewritten in places while it is made (an MP4's index comes last), so it needs a file; the rule is
that no image is ever on a disk in clear. Pages are sealed with AES-256-GCM under a key that exists only in this
object's memory, in a file that has no name. After a crash there is neither a name nor a key.
Not a place for anything to be kept: the vault does that.
"""

from __future__ import annotations

import errno
import io
import os
import secrets
import tempfile
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

PAGE = 64 * 1024
"""Bytes of content in one sealed page."""

_NONCE = 12
_SLOT = _NONCE + PAGE + 16


def open_unlinked(folder: Path) -> int:
    """File descriptor, read and write, of a new file in `folder` that already has no name; the caller closes it."""
    descriptor, name = tempfile.mkstemp(prefix="spool-", dir=folder)
    Path(name).unlink()
    return descriptor


def disk_bytes(content_bytes: int) -> int:
    """Largest file size in bytes a spool of `content_bytes` can need on disk (for RLIMIT_FSIZE)."""
    return (content_bytes // PAGE + 1) * _SLOT


class SealedSpool(io.RawIOBase):
    """Seekable read and write storage over `descriptor`, which it owns and closes.

    `limit` is the largest content in bytes; past it `write` raises OSError(EFBIG). `cache_pages` pages of 64 KiB
    stay in memory and are sealed when they leave it. One thread at a time.
    """

    def __init__(self, descriptor: int, *, limit: int | None = None, cache_pages: int = 16) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._sealer: AESGCM | None = AESGCM(secrets.token_bytes(32))
        self._limit = limit
        self._cache_pages = max(1, cache_pages)
        self._pages: OrderedDict[int, bytearray] = OrderedDict()
        self._dirty: set[int] = set()
        self._on_disk: set[int] = set()
        self._size = 0
        self._position = 0
        self.full = False
        """Whether a write met the limit."""

    @property
    def size(self) -> int:
        """Bytes of content."""
        return self._size

    def readable(self) -> bool:
        """Always true."""
        return True

    def writable(self) -> bool:
        """Always true."""
        return True

    def seekable(self) -> bool:
        """Always true."""
        return True

    def tell(self) -> int:
        """Position in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move as `io.RawIOBase.seek`; past the end is allowed; raises ValueError before the start."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError("seek before the start of the spool")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill `buffer` from the position; fewer bytes only at the end."""
        view = memoryview(buffer).cast("B")
        done = self.read_at(self._position, view)
        self._position += done
        return done

    def write(self, data: ReadableBuffer) -> int:
        """Write all of `data` at the position; raises OSError(EFBIG) past the limit."""
        view = memoryview(data).cast("B")
        done = self.write_at(self._position, view)
        self._position += done
        return done

    def read_at(self, position: int, view: memoryview) -> int:
        """Copy content from `position` into `view`; the count copied, short only at the end. Raises ValueError when
        the spool is closed.
        """
        self._key()
        wanted = max(0, min(len(view), self._size - position))
        done = 0
        while done < wanted:
            index, start = divmod(position + done, PAGE)
            step = min(PAGE - start, wanted - done)
            view[done : done + step] = self._page(index)[start : start + step]
            done += step
        return done

    def write_at(self, position: int, view: memoryview) -> int:
        """Copy `view` to `position`; raises OSError(EFBIG) past the limit."""
        self._key()
        if self._limit is not None and position + len(view) > self._limit:
            self.full = True
            raise OSError(errno.EFBIG, "the spool has reached its limit")
        done = 0
        while done < len(view):
            index, start = divmod(position + done, PAGE)
            step = min(PAGE - start, len(view) - done)
            self._page(index)[start : start + step] = view[done : done + step]
            self._dirty.add(index)
            done += step
        if done:
            self._size = max(self._size, position + done)
        return done

    def truncate(self, size: int | None = None) -> int:
        """Cut the content to `size` bytes (the position by default); growing adds zeros."""
        size = self._position if size is None else size
        if size < self._size:
            self._forget_after(size)
        self._size = size
        return size

    def flush(self) -> None:
        """Seal what is in memory to the file; says nothing of the disk's own caches (nothing here is to be kept)."""
        if not self.closed:
            for index in sorted(self._dirty):
                self._seal(index)

    def view(self) -> SpoolView:
        """Another reader of the same content, with its own position; closing it leaves the spool open."""
        return SpoolView(self)

    def close(self) -> None:
        """Drop the key, the pages and the file; nothing of it can be read again."""
        if not self.closed:
            self._sealer = None
            self._pages.clear()
            self._dirty.clear()
            os.close(self._descriptor)
        super().close()

    def _forget_after(self, size: int) -> None:
        kept, rest = divmod(size, PAGE)
        for index in [page for page in self._on_disk | set(self._pages) if page > kept or (page == kept and not rest)]:
            self._pages.pop(index, None)
            self._dirty.discard(index)
            self._on_disk.discard(index)
        if rest:
            self._page(kept)[rest:] = bytes(PAGE - rest)
            self._dirty.add(kept)

    def _page(self, index: int) -> bytearray:
        page = self._pages.get(index)
        if page is None:
            page = self._unseal(index) if index in self._on_disk else bytearray(PAGE)
            self._pages[index] = page
            while len(self._pages) > self._cache_pages:
                self._evict()
        self._pages.move_to_end(index)
        return page

    def _evict(self) -> None:
        oldest = next(iter(self._pages))
        if oldest in self._dirty:
            self._seal(oldest)
        del self._pages[oldest]

    def _seal(self, index: int) -> None:
        nonce = os.urandom(_NONCE)
        slot = nonce + self._key().encrypt(nonce, bytes(self._pages[index]), index.to_bytes(8, "big"))
        written = 0
        while written < len(slot):
            written += os.pwrite(self._descriptor, slot[written:], index * _SLOT + written)
        self._dirty.discard(index)
        self._on_disk.add(index)

    def _unseal(self, index: int) -> bytearray:
        slot = os.pread(self._descriptor, _SLOT, index * _SLOT)
        return bytearray(self._key().decrypt(slot[:_NONCE], slot[_NONCE:], index.to_bytes(8, "big")))

    def _key(self) -> AESGCM:
        if self._sealer is None:
            raise ValueError("the spool is closed")
        return self._sealer


class SpoolView(io.RawIOBase):
    """Reader of a spool with its own position; sees what is written to the spool meanwhile."""

    def __init__(self, spool: SealedSpool) -> None:
        super().__init__()
        self._spool = spool
        self._position = 0

    def readable(self) -> bool:
        """Always true."""
        return True

    def seekable(self) -> bool:
        """Always true."""
        return True

    def tell(self) -> int:
        """Position in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move as `io.RawIOBase.seek`; raises ValueError before the start."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._spool.size}[whence]
        if base + offset < 0:
            raise ValueError("seek before the start of the spool")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill `buffer` from the position; fewer bytes only at the end."""
        done = self._spool.read_at(self._position, memoryview(buffer).cast("B"))
        self._position += done
        return done
