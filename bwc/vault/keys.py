"""Keys: the root key outside the data folder, day keys in files of their own, recordings' keys wrapped by them.

Hierarchy (docs/custody-format.md §4): root key → day key (one per due day) → recording key. Wrapping is AES-256-GCM
with a random nonce, bound to what the key is for. Nothing is cached: a destroyed day key is gone for everybody.
"""

from __future__ import annotations

import os
import secrets
from datetime import date, datetime
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import select
from sqlalchemy.orm import Session

from bwc.core.errors import ConfigError, EvidenceError
from bwc.db.models import DayKey
from bwc.vault.diskfile import sync_folder

_NONCE = 12


def new_key() -> bytes:
    """A fresh 32-byte key from the system's generator."""
    return secrets.token_bytes(32)


def wrap(key: bytes, under: bytes, purpose: str) -> bytes:
    """`key` encrypted under another and bound to `purpose`: 12 bytes nonce, then ciphertext and tag."""
    nonce = secrets.token_bytes(_NONCE)
    return nonce + AESGCM(under).encrypt(nonce, key, purpose.encode())


def unwrap(wrapped: bytes, under: bytes, purpose: str) -> bytes:
    """The key `wrap` hid; raises EvidenceError when it is not that key for that purpose."""
    try:
        return AESGCM(under).decrypt(wrapped[:_NONCE], wrapped[_NONCE:], purpose.encode())
    except (InvalidTag, ValueError):
        raise EvidenceError(f"key for {purpose} does not authenticate", code="key_altered") from None


class RootKey:
    """The installation's root key. Held in memory, never printed."""

    def __init__(self, key: bytes) -> None:
        """Wrap 32 key bytes."""
        if len(key) != 32:
            raise ConfigError("root key is not 32 bytes", code="root_key")
        self.key = key

    def __repr__(self) -> str:
        return "RootKey(…)"

    @classmethod
    def from_file(cls, path: Path, *, outside: Path) -> RootKey:
        """Read the key (64 hex digits). Raises ConfigError unless the file is 0600, ours, and outside the data."""
        _must_lie_outside(path, outside)
        try:
            status = path.stat()
            text = path.read_text("ascii").strip()
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"root key file {path} cannot be read: {error}",
                code="root_key",
                person="La clé racine est introuvable ou illisible : vérifiez que son support est monté.",
            ) from error
        if status.st_mode & 0o077:
            raise ConfigError(
                f"root key file {path} is open to others (mode {status.st_mode & 0o777:o}, must be 600)",
                code="root_key_mode",
                person="La clé racine est lisible par d'autres comptes : corrigez ses droits (chmod 600).",
            )
        try:
            return cls(bytes.fromhex(text))
        except ValueError:
            raise ConfigError(f"root key file {path} is not 64 hex digits", code="root_key") from None

    @classmethod
    def create_file(cls, path: Path, *, outside: Path) -> RootKey:
        """Make a root key file, 0600, durable; raises ConfigError when it exists or lies in the data folder."""
        _must_lie_outside(path, outside)
        path.parent.mkdir(parents=True, exist_ok=True)
        key = new_key()
        try:
            _write_secret(path, (key.hex() + "\n").encode())
        except FileExistsError:
            raise ConfigError(f"root key file {path} exists already", code="root_key") from None
        return cls(key)

    def derive(self, purpose: str) -> bytes:
        """32 bytes for `purpose` (HKDF-SHA-256), the same at every start."""
        return HKDF(SHA256(), 32, None, b"bwc/derive/1|" + purpose.encode()).derive(self.key)


def _must_lie_outside(path: Path, folder: Path) -> None:
    if path.resolve().is_relative_to(folder.resolve()):
        raise ConfigError(
            f"root key {path} lies inside the data folder {folder}",
            code="root_key_place",
            person="La clé racine ne doit pas se trouver dans le dossier des données.",
        )


class KeyRing:
    """The day keys and signing keys of one installation, each in a file wrapped under the root key."""

    def __init__(self, folder: Path, root: RootKey) -> None:
        """Bind to a folder (made when missing, 0700)."""
        self._folder = folder
        self._root = root
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def derive(self, purpose: str) -> bytes:
        """32 bytes for `purpose`, the same at every start."""
        return self._root.derive(purpose)

    def day_key_for(self, session: Session, due_on: date, now: datetime) -> str:
        """Id of the live day key of recordings due on `due_on`, made now when there is none.

        The file is durable before the row that names it can be committed.
        """
        known = session.scalars(
            select(DayKey).where(DayKey.due_on == due_on, DayKey.destroyed_at.is_(None)).limit(1)
        ).first()
        if known is not None:
            return known.id
        day_key_id = f"{due_on.isoformat()}-{secrets.token_hex(4)}"
        self._store("day", day_key_id, new_key())
        session.add(DayKey(id=day_key_id, due_on=due_on, made_at=now))
        session.flush()
        return day_key_id

    def wrap(self, day_key_id: str, recording_id: str, key: bytes) -> bytes:
        """A recording's key wrapped by a day key. Raises EvidenceError when the day key is gone."""
        return wrap(key, self._load("day", day_key_id), f"bwc/recording/{recording_id}")

    def unwrap(self, day_key_id: str, recording_id: str, wrapped: bytes) -> bytes:
        """A recording's key. Raises EvidenceError when the day key is gone or the wrap was altered."""
        return unwrap(wrapped, self._load("day", day_key_id), f"bwc/recording/{recording_id}")

    def destroy_day_key(self, day_key_id: str) -> None:
        """Overwrite a day key's file, then remove it; what it wrapped can never be opened again. Idempotent."""
        path = self._path("day", day_key_id)
        try:
            with path.open("r+b", buffering=0) as file:
                file.write(secrets.token_bytes(path.stat().st_size))
                os.fsync(file.fileno())
            path.unlink()
        except FileNotFoundError:
            return
        sync_folder(self._folder)

    def signing_key(self, name: str) -> Ed25519PrivateKey:
        """Ed25519 key of that name, made at its first use."""
        path = self._path("sign", name)
        if not path.exists():
            self._store("sign", name, new_key())
        return Ed25519PrivateKey.from_private_bytes(self._load("sign", name))

    def _path(self, kind: str, name: str) -> Path:
        return self._folder / f"{kind}-{name}.key"

    def _store(self, kind: str, name: str, key: bytes) -> None:
        try:
            _write_secret(self._path(kind, name), wrap(key, self._root.key, f"bwc/{kind}/{name}"))
        except FileExistsError:
            return  # another process made it first; its key is the one

    def _load(self, kind: str, name: str) -> bytes:
        try:
            wrapped = self._path(kind, name).read_bytes()
        except OSError as error:
            raise EvidenceError(f"{kind} key {name} is gone: {error}", code="key_gone") from error
        return unwrap(wrapped, self._root.key, f"bwc/{kind}/{name}")


def _write_secret(path: Path, data: bytes) -> None:
    """Write a new file 0600 whole or not at all, and make it durable. Raises FileExistsError."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try:
            os.write(fd, data)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)
