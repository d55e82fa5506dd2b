"""`bwc recordings`, `bwc erase`, `bwc verify`: what is held, what is due, whether it is whole."""

from __future__ import annotations

import sys

import click
from sqlalchemy import select

from bwc.cli.main import Context, print_json, table
from bwc.core.clock import PARIS
from bwc.core.errors import EvidenceError, exit_code
from bwc.db.models import Recording
from bwc.erasure import due_recordings, erase_due
from bwc.verification import verify_store


def register(group: click.Group) -> None:
    """Add the commands."""
    for command in (recordings, erase, verify):
        group.add_command(command)


@click.command()
@click.option("--state", type=click.Choice(["held", "quarantined", "erasing", "erased"]), help="Un seul état.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=200, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Sortie JSON.")
@click.pass_obj
def recordings(context: Context, state: str | None, limit: int, as_json: bool) -> None:
    """Liste les enregistrements (faits seulement, aucune image), les plus récents d'abord."""
    query = select(Recording).order_by(Recording.received_at.desc(), Recording.id.desc()).limit(limit)
    if state:
        query = query.where(Recording.state == state)
    with context.house.database.read() as session:
        rows = session.scalars(query).all()
    if as_json:
        print_json([_facts(row) for row in rows])
        return
    if not rows:
        click.echo("Aucun enregistrement. Posez une caméra sur une baie.")
        return
    cells = [
        (
            row.id,
            row.claimed_start.astimezone(PARIS).strftime("%d/%m/%Y %H:%M:%S") if row.claimed_start else "?",
            row.camera.label if row.camera else row.serial or "?",
            row.wearer.matricule if row.wearer else "?",
            f"{row.size / 1e6:.1f} Mo",
            row.due_on.strftime("%d/%m/%Y"),
            row.state,
        )
        for row in rows
    ]
    table(("enregistrement", "début annoncé", "caméra", "porteur", "taille", "échéance", "état"), cells)


def _facts(row: Recording) -> dict[str, object]:
    return {
        "id": row.id,
        "state": row.state,
        "quarantine": row.quarantine,
        "camera": row.camera.label if row.camera else None,
        "wearer": row.wearer.matricule if row.wearer else None,
        "path": row.source_path,
        "size": row.size,
        "sha256": row.sha256,
        "claimed_start": row.claimed_start.isoformat() if row.claimed_start else None,
        "docked_at": row.docked_at.isoformat(),
        "received_at": row.received_at.isoformat(),
        "due_on": row.due_on.isoformat(),
        "order": row.order.number if row.order else None,
        "media": row.media_state,
    }


@click.command()
@click.option("--due", is_flag=True, required=True, help="Ce qui a atteint son terme (le seul effacement possible).")
@click.option("--dry-run", is_flag=True, help="Montre sans effacer.")
@click.option("--json", "as_json", is_flag=True)
@click.pass_obj
def erase(context: Context, due: bool, dry_run: bool, as_json: bool) -> None:
    """Efface ce qui a atteint son terme légal, avec certificat."""
    house = context.house
    waiting = due_recordings(house)
    erased = [] if dry_run else erase_due(house)
    if as_json:
        print_json({"due": [item.recording_id for item in waiting], "erased": erased, "dry_run": dry_run})
        return
    for item in waiting:
        late = "  EN RETARD" if item.late else ""
        click.echo(f"{item.recording_id}  échéance {item.due_on:%d/%m/%Y}  {item.size / 1e6:.1f} Mo{late}")
    verb = "seraient effacés" if dry_run else "effacés"
    click.echo(f"{len(waiting) if dry_run else len(erased)} enregistrement(s) {verb}.")


@click.command()
@click.option("--share", metavar="N/SUR", help="Une part seulement, par exemple 3/30.")
@click.option("--json", "as_json", is_flag=True)
@click.pass_obj
def verify(context: Context, share: str | None, as_json: bool) -> None:
    """Relit et déchiffre le coffre, compare empreintes et fiches au registre. Sortie 4 au moindre écart."""
    part = None
    if share is not None:
        number, _, of = share.partition("/")
        if not (number.isdigit() and of.isdigit() and 0 <= int(number) < int(of) <= 10_000):
            raise click.BadParameter("forme attendue : N/SUR, avec 0 ≤ N < SUR", param_hint="--share")
        part = (int(number), int(of))
    with click.progressbar(length=0, label="Relecture", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:

        def step(done: int, total: int) -> None:
            bar.length = total
            bar.update(done - bar.pos)

        checked, faults = verify_store(context.house, share=part, progress=step)
    if as_json:
        print_json({"checked": checked, "faults": [vars(fault) for fault in faults]})
    else:
        for fault in faults:
            click.secho(f"ALTÉRÉ  {fault.recording_id}  {fault.person or f'{fault.what} : {fault.error}'}", fg="red")
        rows = sum(fault.what in {"row", "certificate"} for fault in faults)
        click.echo(
            f"{checked} conteneur(s) relus, {len(faults) - rows} écart(s) ; "
            f"fiches et certificats comparés au registre, {rows} écart(s)."
        )
    if faults:
        sys.exit(exit_code(EvidenceError("")))
