"""`bwc ledger …`: verify, sign, export."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import click

from bwc.chain_of_custody.export import export_ledger
from bwc.chain_of_custody.verify import verify_ledger
from bwc.cli.main import Context, print_json
from bwc.core.errors import EvidenceError, InputError, exit_code


def register(group: click.Group) -> None:
    """Add the commands."""
    group.add_command(ledger)


@click.group()
def ledger() -> None:
    """Registre inaltérable : vérifier, signer, exporter."""


@ledger.command("verify")
@click.option("--json", "as_json", is_flag=True)
@click.pass_obj
def verify_command(context: Context, as_json: bool) -> None:
    """Recalcule l'arbre entier, compare chaque entrée, chaque valeur du journal et chaque point de contrôle signé."""
    house = context.house
    report = verify_ledger(house.database, house.settings.checkpoint_folder, house.signer().verifier)
    if as_json:
        print_json({**asdict(report), "ok": report.ok})
    else:
        for fault in report.faults:
            click.secho(fault.french, fg="red")
        click.echo(
            f"{report.entries} entrées, {report.checkpoints} points de contrôle, racine {report.root[:16]}… : "
            + (
                "registre intact."
                if report.ok
                else f"{report.fault_count} écart(s), le premier au n° {report.first_bad}."
            )
        )
    if not report.ok:
        sys.exit(exit_code(EvidenceError("")))


@ledger.command()
@click.pass_obj
def checkpoint(context: Context) -> None:
    """Signe le registre tel qu'il est."""
    made = context.house.publish_checkpoint()
    click.echo(made.note if made else "Rien de nouveau depuis le dernier point de contrôle.")


@ledger.command()
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--without-records", is_flag=True, help="Sans les valeurs en clair du journal (données personnelles).")
@click.pass_obj
def export(context: Context, out: Path, without_records: bool) -> None:
    """Écrit le registre en JSON, une ligne par entrée (docs/custody-format.md §6)."""
    try:
        file = out.open("xb")
    except OSError as error:
        raise InputError(
            f"cannot create {out}: {error}", person=f"Le fichier {out} existe déjà ou ne s'ouvre pas."
        ) from error
    with file:
        count = export_ledger(context.house.database, file, records=not without_records)
    click.echo(f"{count} entrées écrites dans {out}.")
