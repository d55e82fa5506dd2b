"""Transport over USB mass storage: the card's own file system read block by block, without the kernel."""

from __future__ import annotations

import io

import usb.core

from bwc.core.errors import DeviceError
from bwc.docking import usbio
from bwc.docking.card import CardEntry, Volume, open_card
from bwc.docking.card_delete import delete_file
from bwc.docking.msc import MassStorage
from bwc.docking.profiles import Profile
from bwc.docking.transport import CameraFile, Identity


class MassStorageTransport:
    """One camera that is a disk. Opened read-only; the card is written only inside `delete`."""

    kind = "usb"

    def __init__(self, device: usb.core.Device, profile: Profile) -> None:
        """Claim the device and open its card. Raises DeviceError and its kinds."""
        self._device = device
        self._disk = MassStorage(device, max_transfer=profile.max_transfer_bytes)
        self._volume: Volume | None = None
        self._entries: dict[str, CardEntry] = {}

    def identify(self) -> Identity:
        """Who the device says it is."""
        return usbio.identify(self._device)

    def files(self) -> list[CameraFile]:
        """Every file on the card, walked anew. Two entries of one path keep the first (`damage` tells)."""
        self._volume = open_card(self._disk)
        self._entries = {}
        for entry in self._volume.files():
            self._entries.setdefault(entry.path, entry)
        return [CameraFile(entry.path, entry.size, entry.modified) for entry in self._entries.values()]

    def damage(self) -> list[str]:
        """English log lines for what could not be walked."""
        return self._volume.damage() if self._volume is not None else []

    def capacity(self) -> int | None:
        """Bytes of the whole disk."""
        return self._disk.block_size * self._disk.block_count

    def open(self, file: CameraFile, offset: int = 0) -> io.RawIOBase:
        """Bytes of a listed file from `offset`."""
        return self._opened().open(self._entry(file), offset)

    def delete(self, file: CameraFile) -> None:
        """Delete a listed file and make the card durable."""
        with self._disk.allow_writes():
            delete_file(self._disk, self._opened(), self._entry(file))

    def close(self) -> None:
        """Release the device."""
        self._disk.close()

    def _opened(self) -> Volume:
        if self._volume is None:
            raise DeviceError("card not listed yet", code="not_listed")
        return self._volume

    def _entry(self, file: CameraFile) -> CardEntry:
        entry = self._entries.get(file.path)
        if entry is None:
            raise DeviceError(f"not listed: {file.path!r}", code="not_listed")
        return entry
