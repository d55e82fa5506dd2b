"""One installation, opened: settings bound to database, keys, vault, ledger and clock.

The only place that knows how these are put together; everything above receives an `Installation`.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from bwc.chain_of_custody.checkpoints import publish
from bwc.chain_of_custody.ledger import Ledger
from bwc.chain_of_custody.note import Signer
from bwc.core.clock import Clock, SystemClock
from bwc.core.errors import ConfigError
from bwc.db import Database, schema
from bwc.db.models import Checkpoint, Town
from bwc.settings import Settings
from bwc.vault.keys import KeyRing, RootKey
from bwc.vault.store import Vault


@dataclass(frozen=True)
class Installation:
    """Everything an act needs, bound once."""

    settings: Settings
    clock: Clock
    database: Database
    keys: KeyRing
    vault: Vault
    ledger: Ledger
    town: Town

    def signer(self) -> Signer:
        """Signer of the ledger's checkpoints, its private key unsealed from the key folder."""
        return Signer(self.town.origin, self.keys.signing_key("ledger"))

    def publish_checkpoint(self) -> Checkpoint | None:
        """Sign the ledger as it stands; None when nothing was added since the last checkpoint."""
        return publish(self.database, self.clock, self.signer(), self.settings.checkpoint_folder)

    def close(self) -> None:
        """Release database connections."""
        self.database.close()


def open_installation(settings: Settings, clock: Clock | None = None) -> Installation:
    """Open an initialised data folder; raises ConfigError when it is not initialised or not at this schema."""
    database = Database(settings.database)
    if database.file is not None and not database.file.exists():
        raise ConfigError(
            f"no database at {database.file}",
            person="Cette installation n'est pas initialisée : lancez « bwc init » ou « make up ».",
        )
    if schema.current_revision(database) != schema.head_revision():
        raise ConfigError(
            "database is not at this version's schema",
            person="La base de données n'est pas à la version du programme : lancez « bwc init ».",
        )
    with database.read() as session:
        town = session.scalars(select(Town)).one_or_none()
        if town is None:
            raise ConfigError(
                "no town in the database", person="Aucune ville n'est déclarée : lancez « bwc init »."
            )
    clock = clock or SystemClock()
    keys = KeyRing(settings.key_folder, RootKey.from_file(settings.root_key_file, outside=settings.data))
    return Installation(settings, clock, database, keys, Vault(settings.vault_folder), Ledger(clock), town)
