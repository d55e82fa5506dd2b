"""The directory of containers: unfinished ones under `parts/`, whole ones under two hex digits of their random name.

Order of a write: part file, fsync, rename, fsync of the folder; then the caller reads back and commits its row.
A file without a row is a copy that was never committed and is swept; a row without a file is an alarm.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bwc.core.errors import StorageError
from bwc.vault.diskfile import storage_error, sync_folder
from bwc.vault.reader import SealedFile, read_back
from bwc.vault.writer import SealedWriter

RESERVE_BYTES = 512 * 1024 * 1024  # kept free so that the catalogue and the ledger can always write


class ByteSource(Protocol):
    """What a copy reads from: anything with `readinto`; 0 means the end."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Fill as much of the buffer as possible; returns the bytes given."""


@dataclass(frozen=True)
class Stored:
    """A whole container: its name in the vault, its plaintext's length in bytes and SHA-256 in hex."""

    name: str
    size: int
    sha256: str


class Vault:
    """The evidence store of one installation, in a local directory."""

    def __init__(self, folder: Path, reserve_bytes: int = RESERVE_BYTES) -> None:
        """Bind to a folder (made when missing, 0700)."""
        self._folder = folder
        self._parts = folder / "parts"
        self._reserve = reserve_bytes
        self._parts.mkdir(parents=True, exist_ok=True, mode=0o700)

    def room_for(self, size: int) -> bool:
        """Whether `size` bytes more leave the reserve untouched."""
        status = os.statvfs(self._folder)
        return status.f_bavail * status.f_frsize >= size + self._reserve

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Held around a write and its commit, by any number of processes; `sweeping` waits for none of them."""
        with self._lock(fcntl.LOCK_SH):
            yield

    @contextmanager
    def sweeping(self) -> Iterator[bool]:
        """Held around a sweep of uncommitted files; gives False when somebody is writing."""
        try:
            with self._lock(fcntl.LOCK_EX | fcntl.LOCK_NB):
                yield True
        except BlockingIOError:
            yield False

    def take(
        self,
        source: ByteSource,
        key: bytes,
        context: str,
        *,
        part: str | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Stored:
        """Copy `source` to its end into a new container and make it durable under its final name.

        `part` names the unfinished file, for a later `open_part`; on any error it is left there when named, removed
        when not. `progress` gets the total of bytes read. Raises StorageError, or whatever the source raises.
        """
        name = part or secrets.token_hex(16)
        writer = self.writer(key, context, name)
        try:
            while count := source.readinto(writer.space()):
                writer.advance(count)
                if progress is not None:
                    progress(writer.length)
            return self.seal(writer, name)
        except BaseException:
            writer.abandon()
            if part is None:
                self.discard_part(name)
            raise

    def writer(self, key: bytes, context: str, part: str) -> SealedWriter:
        """A writer on the unfinished file `part`; finish with `seal`, or `abandon` and `discard_part`."""
        return SealedWriter(self._part_path(part), key, context)

    def seal(self, writer: SealedWriter, part: str) -> Stored:
        """Finish a writer and give its file its final, durable name."""
        digest = writer.finish()
        name = secrets.token_hex(16)
        target = self._path(name)
        try:
            if not target.parent.is_dir():
                target.parent.mkdir(exist_ok=True, mode=0o700)
                sync_folder(self._folder)
            self._part_path(part).rename(target)
        except OSError as error:
            raise storage_error(error, target) from error
        sync_folder(target.parent)
        sync_folder(self._parts)
        return Stored(name, writer.length, digest)

    def read_back(self, name: str, key: bytes, context: str) -> str:
        """SHA-256 of what the disk gives back, decrypted. Raises EvidenceError or StorageError."""
        return read_back(self._existing(name), key, context)

    def open(self, name: str, key: bytes, context: str) -> SealedFile:
        """A container as a seekable file. Raises StorageError when missing, EvidenceError when altered."""
        return SealedFile(self._existing(name), key, context)

    def open_part(self, part: str, key: bytes, context: str) -> SealedFile | None:
        """Whole stripes of an unfinished copy, or None when there is none; reads authenticate as usual."""
        path = self._part_path(part)
        return SealedFile(path, key, context, part=True) if path.exists() else None

    def discard_part(self, part: str) -> None:
        """Remove an unfinished copy. Idempotent."""
        self._part_path(part).unlink(missing_ok=True)

    def destroy(self, name: str) -> None:
        """Remove a container's bytes, durably. Idempotent. Its key must already be gone."""
        path = self._path(name)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(error, path) from error
        if path.parent.is_dir():
            sync_folder(path.parent)

    def exists(self, name: str) -> bool:
        """Whether a container of that name is there."""
        return self._path(name).exists()

    def names(self) -> Iterator[str]:
        """Names of every whole container, in no order."""
        for folder in self._folder.iterdir():
            if len(folder.name) == 2 and folder.is_dir():
                yield from (path.stem for path in folder.glob("*.bwc"))

    def parts(self) -> Iterator[str]:
        """Names of every unfinished copy, in no order."""
        yield from (path.stem for path in self._parts.glob("*.part"))

    def _path(self, name: str) -> Path:
        if len(name) != 32 or not name.isalnum():
            raise StorageError(f"not a container name: {name!r}", code="container_name")
        return self._folder / name[:2] / f"{name}.bwc"

    def _existing(self, name: str) -> Path:
        path = self._path(name)
        if not path.exists():
            raise StorageError(f"container {name} is missing", code="container_missing")
        return path

    def _part_path(self, part: str) -> Path:
        if not part.isalnum():
            raise StorageError(f"not a part name: {part!r}", code="container_name")
        return self._parts / f"{part}.part"

    @contextmanager
    def _lock(self, how: int) -> Iterator[None]:
        fd = os.open(self._folder / ".writing", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, how)
            yield
        finally:
            os.close(fd)
