"""`bwc up` and `bwc demo`: the whole product started, or its whole way gone through once."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from bwc.cli.main import Context
from bwc.cli.supervisor import Supervisor, alone, children
from bwc.cli.way import walk
from bwc.demonstration.accounts import initialise_demonstration, logins, password_file
from bwc.demonstration.film import missing
from bwc.docking import usbio
from bwc.installation import initialise
from bwc.settings import Settings
from bwc.tasks.jobs import release_claims
from bwc.web.auth.passwords import hash_password


def register(group: click.Group) -> None:
    """Add the commands."""
    for command in (up, demo):
        group.add_command(command)


@click.command()
@click.option("--demo", is_flag=True, help="Station émulée, personnes inventées (d'office sans bus USB).")
@click.option("--port", type=click.IntRange(1, 65535), help="Port du serveur web.")
@click.pass_obj
def up(context: Context, demo: bool, port: int | None) -> None:
    """Démarre tout : web, travaux, calendrier, station. Ctrl-C arrête tout proprement."""
    settings = context.settings.model_copy(update={"port": port} if port else {})
    with alone(settings) as first:
        if first:
            _up(settings, demo=demo)
        else:
            click.echo(f"Déjà démarré : {address(settings)}")


def _up(settings: Settings, *, demo: bool) -> None:
    emulated = demo or settings.demonstration or not usbio.has_usb_bus()
    house = initialise_demonstration(settings, hash_password) if emulated else initialise(settings)
    house.publish_checkpoint()
    release_claims(house)
    emulated = house.town.demonstration
    house.close()
    Supervisor(settings, children(settings, emulated=emulated)).run(lambda: _welcome(settings, emulated))


def address(settings: Settings) -> str:
    """Where a browser on this machine finds the product."""
    scheme = "https" if settings.https else "http"
    return f"{scheme}://{'127.0.0.1' if settings.host in {'0.0.0.0', '::'} else settings.host}:{settings.port}"  # noqa: S104


def _welcome(settings: Settings, emulated: bool) -> None:
    click.echo()
    click.secho(f"  bwc est prêt : {address(settings)}", bold=True)
    click.echo(f"  Tableau de la station (sans connexion) : {address(settings)}/station")
    if emulated:
        click.secho("  DÉMONSTRATION — station émulée, personnes et images inventées.", fg="yellow")
        if missing(settings.dock_folder):
            click.echo("  Les caméras se filment : elles arrivent sur la station d'ici une minute ou deux.")
        password = password_file(settings).read_text().strip()
        click.echo(f"  Mot de passe de tous les comptes : {password}")
        for login, who in logins():
            click.echo(f"    {login:<14} {who}")
    else:
        click.echo("  Premier compte : bwc person add --role responsable --login … (voir docs/guide/)")
    click.echo("  Ctrl-C pour tout arrêter.")
    click.echo()


@click.command()
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), default=Path("var/demo"), show_default=True)
@click.pass_obj
def demo(context: Context, folder: Path) -> None:
    """Parcourt tout le chemin dans un dossier à part, montre ce qui a été fait, échoue si quoi que ce soit manque."""
    settings = context.settings.model_copy(
        update={"data": folder / "data", "root_key_file": folder / "root.key", "database_url": "", "broker_url": ""}
    )
    sys.exit(0 if walk(settings, folder) else 1)
