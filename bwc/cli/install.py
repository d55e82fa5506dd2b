"""`bwc init`, `bwc person add`, `bwc camera add`, `bwc doctor`: putting an installation in order."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import click
from sqlalchemy import func, select

from bwc.cli.main import Context, print_json, table
from bwc.clock_guard import confirm_clock
from bwc.core.clock import PARIS
from bwc.core.errors import BwcError, ConfigError, exit_code
from bwc.db import schema
from bwc.db.models import Incident, Job, Order, Recording
from bwc.demonstration.accounts import initialise_demonstration
from bwc.docking import usbio
from bwc.erasure import due_recordings
from bwc.installation import Installation, initialise
from bwc.people import COMMAND_LINE, add_camera, add_habilitation, add_person
from bwc.rules.access import Role
from bwc.web.auth.passwords import hash_password


def register(group: click.Group) -> None:
    """Add the commands."""
    for command in (init, person, camera, clock, doctor):
        group.add_command(command)


@click.command()
@click.option("--demo", is_flag=True, help="Avec les personnes et caméras inventées de la démonstration.")
@click.pass_obj
def init(context: Context, demo: bool) -> None:
    """Prépare le dossier de données (clés, base, registre), ou le met à la version du programme."""
    settings = context.settings
    house = initialise_demonstration(settings, hash_password) if demo else initialise(settings)
    house.publish_checkpoint()
    click.echo(f"{house.town.service} — données dans {settings.data}, clé racine dans {settings.root_key_file}.")
    click.echo("Sauvegardez la clé racine ailleurs que les données : sans elle, rien n'est lisible.")


@click.group()
def person() -> None:
    """Personnes du service."""


@person.command("add")
@click.option("--matricule", required=True)
@click.option("--last-name", required=True, help="Nom.")
@click.option("--first-name", required=True, help="Prénom.")
@click.option("--rank", default="", help="Grade.")
@click.option("--role", type=click.Choice([str(role) for role in Role]), required=True)
@click.option("--login", help="Identifiant ; sans lui, la personne porte une caméra sans se connecter.")
@click.pass_obj
def person_add(
    context: Context, matricule: str, last_name: str, first_name: str, rank: str, role: str, login: str | None
) -> None:
    """Inscrit une personne ; avec un identifiant, affiche une fois son mot de passe."""
    password = secrets.token_urlsafe(12) if login else None
    add_person(
        context.house,
        matricule=matricule,
        last_name=last_name,
        first_name=first_name,
        rank=rank,
        role=Role(role),
        login=login,
        password_hash=hash_password(password) if password else None,
    )
    click.echo(f"{first_name} {last_name} inscrit(e)." + (f" Mot de passe : {password}" if password else ""))


@person.command("habilitate")
@click.argument("matricule")
@click.option("--number", required=True, help="Numéro de l'acte.")
@click.option("--signatory", required=True, help="Signataire : maire, président, responsable du service.")
@click.option("--signed-on", type=click.DateTime(["%Y-%m-%d"]), required=True)
@click.option("--starts-on", type=click.DateTime(["%Y-%m-%d"]), required=True)
@click.option("--ends-on", type=click.DateTime(["%Y-%m-%d"]), help="Sans fin si absent.")
@click.option("--scope", default="Consultation et extraction des enregistrements des caméras individuelles")
@click.pass_obj
def person_habilitate(
    context: Context,
    matricule: str,
    number: str,
    signatory: str,
    signed_on: datetime,
    starts_on: datetime,
    ends_on: datetime | None,
    scope: str,
) -> None:
    """Inscrit un acte d'habilitation : l'accès s'ouvre et se ferme à ses dates."""
    add_habilitation(
        context.house,
        matricule=matricule,
        number=number,
        signed_on=signed_on.date(),
        signatory=signatory,
        starts_on=starts_on.date(),
        ends_on=ends_on.date() if ends_on else None,
        scope=scope,
    )
    click.echo(f"Habilitation {number} inscrite pour {matricule}.")


