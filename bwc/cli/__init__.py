"""The `bwc` command: thin. Each command is one act of the layers below, a table or JSON, and a documented exit code."""

from bwc.cli.main import main

__all__ = ["main"]
