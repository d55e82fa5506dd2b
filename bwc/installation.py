"""One installation, opened: settings bound to database, keys, vault, ledger and clock.

The only place that knows how these are put together; everything above receives an `Installation`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import select

from bwc import __version__
from bwc.chain_of_custody.checkpoints import Checkpoint, publish
from bwc.chain_of_custody.journal import SYSTEM_ACTOR, Event, Operation
from bwc.chain_of_custody.ledger import Ledger
from bwc.chain_of_custody.note import Signer
from bwc.core.clock import Clock, SystemClock
from bwc.core.errors import ConfigError
from bwc.db import Database, schema
from bwc.db.models import Town
from bwc.settings import Settings
from bwc.town import DemonstrationFile, read_town, write_demonstration, write_town
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
            raise ConfigError("no town in the database", person="Aucune ville n'est déclarée : lancez « bwc init ».")
    clock = clock or SystemClock()
    keys = KeyRing(settings.key_folder, RootKey.from_file(settings.root_key_file, outside=settings.data))
    return Installation(settings, clock, database, keys, Vault(settings.vault_folder), Ledger(clock), town)


def initialise(
    settings: Settings,
    *,
    demonstration: DemonstrationFile | None = None,
    password_hashes: Mapping[str, str] | None = None,
    clock: Clock | None = None,
) -> Installation:
    """Make a data folder ready: root key, database at this schema, the town of the town file, ledger entry 0.

    On a folder that is ready already, migrates the schema and changes nothing else. Raises ConfigError.
    """
    file = read_town(settings.town)
    clock = clock or SystemClock()
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    database = Database(settings.database)
    schema.upgrade(database)
    with database.read() as session:
        known = session.scalars(select(Town)).one_or_none()
    if not settings.root_key_file.exists():
        if known is not None:
            raise ConfigError(
                f"root key file {settings.root_key_file} is missing and data exists",
                code="root_key",
                person="La clé racine est introuvable : montez son support. Sans elle, rien n'est lisible.",
            )
        RootKey.create_file(settings.root_key_file, outside=settings.data)
    if known is None:
        with database.write() as session:
            town = write_town(session, file, clock.now(), demonstration=demonstration is not None)
            if demonstration is not None:
                write_demonstration(session, demonstration, clock, password_hashes or {})
            Ledger(clock).append(session, _first_entry(town))
    database.close()
    return open_installation(settings, clock)


def _first_entry(town: Town) -> Event:
    """Entry 0: whose ledger this is and the policy under which its oldest entries may one day be pruned."""
    return Event(
        Operation.SYSTEME,
        "installation.initialised",
        SYSTEM_ACTOR,
        detail={
            "town": town.name,
            "origin": town.origin,
            "demonstration": town.demonstration,
            "version": __version__,
            "policy": "entries are pruned as a prefix after three years (CSI R241-14), never otherwise",
        },
    )
