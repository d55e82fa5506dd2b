"""Accounts of the demonstration: one invented password for the people of config/demonstration.toml."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from bwc.installation import Installation, initialise
from bwc.settings import Settings
from bwc.town import DemonstrationFile, read_demonstration

_WORDS = ("vercors", "rhone", "cerisier", "tournesol", "beffroi", "kiosque", "peupliers", "ardeche", "mistral", "galet")
DEMONSTRATION_FILE = Path("config/demonstration.toml")


def password_file(settings: Settings) -> Path:
    """Where the demonstration keeps its password to show it at each start (0600)."""
    return settings.data / "demonstration-password"


def initialise_demonstration(settings: Settings, hash_password: Callable[[str], str]) -> Installation:
    """A data folder with the town and the demonstration's people and cameras; goes on with one made before."""
    file = read_demonstration(DEMONSTRATION_FILE)
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    kept = password_file(settings)
    if not kept.exists():
        fd = os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "w") as out:
            out.write("-".join(secrets.choice(_WORDS) for _ in range(3)) + f"-{secrets.randbelow(900) + 100}\n")
    password = kept.read_text().strip()
    hashes = {person.login: hash_password(password) for person in file.people if person.login}
    return initialise(settings, demonstration=file, password_hashes=hashes)


def logins() -> list[tuple[str, str]]:
    """(login, who he is) of everybody who can sign in to the demonstration."""
    file: DemonstrationFile = read_demonstration(DEMONSTRATION_FILE)
    return [
        (person.login, f"{person.first_name} {person.last_name}, {person.rank.lower()}")
        for person in file.people
        if person.login
    ]
