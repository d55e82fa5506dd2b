"""`bwc dock`: the docking service, or one mounted folder taken in by hand."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

import click
from sqlalchemy import select

from bwc.cli.main import Context, print_json
from bwc.core.errors import DeviceError, exit_code
from bwc.db.models import OffloadFile, OffloadSession
from bwc.docking import usbio
from bwc.docking.emulation import EmulatedDock
from bwc.docking.folder import FolderTransport
from bwc.docking.offload import Announce, Offload
from bwc.docking.profiles import Profile, ProfileBook, load_profiles
from bwc.docking.service import DockingService, alone_on_the_dock, recover
from bwc.installation import Installation
from bwc.logs import configure_logs
from bwc.tasks.celery import announce as announce_jobs
from bwc.tasks.celery import make_celery


def register(group: click.Group) -> None:
    """Add the command."""
    group.add_command(dock)


@click.command()
@click.option("--folder", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Un dossier monté.")
@click.option("--serial", default="", help="Numéro de série de la caméra dont vient le dossier.")
@click.option("--delete", is_flag=True, help="Efface du dossier ce qui a été vérifié et inscrit.")
@click.option("--emulated", is_flag=True, help="Station émulée (démonstration), au lieu du bus USB.")
@click.option("--json", "as_json", is_flag=True)
@click.pass_obj
def dock(context: Context, folder: Path | None, serial: str, delete: bool, emulated: bool, as_json: bool) -> None:
    """Surveille les baies USB et décharge les caméras ; ou, avec --folder, reprend un dossier monté."""
    house = context.house
    celery = make_celery(house.settings)

    def announce(jobs: tuple[str, ...]) -> None:
        announce_jobs(celery, jobs)

    if folder is not None:
        _folder(house, folder, serial, delete, announce, as_json)
        return
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    configure_logs()
    find = EmulatedDock(house.settings.dock_folder).find if emulated else usbio.find_devices
    DockingService(house, find, announce=announce).run(stop)


def _folder(house: Installation, folder: Path, serial: str, delete: bool, announce: Announce, as_json: bool) -> None:
    with alone_on_the_dock(house) as alone:
        if alone:
            recover(house)
    transport = FolderTransport(folder, serial)
    offload = Offload(
        house,
        bay=None,
        identity=transport.identify(),
        profile=_any_video(load_profiles()),
        connect=lambda: transport,
        announce=announce,
        wipe=delete,
    )
    state = offload.run()
    with house.database.read() as session:
        row = session.get_one(OffloadSession, offload.session_id)
        files = session.scalars(
            select(OffloadFile).where(OffloadFile.session_id == row.id).order_by(OffloadFile.position)
        )
        lines = [
            {"path": file.path, "size": file.size, "state": file.state, "recording": file.recording_id}
            for file in files
        ]
    if as_json:
        print_json({"session": row.id, "state": state, "message": row.message, "files": lines})
    else:
        for line in lines:
            click.echo(f"{line['state']:<10} {line['size']:>14} {line['recording'] or '-':<26} {line['path']}")
        click.echo(f"{row.files_safe} fichier(s) en sûreté sur {row.files_total}. {row.message}")
    if state != "done":
        sys.exit(exit_code(DeviceError("")))


def _any_video(book: ProfileBook) -> Profile:
    """The profile for a folder whose model is not known: every video and sound file, no claim read from names."""
    folder = book.named("folder")
    if folder is None:
        raise DeviceError("profile 'folder' is missing", code="no_profile")
    return folder