@click.group()
def camera() -> None:
    """Caméras du service."""


@camera.command("add")
@click.argument("label")
@click.argument("serial")
@click.option("--model", default="")
@click.pass_obj
def camera_add(context: Context, label: str, serial: str, model: str) -> None:
    """Met une caméra en service, dans la limite du nombre de l'arrêté."""
    add_camera(context.house, label=label, serial=serial, model=model)
    click.echo(f"{label} en service.")


@click.group()
def clock() -> None:
    """Heure du serveur."""


@clock.command("confirm")
@click.pass_obj
def clock_confirm(context: Context) -> None:
    """Atteste que l'heure du serveur est juste : la station et les effacements reprennent."""
    confirm_clock(context.house, COMMAND_LINE)
    click.echo(f"Heure confirmée : {context.house.clock.now().astimezone(PARIS):%d/%m/%Y %H:%M:%S}.")


@click.command()
@click.option("--json", "as_json", is_flag=True)
@click.pass_obj
def doctor(context: Context, as_json: bool) -> None:
    """Examine l'installation et dit quoi faire. Sortie 7 s'il y a un défaut."""
    findings = list(_examine(context))
    if as_json:
        print_json([{"what": what, "ok": ok, "detail": detail} for what, ok, detail in findings])
    else:
        table(("point", "", "constat"), [(what, "✓" if ok else "✗", detail) for what, ok, detail in findings])
    if not all(ok for _, ok, _ in findings):
        sys.exit(exit_code(ConfigError("")))


def _examine(context: Context) -> Iterator[tuple[str, bool, str]]:
    settings = context.settings
    try:
        house = context.house
    except BwcError as error:
        yield "installation", False, error.person
        return
    yield "installation", True, f"{house.town.service}" + (" — DÉMONSTRATION" if house.town.demonstration else "")
    yield "schéma", True, schema.head_revision()
    yield "clé racine", True, f"{settings.root_key_file} (droits 600, hors des données)"
    usage = shutil.disk_usage(settings.data)
    yield "disque", usage.free > 5 * 10**9, f"{usage.free / 1e9:.1f} Go libres sur {usage.total / 1e9:.1f}"
    mode = Path(settings.data).stat().st_mode & 0o077
    yield "droits", mode == 0, f"dossier de données {'fermé' if mode == 0 else 'lisible par d’autres : chmod 700'}"
    yield "bus USB", True, _bus()
    yield from _state(house)


def _bus() -> str:
    if not usbio.has_usb_bus():
        return "aucun : seule la station émulée est possible"
    addresses = [usbio.address_of(device) for device in usbio.find_devices()]
    return f"{len(addresses)} appareil(s) : {', '.join(addresses[:12])}"


def _state(house: Installation) -> Iterator[tuple[str, bool, str]]:
    with house.database.read() as session:
        held = session.scalar(select(func.count()).select_from(Recording).where(Recording.state != "erased")) or 0
        quarantined = session.scalar(
            select(func.count()).select_from(Recording).where(Recording.state == "quarantined")
        )
        incidents = session.scalar(select(func.count()).select_from(Incident).where(Incident.closed_at.is_(None))) or 0
        failed = session.scalar(select(func.count()).select_from(Job).where(Job.state == "failed")) or 0
        orders = session.scalars(select(Order)).all()
    late = [due for due in due_recordings(house) if due.late]
    yield "arrêtés", any(order.kind == "bodycam" for order in orders), ", ".join(order.number for order in orders)
    yield (
        "engagement CNIL",
        True,
        "inscrit" if all(order.cnil_number for order in orders) else "à saisir avant la mise en service",
    )
    yield "enregistrements", True, f"{held} conservés, dont {quarantined} en quarantaine"
    yield "effacements", not late, f"{len(late)} en retard" if late else "aucun en retard"
    yield "travaux", failed == 0, f"{failed} en échec"
    yield "incidents", True, f"{incidents} ouvert(s)"
    yield "cœurs", True, str(os.cpu_count())
