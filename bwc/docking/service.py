"""The docking service: watches the bus, gives each camera on each bay its own offload, and mends what a crash left."""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import structlog
import usb.core
from sqlalchemy import func, select

from bwc.core.errors import BwcError, ConfigError, DeviceError
from bwc.db.models import Bay, OffloadSession, Part, Recording
from bwc.docking import usbio
from bwc.docking.mass_storage import MassStorageTransport
from bwc.docking.monitor import Arrived, Event, HotplugMonitor, NetlinkWake, Removed
from bwc.docking.offload import Announce, Offload
from bwc.docking.profiles import Profile, ProfileBook, load_profiles
from bwc.docking.transport import Transport
from bwc.installation import Installation

log = structlog.get_logger()

STAYING = ("done", "refused", "failed")  # states of a session over while its camera may still sit on the bay


@contextmanager
def alone_on_the_dock(house: Installation) -> Iterator[bool]:
    """Held by a docking service for its whole life; gives False when another process holds it."""
    with (house.settings.data / ".dock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def recover(house: Installation) -> None:
    """After a stop of any kind: close sessions left open, drop copies that no row can go on from or was committed.

    Does nothing while another process of this installation is writing to the vault.
    """
    with house.vault.sweeping() as alone:
        if not alone:
            log.info("recovery.skipped", reason="another process is writing")
            return
        now = house.clock.now()
        with house.database.write() as session:
            for row in session.scalars(select(OffloadSession).where(OffloadSession.closed_at.is_(None))):
                row.state, row.closed_at, row.error_code = "gone", now, "interrupted"
                row.message = "Copie interrompue : elle reprendra quand la caméra sera sur une baie."
            for row in session.scalars(select(OffloadSession).where(OffloadSession.state.in_(STAYING))):
                row.state, row.updated_at = "taken", now  # a camera still there arrives anew
            parts = set(session.scalars(select(Part.name)))
            names = set(session.scalars(select(Recording.vault_name).where(Recording.state != "erased")))
            names |= _derivative_names(house)
        for part in house.vault.parts():
            if part not in parts:
                house.vault.discard_part(part)
        for name in house.vault.names():
            if name not in names:
                log.warning("vault.uncommitted_removed", name=name)
                house.vault.destroy(name)


def mark_taken(house: Installation, session_ids: Iterable[str]) -> None:
    """Say that the cameras of these sessions, all over, have left their bays."""
    with house.database.write() as session:
        for row in session.scalars(select(OffloadSession).where(OffloadSession.id.in_(list(session_ids)))):
            row.state, row.updated_at = "taken", house.clock.now()


def _derivative_names(house: Installation) -> set[str]:
    from bwc.db.models import Derivative

    with house.database.read() as session:
        return set(session.scalars(select(Derivative.vault_name)))


class DockingService:
    """Every bay of one machine. `run` blocks until `stop` is set and every offload has come to a safe place."""

    def __init__(
        self,
        house: Installation,
        find: Callable[[], Iterable[usb.core.Device]] = usbio.find_devices,
        *,
        announce: Announce = lambda jobs: None,
        profiles: ProfileBook | None = None,
        interval_s: float = 1.0,
    ) -> None:
        """`find` lists the devices on the bus: the real one, or the emulated dock's."""
        self._house = house
        self._announce = announce
        self._profiles = profiles or load_profiles()
        self._monitor = HotplugMonitor(find, NetlinkWake.open(), interval_s, self._on_event)
        self._stopping = False
        self._stays: dict[str, tuple[threading.Thread, threading.Event]] = {}

    def run(self, stop: threading.Event) -> None:
        """Watch until `stop`; cameras then read are cut off cleanly and go on at the next start."""
        with alone_on_the_dock(self._house) as alone:
            if not alone:
                raise ConfigError(
                    "another docking service runs on this data folder",
                    person="Une autre station surveille déjà les baies de cette installation.",
                )
            self._watch(stop)

    def _watch(self, stop: threading.Event) -> None:
        recover(self._house)
        log.info("docking.started")
        try:
            self._monitor.run(stop)
        finally:
            self._stopping = True
            for _, gone in self._stays.values():
                gone.set()
            for thread, _ in self._stays.values():
                thread.join(30)
            log.info("docking.stopped")

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Removed):
            stay = self._stays.pop(event.address, None)
            if stay is not None:
                stay[1].set()
            log.info("bay.empty", bay=event.address)
            return
        gone = threading.Event()
        thread = threading.Thread(target=self._stay, args=(event, gone), name=f"bay-{event.address}", daemon=True)
        self._stays[event.address] = (thread, gone)
        thread.start()

    def _stay(self, event: Arrived, gone: threading.Event) -> None:
        try:
            identity = usbio.identify(event.device)
            profile = self._profiles.match(identity) if event.mass_storage else None
            if profile is not None and profile.settle_s and gone.wait(profile.settle_s):
                return
            offload = Offload(
                self._house,
                bay=self._bay(event.address),
                identity=identity,
                profile=profile,
                connect=lambda: _connect(event.device, profile),
                announce=self._announce,
                gone=gone,
            )
            state = offload.run()
            gone.wait()
            if not self._stopping and state in STAYING:
                mark_taken(self._house, [offload.session_id])
        except BwcError as error:
            log.error("stay.failed", bay=event.address, error=str(error), code=error.code)
        except Exception:
            log.exception("stay.crashed", bay=event.address)

    def _bay(self, address: str) -> int:
        """Number of the bay at a USB address; a port never seen gets the next number."""
        bus, _, path = address.partition("-")
        with self._house.database.write() as session:
            row = session.scalars(select(Bay).where(Bay.bus == int(bus), Bay.port_path == path)).one_or_none()
            if row is None:
                highest = session.scalar(select(func.max(Bay.number))) or 0
                row = Bay(number=highest + 1, bus=int(bus), port_path=path)
                session.add(row)
            return row.number


def _connect(device: usb.core.Device, profile: Profile | None) -> Transport:
    if profile is None:
        raise DeviceError("no profile", code="unknown_device")
    return MassStorageTransport(device, profile)
