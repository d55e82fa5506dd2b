"""Settings of one installation: where its data lies, how it is reached. From the environment (`BWC_…`) only.

What the town is (orders, people, cameras, bays) is data: config/valence.toml read once by bwc/town.py.
"""

from __future__ import annotations

from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Each field is an environment variable `BWC_<NAME>`; see docs/configuration.md."""

    model_config = SettingsConfigDict(env_prefix="BWC_", frozen=True, extra="ignore")

    data: Path = Path("var/bwc")
    root_key_file: Path = Path("var/bwc-root.key")
    town: Path = Path("config/valence.toml")
    database_url: str = ""  # empty: SQLite in the data folder
    broker_url: str = ""  # empty: the embedded durable broker in the data folder
    host: str = "127.0.0.1"
    port: int = 8080
    host_names: str = ""  # public names of the front end, separated by commas
    https: bool = False  # behind a TLS front end: cookies get Secure and the __Host- prefix, HSTS is sent
    web_threads: int = 32
    demonstration: bool = False

    @property
    def database(self) -> str:
        """Database URL in force."""
        return self.database_url or f"sqlite:///{self.data.resolve() / 'bwc.db'}"

    @property
    def vault_folder(self) -> Path:
        """Folder of the encrypted files."""
        return self.data / "vault"

    @property
    def key_folder(self) -> Path:
        """Folder of the day keys, each wrapped under the root key; never in a backup."""
        return self.data / "keys"

    @property
    def checkpoint_folder(self) -> Path:
        """Folder of the ledger's signed checkpoints."""
        return self.data / "checkpoints"

    @property
    def broker_folder(self) -> Path:
        """Folder of the embedded broker's messages."""
        return self.data / "broker"

    @property
    def dock_folder(self) -> Path:
        """Folder of the emulated dock (demonstration only): images, plug and pull orders."""
        return self.data / "emulated-dock"
