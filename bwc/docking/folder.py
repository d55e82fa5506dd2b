"""Transport over a mounted folder: cameras that appear as a disk, and real files by hand.

The folder is as hostile as a card: symbolic links, devices and pipes are never followed or opened, and every file is
reached from the folder's own descriptor.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from bwc.core.errors import DeviceError, InputError
from bwc.docking.card import MAX_DEPTH, MAX_ENTRIES, display_name
from bwc.docking.errors import ChangedError, DeviceGoneError, MediumError
from bwc.docking.transport import CameraFile, Identity

_SEEN = tuple[tuple[str, ...], tuple[int, ...]]  # names from the root, and what `_state` says of the file


def _state(status: os.stat_result) -> tuple[int, ...]:
    """What changes when a file is replaced, resized or written, even with its date put back."""
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


class _FolderFile(io.RawIOBase):
    """One regular file, read past errors told apart."""

    def __init__(self, fd: int, offset: int) -> None:
        super().__init__()
        self._fd = fd
        self._position = offset

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        view = memoryview(buffer).cast("B")
        done = 0
        while done < view.nbytes:
            try:
                got = os.preadv(self._fd, [view[done:]], self._position)
            except OSError as error:
                raise _device_error(error) from error
            if not got:
                break
            done, self._position = done + got, self._position + got
        return done

    def close(self) -> None:
        if not self.closed:
            os.close(self._fd)
        super().close()


def _device_error(error: OSError) -> DeviceError:
    if error.errno == errno.EIO:
        return MediumError(f"unreadable file: {error}")
    return DeviceGoneError(f"folder went away: {error}")


class FolderTransport:
    """A mounted folder, its files in order of path."""

    kind = "folder"

    def __init__(self, folder: Path, serial: str = "") -> None:
        """Open the folder; `serial` is the camera it belongs to, when the operator says so. Raises InputError."""
        try:
            self._root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise InputError(
                f"cannot open folder {folder}: {error}", person=f"Le dossier {folder} ne s'ouvre pas."
            ) from error
        self._serial = serial
        self._seen: dict[str, _SEEN] = {}
        self._damage: list[str] = []

    def identify(self) -> Identity:
        """The serial given by the operator; a folder has no ids of its own."""
        return Identity(0, 0, self._serial, product="dossier monté")

    def files(self) -> list[CameraFile]:
        """Every regular file below the folder, at most MAX_DEPTH deep and MAX_ENTRIES in all."""
        self._seen, self._damage = {}, []
        found = []
        try:
            for names, status in self._walk(self._root, ()):
                path = "/".join(display_name(name) for name in names)
                if path in self._seen or len(self._seen) >= MAX_ENTRIES:
                    self._damage.append(f"not listed: {path!r}")
                    continue
                self._seen[path] = (names, _state(status))
                modified = datetime.fromtimestamp(status.st_mtime, UTC)
                found.append(CameraFile(path, status.st_size, modified))
        except OSError as error:
            raise _device_error(error) from error
        return sorted(found, key=lambda file: file.path)

    def damage(self) -> list[str]:
        """English log lines for what was left out."""
        return list(self._damage)

    def capacity(self) -> int | None:
        """Unknown: sizes here are the file system's own, not a card's claim."""
        return None

    def open(self, file: CameraFile, offset: int = 0) -> io.RawIOBase:
        """Bytes of a listed file; raises ChangedError when it is no longer the file that was listed."""
        names, state = self._listed(file)
        fd = self._open_at(names, os.O_RDONLY)
        status = os.fstat(fd)
        if _state(status) != state:
            os.close(fd)
            raise ChangedError(f"{file.path!r} changed since it was listed")
        return _FolderFile(fd, offset)

    def delete(self, file: CameraFile) -> None:
        """Remove a listed file, if it is still that file, and make its folder durable."""
        names, state = self._listed(file)
        parent = self._folder_at(names[:-1])
        try:
            status = os.stat(names[-1], dir_fd=parent, follow_symlinks=False)
            if _state(status) != state:
                raise ChangedError(f"{file.path!r} changed since it was listed")
            os.unlink(names[-1], dir_fd=parent)
            os.fsync(parent)
        except OSError as error:
            raise DeviceError(f"cannot delete {file.path!r}: {error}", code="delete_failed") from error
        finally:
            os.close(parent)

    def close(self) -> None:
        """Close the folder."""
        if self._root >= 0:
            os.close(self._root)
            self._root = -1

    def _walk(self, folder: int, names: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], os.stat_result]]:
        with os.scandir(folder) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
        for entry in listed:
            status = entry.stat(follow_symlinks=False)
            path = (*names, entry.name)
            if stat.S_ISREG(status.st_mode):
                yield path, status
            elif stat.S_ISDIR(status.st_mode) and len(path) < MAX_DEPTH:
                child = os.open(entry.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
                try:
                    yield from self._walk(child, path)
                finally:
                    os.close(child)
            else:
                self._damage.append(f"left out, not a regular file: {'/'.join(map(display_name, path))!r}")

    def _listed(self, file: CameraFile) -> _SEEN:
        if file.path not in self._seen:
            raise DeviceError(f"not listed: {file.path!r}", code="not_listed")
        return self._seen[file.path]

    def _folder_at(self, names: tuple[str, ...]) -> int:
        folder = os.dup(self._root)
        for name in names:
            try:
                child = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            except OSError as error:
                raise _device_error(error) from error
            finally:
                os.close(folder)
            folder = child
        return folder

    def _open_at(self, names: tuple[str, ...], flags: int) -> int:
        folder = self._folder_at(names[:-1])
        try:
            return os.open(names[-1], flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        except OSError as error:
            raise _device_error(error) from error
        finally:
            os.close(folder)
