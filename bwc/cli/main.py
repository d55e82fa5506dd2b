"""The command line's frame: settings, errors as one French sentence and an exit code, the list of commands."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from typing import Any

import click

from bwc import __version__
from bwc.core.errors import BwcError, exit_code
from bwc.installation import Installation, open_installation
from bwc.logs import configure_logs
from bwc.settings import Settings


class Context:
    """What every command shares: settings, and the installation opened at first use."""

    def __init__(self) -> None:
        self.settings = Settings()
        self._house: Installation | None = None

    @property
    def house(self) -> Installation:
        """The installation; raises ConfigError when it is not initialised."""
        if self._house is None:
            self._house = open_installation(self.settings)
        return self._house


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="bwc")
@click.pass_context
def bwc(context: click.Context) -> None:
    """Caméras individuelles : de la baie au certificat d'effacement.

    Les réglages viennent de l'environnement (BWC_DATA, BWC_TOWN, BWC_PORT…) : docs/configuration.md.
    Codes de sortie : docs/cli.md.
    """
    context.obj = Context()


def main() -> None:
    """Run the command; an expected error is one sentence on standard error and its exit code."""
    from bwc.cli import dock, evidence, install, ledger, run

    configure_logs(logging.WARNING)
    for module in (run, install, dock, evidence, ledger):
        module.register(bwc)
    try:
        bwc(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BwcError as error:
        click.secho(error.person, err=True, fg="red")
        click.secho(f"  {error.code}: {error}", err=True, dim=True)
        sys.exit(exit_code(error))


def print_json(value: Any) -> None:
    """`value` as indented JSON on standard output."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True))


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """A plain table, columns as wide as their widest cell."""
    widths = [max(len(cell) for cell in column) for column in zip(head, *rows, strict=True)]
    for number, row in enumerate([head, *rows]):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        click.secho(line, bold=number == 0)
