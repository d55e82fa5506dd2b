"""A file into the vault and read back, with nothing else imported: `python -m benchmarks.copying SOURCE FOLDER`."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path

from benchmarks.telling import told
from bwc.vault.store import Vault


def vault(source: str, folder: str) -> None:
    """The intake without media facts and commit."""
    store, key = Vault(Path(folder)), secrets.token_bytes(32)
    with told() as tells, Path(source).open("rb", buffering=0) as file:
        stored = store.take(file, key, "benchmark")
        tells["sha256"] = store.read_back(stored.name, key, "benchmark")


if __name__ == "__main__":
    vault(*sys.argv[1:])
