"""One file written or read past the page cache where the file system allows it, with errors told apart."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, Generic, TypeVar

from bwc.core.errors import StorageError

HUGE_PAGE: Final = 1 << 21
Buffer = TypeVar("Buffer")


def storage_error(error: OSError, path: Path) -> StorageError:
    """An OS error as what it means to a person: disk full, or a disk that fails."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return StorageError(
            f"no space left writing {path.name}: {error}",
            code="disk_full",
            person="Le disque est plein : la copie s'arrête, les enregistrements restent sur la caméra.",
        )
    return StorageError(
        f"disk error on {path.name}: {error}",
        code="disk_error",
        person="Le disque signale une erreur : la copie s'arrête, les enregistrements restent sur la caméra.",
    )


def aligned_buffer(size: int) -> memoryview:
    """A zeroed, page-aligned buffer of `size` bytes, fit for direct I/O; freed with its last view.

    Whole huge pages at its beginning are asked for: the disk then gets few long runs of memory instead of many pages
    (three times the speed, a third of the processor; docs/performance.md). A forked child does not have the buffer:
    copy-on-write under a read in flight would lose what is read.
    """
    whole = -(-size // HUGE_PAGE) * HUGE_PAGE if size >= HUGE_PAGE else size  # the kernel aligns whole numbers only
    memory = mmap.mmap(-1, whole, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_DONTFORK)
    if size >= HUGE_PAGE:
        with contextlib.suppress(OSError):  # a kernel built without them
            memory.madvise(mmap.MADV_HUGEPAGE, 0, size - size % HUGE_PAGE)
    return memoryview(memory)[:size]


class Aside(threading.Thread, Generic[Buffer]):
    """A thread that does disk work in the order it is put. After a first error, kept in `error`, it does nothing more.

    Buffers come back through `done` in the order they were put, worked on or not.
    """

    def __init__(self, name: str, act: Callable[..., None]) -> None:
        super().__init__(name=name, daemon=True)
        self._act = act
        self._asked: queue.SimpleQueue[tuple[Buffer | None, tuple[object, ...]] | None] = queue.SimpleQueue()
        self.done: queue.SimpleQueue[Buffer] = queue.SimpleQueue()
        self.error: BaseException | None = None
        self.start()

    def put(self, buffer: Buffer | None, *arguments: object) -> None:
        """Queue one act; `buffer`, if any, is handed back once the act is done or skipped."""
        self._asked.put((buffer, arguments))

    def run(self) -> None:
        """Thread body."""
        while (item := self._asked.get()) is not None:
            buffer, arguments = item
            try:
                if self.error is None:
                    self._act(*arguments)
            except BaseException as error:
                self.error = error
            finally:
                if buffer is not None:
                    self.done.put(buffer)

    def finish(self) -> None:
        """Wait for what is queued and stop."""
        self._asked.put(None)
        self.join()


class DirectFile:
    """A descriptor with O_DIRECT where possible. Offsets, sizes and buffers must be multiples of 4096."""

    def __init__(self, path: Path, *, write: bool) -> None:
        """Open for reading, or create exclusively for writing (mode 0600). Raises StorageError."""
        self.path = path
        self.direct = True
        flags = (os.O_RDWR | os.O_CREAT | os.O_EXCL) if write else os.O_RDONLY
        try:
            try:
                self.fd = os.open(path, flags | os.O_DIRECT | os.O_CLOEXEC, 0o600)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                self.direct = False
                if write:
                    path.unlink(missing_ok=True)
                self.fd = os.open(path, flags | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise storage_error(error, path) from error
        if not self.direct and not write:
            os.posix_fadvise(self.fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def size(self) -> int:
        """Size in bytes."""
        return os.fstat(self.fd).st_size

    def write_at(self, data: memoryview, offset: int) -> None:
        """Write the whole buffer at `offset`; raises StorageError, also when the disk takes less."""
        try:
            while data.nbytes:
                done = self._write_some(data, offset)
                if done % 4096 and done < data.nbytes:
                    self._leave_direct_mode()
                data, offset = data[done:], offset + done
        except OSError as error:
            raise storage_error(error, self.path) from error

    def read_at(self, view: memoryview, offset: int) -> int:
        """Fill the buffer from `offset`; returns the bytes read, fewer only at the end. Raises StorageError."""
        done = 0
        try:
            while done < view.nbytes:
                got = os.preadv(self.fd, [view[done:]], offset + done)
                done += got
                if not got or got % 4096:
                    break
        except OSError as error:
            raise storage_error(error, self.path) from error
        return done

    def sync(self) -> None:
        """Make contents and size durable. A failed sync is final: the caller discards the file (fsyncgate)."""
        try:
            os.fsync(self.fd)
        except OSError as error:
            raise storage_error(error, self.path) from error

    def close(self) -> None:
        """Close; never raises."""
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            try:
                os.close(fd)
            except OSError:  # pragma: no cover - close reports nothing we could still act on
                return

    def _write_some(self, data: memoryview, offset: int) -> int:
        try:
            done = os.pwrite(self.fd, data, offset)
        except OSError as error:
            if error.errno != errno.EINVAL or not self.direct:
                raise
            self._leave_direct_mode()  # a file system that takes O_DIRECT at open but not this write
            done = os.pwrite(self.fd, data, offset)
        if done <= 0:
            raise OSError(errno.EIO, "the disk took no byte")
        return done

    def _leave_direct_mode(self) -> None:
        fcntl.fcntl(self.fd, fcntl.F_SETFL, fcntl.fcntl(self.fd, fcntl.F_GETFL) & ~os.O_DIRECT)
        self.direct = False


def sync_folder(folder: Path) -> None:
    """Make a folder's names durable (after a rename or an unlink). Raises StorageError."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as error:
        raise storage_error(error, folder) from error
