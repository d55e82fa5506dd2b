"""Signed notes (C2SP signed-note) with Ed25519, and the checkpoint text they carry (C2SP tlog-checkpoint).

Strict on the way in: one writing of a note only is accepted (docs/custody-format.md §6.3). Signs and verifies text;
knows nothing of where notes are kept.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from bwc.core.digests import sha256
from bwc.core.errors import EvidenceError

MAX_NOTE_BYTES = 64 * 1024
MAX_SIGNATURES = 100
ED25519 = b"\x01"

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")


@dataclass(frozen=True)
class NoteSignature:
    """One signature line: the key's name, its 4-byte id and the signature bytes, of any algorithm."""

    name: str
    key_id: bytes
    signature: bytes

    def line(self) -> str:
        """The line, with its newline."""
        return f"— {self.name} {_to64(self.key_id + self.signature)}\n"


@dataclass(frozen=True)
class Note:
    """A parsed note. `text` ends in a newline and is what is signed; nothing in it is verified yet."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def format(self) -> str:
        """The note as it is written; `parse_note` of it gives the same note."""
        return f"{self.text}\n" + "".join(each.line() for each in self.signatures)


@dataclass(frozen=True)
class VerifierKey:
    """A name and an Ed25519 public key (32 raw bytes): whose signature is asked for."""

    name: str
    public: bytes

    @property
    def key_id(self) -> bytes:
        """SHA-256(name ‖ 0x0A ‖ 0x01 ‖ public key), first 4 bytes."""
        return sha256(self.name.encode() + b"\n" + ED25519 + self.public)[:4]

    def vkey(self) -> str:
        """The key as one line of text, `name+hex(key id)+base64(0x01 ‖ public key)`, without newline."""
        return f"{self.name}+{self.key_id.hex()}+{_to64(ED25519 + self.public)}"

    def verify(self, note: Note) -> None:
        """Check that this key signed `note`; other keys' lines are ignored.

        Raises EvidenceError when no line is this key's, or when one that says it is does not verify.
        """
        mine = {s.signature for s in note.signatures if s.name == self.name and s.key_id == self.key_id}
        if not mine:
            _refuse(f"no signature by {self.name} ({self.key_id.hex()})")
        public = Ed25519PublicKey.from_public_bytes(self.public)
        for signature in mine:
            try:
                public.verify(signature, note.text.encode())
            except InvalidSignature:
                _refuse(f"signature by {self.name} ({self.key_id.hex()}) does not verify")


class Signer:
    """A name and its Ed25519 private key."""

    def __init__(self, name: str, key: Ed25519PrivateKey) -> None:
        """Raises ValueError when `name` cannot name a key: empty, with a space, a plus or a control character."""
        if not _is_key_name(name):
            raise ValueError(f"not a key name: {name!r}")
        self.name = name
        self._key = key

    @property
    def verifier(self) -> VerifierKey:
        """What others verify with."""
        return VerifierKey(self.name, self._key.public_key().public_bytes_raw())

    def sign(self, text: str) -> Note:
        """A note of `text` with this one signature. Raises ValueError when `text` cannot be a note's."""
        if not _is_text(text):
            raise ValueError("a note's text ends in a newline and holds no control character")
        signature = NoteSignature(self.name, self.verifier.key_id, self._key.sign(text.encode()))
        return Note(text, (signature,))


def parse_vkey(text: str) -> VerifierKey:
    """The key of a vkey line; one newline at the end is allowed. Raises EvidenceError when it is not one."""
    name, _, rest = text.removesuffix("\n").partition("+")
    key_id, _, key = rest.partition("+")
    raw = _from64(key)
    if not _is_key_name(name) or raw is None or len(raw) != 33 or raw[:1] != ED25519:
        _refuse("not a verifier key of an Ed25519 note signer")
    verifier = VerifierKey(name, raw[1:])
    if key_id != verifier.key_id.hex():
        _refuse(f"verifier key says id {key_id[:16]!r}, its key gives {verifier.key_id.hex()}")
    return verifier


def parse_note(data: bytes | str) -> Note:
    """A note out of bytes from outside, at most 64 KiB and 100 signatures; verifies no signature.

    Raises EvidenceError for anything but the one writing C2SP signed-note gives.
    """
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    if len(raw) > MAX_NOTE_BYTES:
        _refuse(f"note of {len(raw)} bytes is over {MAX_NOTE_BYTES}")
    try:
        whole = raw.decode()
    except UnicodeDecodeError:
        _refuse("note is not UTF-8")
    head, blank, tail = whole.rpartition("\n\n")
    if not blank or not _is_text(head + "\n") or not tail.endswith("\n"):
        _refuse("not a text, a blank line and signature lines, without control characters")
    lines = tail[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        _refuse(f"note has {len(lines)} signatures, over {MAX_SIGNATURES}")
    return Note(head + "\n", tuple(_parse_signature(line) for line in lines))


def _parse_signature(line: str) -> NoteSignature:
    parts = line.split(" ")
    raw = _from64(parts[2]) if len(parts) == 3 and parts[0] == "—" and _is_key_name(parts[1]) else None
    if raw is None or len(raw) < 5:
        _refuse(f"not a signature line: {line[:80]!r}")
    return NoteSignature(parts[1], raw[:4], raw[4:])


@dataclass(frozen=True)
class TreeHead:
    """What a checkpoint states: the ledger named `origin` has `size` entries and this 32-byte `root`."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """The note's text: three lines."""
        return f"{self.origin}\n{self.size}\n{_to64(self.root)}\n"


def parse_tree_head(text: str) -> TreeHead:
    """The tree head of a checkpoint note's text; exactly three lines, size below 10^19 without leading zeros.

    Raises EvidenceError otherwise.
    """
    lines = text.split("\n")
    if len(lines) != 4 or lines[3] or not _is_key_name(lines[0]):
        _refuse("checkpoint is not origin, size and root on three lines")
    root = _from64(lines[2])
    if not _SIZE.fullmatch(lines[1]):
        _refuse(f"checkpoint size is not a plain decimal: {lines[1][:40]!r}")
    if root is None or len(root) != 32:
        _refuse("checkpoint root is not 32 bytes in base64")
    return TreeHead(lines[0], int(lines[1]), root)


def open_checkpoint(data: bytes | str, verifier: VerifierKey) -> TreeHead:
    """The tree head of a checkpoint signed by `verifier`, whose name must be the origin.

    Raises EvidenceError when the note, its text, its origin or its signature is not right.
    """
    note = parse_note(data)
    head = parse_tree_head(note.text)
    if head.origin != verifier.name:
        _refuse(f"checkpoint of {head.origin!r}, not of {verifier.name!r}")
    verifier.verify(note)
    return head


def _is_text(text: str) -> bool:
    return text.endswith("\n") and text != "\n" and not _CONTROL.search(text)


def _is_key_name(name: str) -> bool:
    return bool(name) and "+" not in name and not _CONTROL.search(name) and name.split() == [name]


def _to64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _from64(text: str) -> bytes | None:
    """Bytes of standard, padded base64 in its one writing, else None."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if _to64(raw) == text else None


def _refuse(message: str) -> NoReturn:
    raise EvidenceError(message, code="note")
