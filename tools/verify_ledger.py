#!/usr/bin/env python3
"""Contrôle indépendant du registre de bwc / independent verifier of bwc's custody ledger.

FR. Ce fichier se suffit : Python 3.9 ou plus récent, rien d'autre, pas de réseau. Il ne partage aucune ligne avec le
produit qu'il contrôle. Il lit, il n'écrit rien. Le format est décrit dans docs/custody-format.md, partie 6.

    python3 verify_ledger.py --database bwc.db --checkpoints checkpoints --vkey 'bwc/…+…+…'
    python3 verify_ledger.py --export ledger.jsonl --checkpoints checkpoints --vkey vkey

La clé (--vkey) doit venir d'ailleurs que de la machine contrôlée : procès-verbal, convention, autre service.
Résultat : 0 tout est conforme ; 4 au moins une anomalie ; 2 commande ou fichier illisible.

EN. This file stands alone: Python 3.9 or later, nothing else, no network. It shares no line with the product that it
checks. It reads and writes nothing. The format is docs/custody-format.md, section 6. The key (--vkey) must come from
elsewhere than the machine under examination. Exit status: 0 sound, 4 at least one fault, 2 usage or unreadable file.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import json
import re
import shutil
import sqlite3
import sys
import tempfile
import time
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

MAX_NOTE_BYTES = 65536
MAX_SIGNATURES = 100
SIGNATURES_CHECKED = 200
FAULTS_SHOWN = 50
OPERATIONS = {
    "collecte", "modification", "consultation", "communication", "effacement", "combinaison", "systeme",
}  # fmt: skip


class UnreadableError(Exception):
    """The input cannot be read at all: exit status 2."""


# ---------------------------------------------------------------------------------------------------------------
# 1. Merkle tree, RFC 6962 §2.1 / arbre de Merkle
# ---------------------------------------------------------------------------------------------------------------


def sha256(data: bytes) -> bytes:
    """SHA-256, 32 bytes."""
    return hashlib.sha256(data).digest()


class Tree:
    """The tree's right-hand edge: (leaves below, hash) of each complete subtree, largest first."""

    def __init__(self) -> None:
        self.size = 0
        self.edge: list[tuple[int, bytes]] = []

    def add(self, leaf: bytes) -> None:
        """Append one leaf hash; two neighbours of the same weight become one node."""
        weight = 1
        edge = self.edge
        while edge and edge[-1][0] == weight:
            leaf = sha256(b"\x01" + edge.pop()[1] + leaf)
            weight *= 2
        edge.append((weight, leaf))
        self.size += 1

    def root(self) -> bytes:
        """The root; of no leaf, SHA-256 of nothing."""
        if not self.edge:
            return sha256(b"")
        node = self.edge[-1][1]
        for _, left in self.edge[-2::-1]:
            node = sha256(b"\x01" + left + node)
        return node


# ---------------------------------------------------------------------------------------------------------------
# 2. Ed25519 verification, RFC 8032 §5.1.7 / vérification de signature
# ---------------------------------------------------------------------------------------------------------------

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
SQRT_MINUS_1 = pow(2, (P - 1) // 4, P)

# Points are (X, Y, Z, T) with x = X/Z, y = Y/Z, x*y = T/Z.
NEUTRAL = (0, 1, 1, 0)


def ed_add(p: tuple, q: tuple) -> tuple:
    """Sum of two points of the curve."""
    a = (p[1] - p[0]) * (q[1] - q[0]) % P
    b = (p[1] + p[0]) * (q[1] + q[0]) % P
    c = 2 * p[3] * q[3] * D % P
    d = 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def ed_multiply(scalar: int, point: tuple) -> tuple:
    """`point` added to itself `scalar` times."""
    total = NEUTRAL
    while scalar:
        if scalar & 1:
            total = ed_add(total, point)
        point = ed_add(point, point)
        scalar >>= 1
    return total


def ed_point(raw: bytes) -> tuple | None:
    """The point encoded in 32 bytes, None when they encode none (RFC 8032 §5.1.3)."""
    y = int.from_bytes(raw, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    if len(raw) != 32 or y >= P:
        return None
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P:
        x = x * SQRT_MINUS_1 % P
    if (x * x - x2) % P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = P - x
    return (x, y, 1, x * y % P)


BASE = ed_point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def ed25519_verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` (64 bytes) on `message` is by the holder of `public` (32 bytes)."""
    if len(signature) != 64:
        return False
    key, commitment = ed_point(public), ed_point(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if key is None or commitment is None or s >= L:
        return False
    challenge = hashlib.sha512(signature[:32] + public + message).digest()
    k = int.from_bytes(challenge, "little") % L
    left, right = ed_multiply(s, BASE), ed_add(commitment, ed_multiply(k, key))
    return not ((left[0] * right[2] - right[0] * left[2]) % P or (left[1] * right[2] - right[1] * left[2]) % P)


# ---------------------------------------------------------------------------------------------------------------
# 3. Signed notes and checkpoints, C2SP signed-note and tlog-checkpoint / points de contrôle signés
# ---------------------------------------------------------------------------------------------------------------


def plain_base64(text: str) -> bytes | None:
    """Bytes of padded standard base64, None when it is not or not in its only writing."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if base64.b64encode(raw).decode() == text else None


def is_key_name(name: str) -> bool:
    """Not empty, no plus, no white space, no control character."""
    return bool(name) and "+" not in name and name.split() == [name] and not re.search(r"[\x00-\x1f\x7f]", name)


class Key:
    """A verifier key: `name+hex(key id)+base64(01 ‖ Ed25519 public key)`."""

    def __init__(self, line: str) -> None:
        parts = line.strip("\n").split("+", 2)
        raw = plain_base64(parts[2]) if len(parts) == 3 else None
        if raw is None or len(raw) != 33 or raw[0] != 1 or not is_key_name(parts[0]):
            raise UnreadableError("clé de vérification illisible / not an Ed25519 verifier key (name+id+base64)")
        self.line, self.name, self.public = "+".join(parts), parts[0], raw[1:]
        self.id = sha256(self.name.encode() + b"\n" + raw)[:4]
        if self.id.hex() != parts[1]:
            raise UnreadableError("l'identifiant de la clé est faux / the key does not match its id")

    def fault_in(self, text: bytes, signatures: list, verify: bool) -> str | None:
        """Why the note is not this key's, None when it is. Other keys' signatures are ignored."""
        mine = {raw[4:] for name, raw in signatures if name == self.name and raw[:4] == self.id}
        if not mine:
            return "no signature by this key"
        if verify and not all(ed25519_verify(self.public, text, each) for each in mine):
            return "the signature does not verify"
        return None


def read_note(data: bytes) -> tuple[bytes, list]:
    """(signed text, [(key name, key id ‖ signature)]) of a note; ValueError when it is not well formed."""
    if len(data) > MAX_NOTE_BYTES:
        raise ValueError("note too long")
    whole = data.decode()
    if re.search(r"[\x00-\x09\x0b-\x1f\x7f]", whole):
        raise ValueError("control character in the note")
    head, blank, tail = whole.rpartition("\n\n")
    if not blank or not head.strip("\n") or not tail.endswith("\n"):
        raise ValueError("not a text, a blank line and signature lines")
    lines = tail[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise ValueError("too many signatures")
    signatures = []
    for line in lines:
        parts = line.split(" ")
        raw = plain_base64(parts[2]) if len(parts) == 3 and parts[0] == "—" and is_key_name(parts[1]) else None
        if raw is None or len(raw) < 5:
            raise ValueError("not a signature line: " + repr(line[:80]))
        signatures.append((parts[1], raw))
    return (head + "\n").encode(), signatures


def read_tree_head(text: bytes) -> tuple[str, int, bytes]:
    """(origin, size, root) of a checkpoint's text, three lines exactly; ValueError otherwise."""
    lines = text.decode().split("\n")
    if len(lines) != 4 or lines[3] or not is_key_name(lines[0]):
        raise ValueError("not origin, size and root on three lines")
    if not re.fullmatch(r"0|[1-9][0-9]{0,18}", lines[1]):
        raise ValueError("size is not a plain decimal: " + repr(lines[1][:40]))
    root = plain_base64(lines[2])
    if root is None or len(root) != 32:
        raise ValueError("root is not 32 bytes in base64")
    return lines[0], int(lines[1]), root


# ---------------------------------------------------------------------------------------------------------------
# 4. Faults / anomalies
# ---------------------------------------------------------------------------------------------------------------

SENTENCES = {
    "entry_missing": ("les entrées {seq} à {last} manquent", "entries {seq} to {last} are missing"),
    "entry_unexpected": ("l'entrée {seq} n'a pas sa place ici", "entry {seq} has no place here"),
    "body_form": ("le corps de l'entrée {seq} n'a pas la forme imposée",
                  "the body of entry {seq} is not in the one form allowed"),
    "place": ("le corps de l'entrée {seq} porte un autre numéro", "the body of entry {seq} bears another number"),
    "clock": ("l'entrée {seq} est datée d'avant la précédente sans le dire",
              "entry {seq} is dated before the one ahead of it and does not say so"),
    "clock_flag": ("l'entrée {seq} dit que l'horloge a reculé, or non",
                   "entry {seq} says the clock went back and it did not"),
    "leaf_hash": ("le corps de l'entrée {seq} ne correspond pas à son empreinte : l'un des deux a été modifié",
                  "the body of entry {seq} does not match its stored hash: one of the two was changed"),
    "journal_missing": ("l'entrée {seq} n'a pas de ligne de journal", "entry {seq} has no journal row"),
    "journal_extra": ("la ligne de journal {seq} n'a pas d'entrée", "journal row {seq} has no entry"),
    "commitment": ("la ligne de journal {seq}, ou son sel, n'est pas celle que le registre a scellée",
                   "the journal's record {seq} or its salt is not what the ledger committed to"),
    "record_form": ("le texte de la ligne de journal {seq} n'a pas la forme imposée",
                    "the journal's record {seq} is not in the one form allowed"),
    "column": ("une colonne de la ligne de journal {seq} diffère de son texte scellé",
               "a column of journal row {seq} differs from its record"),
    "tree": ("les entrées {seq} à {last} ne sont pas celles qui ont été signées : modification, ajout ou retrait",
             "entries {seq} to {last} are not those that were signed: changed, added or removed"),
    "truncated": ("le registre s'arrête avant l'entrée {seq}, pourtant signée : sa fin a été retirée",
                  "the ledger stops before entry {seq}, which was signed: its end was removed"),
    "head": ("la tête du registre ne correspond pas à ses entrées", "the ledger's head does not match its entries"),
    "checkpoint_form": ("le point de contrôle {seq} n'est pas une note bien formée",
                        "checkpoint {seq} is not a well formed note"),
    "checkpoint_signature": ("le point de contrôle {seq} n'est pas signé par la clé attendue",
                             "checkpoint {seq} is not signed by the expected key"),
    "checkpoint_columns": ("point de contrôle {seq} : la ligne ou le nom du fichier diffère de la note signée",
                           "checkpoint {seq}: its row or its file's name differs from the signed note"),
    "checkpoint_differs": ("le point de contrôle {seq} n'est pas le même dans la table et dans le dossier",
                           "checkpoint {seq} is not the same in the table and in the folder"),
    "checkpoint_row_missing": ("le point de contrôle {seq} est dans le dossier et pas dans la table",
                               "checkpoint {seq} is in the folder and not in the table"),
    "checkpoint_file_missing": ("le point de contrôle {seq} est dans la table et pas dans le dossier",
                                "checkpoint {seq} is in the table and not in the folder"),
    "vkey": ("la clé de vérification du dossier n'est pas la clé attendue",
             "the verifier key in the folder is not the expected one"),
    "export_end": ("l'export est incomplet : sa ligne de fin manque ou compte autre chose",
                   "the export is incomplete: its closing line is missing or counts otherwise"),
}  # fmt: skip


def short(value: object) -> str:
    """A readable, bounded text of a value found."""
    text = value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
    return text if len(text) <= 200 else text[:200] + "…"


class Faults:
    """Every fault counted; the first ones kept."""

    def __init__(self) -> None:
        self.kept: list[dict] = []
        self.count = 0
        self.first_bad: int | None = None
        self.suspect: int | None = None  # first entry named since a signed root last agreed

    def add(
        self, code: str, table: str, seq: int | None, expected: object, found: object, last: int | None = None
    ) -> None:
        """Note one fault. A signed root tells a span only; an entry already named in it says better where it is."""
        self.count += 1
        place = self.suspect if code == "tree" and self.suspect is not None else seq
        if place is not None and (self.first_bad is None or place < self.first_bad):
            self.first_bad = place
        if self.suspect is None and table in ("ledger_entry", "journal_entry"):
            self.suspect = seq
        if len(self.kept) < FAULTS_SHOWN or place == self.first_bad:
            fr, en = (sentence.format(seq=seq, last=last) for sentence in SENTENCES[code])
            self.kept.append({"code": code, "table": table, "seq": seq, "last": last, "expected": short(expected),
                              "found": short(found), "fr": fr, "en": en})  # fmt: skip

    def in_order(self) -> list[dict]:
        """The faults kept, by place, those without a place last."""
        return sorted(self.kept, key=lambda f: (f["seq"] is None, f["seq"] or 0))[:FAULTS_SHOWN]


# ---------------------------------------------------------------------------------------------------------------
# 5. One entry / une entrée
# ---------------------------------------------------------------------------------------------------------------

# The body has one writing only, so that a pattern is the whole check of its form, members, order and spacing.
BODY = re.compile(
    rb'\{"c":"([0-9a-f]{64})","n":(0|[1-9][0-9]{0,18}),"op":"([a-z]+)",'
    rb'"t":"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6})Z","v":1\}'
)
RECORD = {"n", "action", "actor", "recording", "motive", "recipients", "detail"}
ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
WITHHELD = "withheld"  # an export without personal data


def no_such_number(text: str) -> None:
    """Floats and NaN have no place in canonical JSON."""
    raise ValueError("not an integer: " + text[:20])


def no_duplicates(pairs: list) -> dict:
    """An object's members, each once."""
    if len(dict(pairs)) != len(pairs):
        raise ValueError("duplicate member")
    return dict(pairs)


DECODER = json.JSONDecoder(parse_float=no_such_number, parse_constant=no_such_number)
STRICT_DECODER = json.JSONDecoder(
    parse_float=no_such_number, parse_constant=no_such_number, object_pairs_hook=no_duplicates
)


def canonical(raw: bytes) -> object:
    """The value of canonical JSON; ValueError when written otherwise (spaces, order, duplicates, escapes, floats)."""
    text = raw.decode()
    value = DECODER.decode(text)
    if ENCODER.encode(value) != text:
        STRICT_DECODER.decode(text)
        raise ValueError("not in canonical form: " + repr(text[:120]))
    return value


def is_text(value: object, or_null: bool = False) -> bool:
    """Whether a member is a text (or null)."""
    return isinstance(value, str) or (or_null and value is None)


def read_record(raw: bytes) -> dict:
    """The record of a journal row; ValueError when it has not the exact members and types of the format."""
    value = canonical(raw)
    if not isinstance(value, dict) or value.keys() != RECORD:
        raise ValueError("members are not those of a record")
    actor, recipients = value["actor"], value["recipients"]
    if not (
        type(value["n"]) is int
        and is_text(value["action"])
        and isinstance(actor, dict)
        and actor.keys() == {"id", "label"}
        and is_text(actor["id"], or_null=True)
        and is_text(actor["label"])
        and is_text(value["recording"], or_null=True)
        and is_text(value["motive"], or_null=True)
        and isinstance(recipients, list)
        and all(map(is_text, recipients))
        and isinstance(value["detail"], dict)
    ):
        raise ValueError("a member has the wrong type")
    return value


def form_of(raw: bytes) -> str:
    """What can be said of bytes that should have been a body."""
    try:
        canonical(raw)
    except (ValueError, RecursionError) as error:
        return f"{error}: {raw[:120]!r}"
    return repr(raw[:160])


def is_instant(text: str) -> bool:
    """Whether the text is a date and time that exist."""
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


class Entries:
    """Checks entries in the order of the ledger."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.before = ""
        self.expected = 0
        self.withheld = 0

    def check(self, seq: int, body: bytes, stored_leaf: bytes, journal: object) -> bytes:
        """Check one entry; returns the leaf hash of its stored bytes."""
        add = self.faults.add
        if seq > self.expected:
            add("entry_missing", "ledger_entry", self.expected, self.expected, seq, last=seq - 1)
        elif seq < self.expected:
            add("entry_unexpected", "ledger_entry", seq, self.expected, seq)
        self.expected = max(self.expected, seq + 1)
        leaf = sha256(b"\x00" + body)
        if leaf != stored_leaf:
            add("leaf_hash", "ledger_entry", seq, leaf.hex(), stored_leaf.hex())
        match = BODY.fullmatch(body)
        committed, place, operation, instant = (part.decode() for part in match.groups()) if match else [""] * 4
        dated = is_instant(instant)
        if not match or operation not in OPERATIONS or not dated:
            add("body_form", "ledger_entry", seq, "canonical JSON of v, n, t, op, c", form_of(body))
        elif int(place) != seq:
            add("place", "ledger_entry", seq, f"n={seq}", f"n={int(place)}")
        if journal is WITHHELD:
            self.withheld += 1
        elif journal is None:
            add("journal_missing", "journal_entry", seq, "one row", "none")
        elif match:
            self.check_journal(seq, journal, int(place), committed, operation, instant)
        if dated:
            self.before = instant
        return leaf

    def check_journal(self, seq: int, journal: tuple, place: int, committed: str, operation: str, instant: str) -> None:
        """Check the journal row against the body: commitment, form, columns, clock."""
        record_bytes, salt, columns = journal
        found = sha256(salt + record_bytes).hex()
        if len(salt) != 32 or found != committed:
            self.faults.add("commitment", "journal_entry", seq, committed, found)
        try:
            record = read_record(record_bytes)
        except (ValueError, RecursionError) as error:
            expected = "canonical JSON of n, action, actor, recording, motive, recipients, detail"
            self.faults.add("record_form", "journal_entry", seq, expected, error)
            return
        if record["n"] != place:
            self.faults.add("record_form", "journal_entry", seq, f"n={place}", f"n={record['n']}")
        if columns is not None:
            sealed = (instant.replace("T", " "), operation, record["action"], record["actor"]["id"],
                      record["recording"])  # fmt: skip
            sealed_bytes = tuple(None if each is None else each.encode() for each in sealed)
            if sealed_bytes != columns:
                self.name_columns(seq, sealed_bytes, columns)
        flagged = "clock_went_back" in record["detail"]
        back = instant < self.before
        if back and not flagged:
            self.faults.add("clock", "ledger_entry", seq, f"t >= {self.before}, or clock_went_back", instant)
        elif flagged and not (back and record["detail"]["clock_went_back"] is True):
            self.faults.add("clock_flag", "journal_entry", seq, "no clock_went_back", f"{self.before}, {instant}")

    def name_columns(self, seq: int, sealed: tuple, columns: tuple) -> None:
        """One fault for each column that differs."""
        for name, expected, found in zip(COLUMNS, sealed, columns):  # noqa: B905 (Python 3.9 has no strict)
            if expected != found:
                self.faults.add("column", "journal_entry", seq, f"{name}={short(expected)}", f"{name}={short(found)}")


# ---------------------------------------------------------------------------------------------------------------
# 6. Where entries are read from / les sources
# ---------------------------------------------------------------------------------------------------------------

COLUMNS = ("at", "operation", "action", "actor_id", "recording_id")


@contextmanager
def open_sqlite(path: Path):
    """A reading connection that creates no file beside the database and sees one instant of it.

    With the product running, its own WAL files are used. Without a WAL the file is read as immutable, and watched.
    With a WAL but no shared-memory file (a copy taken as evidence), a temporary copy is read.
    """
    wal, shm = Path(f"{path}-wal"), Path(f"{path}-shm")
    if not path.is_file():
        raise UnreadableError(f"fichier introuvable / no such file: {path}")
    if wal.exists() and not shm.exists():
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "copy.db"
            shutil.copyfile(path, copy)
            shutil.copyfile(wal, f"{copy}-wal")
            with reading(f"{copy.as_uri()}") as connection:
                yield connection
        return
    still = not wal.exists()
    before = path.stat()
    with reading(f"{path.resolve().as_uri()}?mode=ro" + ("&immutable=1" if still else "")) as connection:
        yield connection
    after = path.stat()
    if still and (wal.exists() or (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size)):
        raise UnreadableError("la base a changé pendant la lecture, recommencez / database changed, run again")


@contextmanager
def reading(uri: str):
    """A connection inside one read transaction."""
    connection = sqlite3.connect(uri, uri=True, isolation_level=None)
    try:
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute("BEGIN")
        yield connection
    finally:
        connection.close()


class SqliteSource:
    """The tables of a SQLite database. Every column is read as its bytes, whatever its type."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        kinds = dict(connection.execute("SELECT name, type FROM sqlite_master"))
        for table in ("ledger_entry", "journal_entry", "ledger_head", "checkpoint"):
            if kinds.get(table) != "table":
                raise UnreadableError(f"pas de table {table} / there is no table {table}")

    def rows(self, query: str):
        """Rows of a query, a few thousand at a time."""
        cursor = self.connection.execute(query)
        while True:
            page = cursor.fetchmany(4096)
            if not page:
                return
            yield from page

    def entries(self):
        """(seq, body, leaf hash, journal) by increasing seq."""
        columns = ", ".join(f"CAST(j.{name} AS BLOB)" for name in (*COLUMNS, "record", "salt"))
        query = (
            f"SELECT e.seq, CAST(e.body AS BLOB), CAST(e.leaf_hash AS BLOB), j.seq, {columns} "  # noqa: S608
            "FROM ledger_entry e LEFT JOIN journal_entry j ON j.seq = e.seq ORDER BY e.seq"
        )
        for row in self.rows(query):
            journal = None if row[3] is None else (row[9] or b"", row[10] or b"", row[4:9])
            yield row[0], row[1] or b"", row[2] or b"", journal

    def checkpoints(self) -> dict:
        """Size → (root column, note bytes)."""
        query = "SELECT size, CAST(root AS BLOB), CAST(note AS BLOB) FROM checkpoint ORDER BY size"
        return {size: (root or b"", note or b"") for size, root, note in self.rows(query)}

    def finish(self, tree: Tree, faults: Faults) -> None:
        """Journal rows without entry, and the head."""
        query = "SELECT seq FROM journal_entry WHERE seq NOT IN (SELECT seq FROM ledger_entry) ORDER BY seq"
        for (seq,) in self.rows(query):
            faults.add("journal_extra", "journal_entry", seq, "a ledger entry", "none")
        edge = b"".join(node for _, node in tree.edge)
        expected = [(b"1", str(tree.size).encode(), edge)]
        query = "SELECT CAST(id AS BLOB), CAST(size AS BLOB), CAST(frontier AS BLOB) FROM ledger_head LIMIT 2"
        found = list(self.rows(query))
        if found != expected and not (tree.size == 0 and not found):
            faults.add("head", "ledger_head", tree.size, f"{tree.size} {edge.hex()}", found or "no row")


class ExportSource:
    """A ledger exported as JSON lines; its checkpoints, at the end, are read once the entries are."""

    def __init__(self, path: Path, faults: Faults, records: bool = False) -> None:
        self.path = path
        self.faults = faults
        self.records = records  # whether the export says that it holds the journal's records
        self.notes: dict[int, bytes] = {}  # size → note
        self.end: object = None

    def entries(self):
        """(seq, body, leaf hash, journal) in the file's order."""
        count = 0
        with self.path.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                try:
                    value = STRICT_DECODER.decode(line.decode())
                    if "body" in value:
                        entry = self.entry(value)
                        count += 1
                        yield entry
                    elif "checkpoint" in value:
                        self.notes[int(value["size"])] = value["checkpoint"].encode("utf-8", "surrogatepass")
                    else:
                        self.end = value["end"]
                except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                    raise UnreadableError(f"ligne {number} illisible / unreadable line {number}: {error}") from error
        end = {"entries": count, "checkpoints": len(self.notes), "records": self.records}
        if self.end != end:
            self.faults.add("export_end", self.path.name, count, end, self.end)

    def entry(self, value: dict) -> tuple:
        """One line's entry."""
        if type(value["seq"]) is not int:
            raise ValueError("seq is not an integer")
        body, leaf = base64.b64decode(value["body"], validate=True), bytes.fromhex(value["leaf"])
        if value["record"] is None:
            return value["seq"], body, leaf, None if self.records else WITHHELD
        record = value["record"].encode("utf-8", "surrogatepass")
        return value["seq"], body, leaf, (record, bytes.fromhex(value["salt"]), None)


# ---------------------------------------------------------------------------------------------------------------
# 7. Checkpoints against the tree / les points de contrôle contre l'arbre
# ---------------------------------------------------------------------------------------------------------------

NOTE_NAME = re.compile(r"([0-9]{12,19})\.note")


def note_name(size: int) -> str:
    """Name of the file of the checkpoint of this size."""
    return f"{size:012d}.note"


def read_folder(folder: Path) -> dict:
    """Size by its name → bytes of each checkpoint file."""
    if not folder.is_dir():
        raise UnreadableError(f"dossier introuvable / no such folder: {folder}")
    files = {}
    for path in folder.iterdir():
        match = NOTE_NAME.fullmatch(path.name)
        if match and path.is_file():
            with path.open("rb") as stream:
                files[int(match[1])] = stream.read(MAX_NOTE_BYTES + 1)
    return files


class Checkpoints:
    """The signed statements, and how the tree stands against them."""

    def __init__(self, faults: Faults, key: Key | None, all_signatures: bool) -> None:
        self.faults, self.key, self.all_signatures = faults, key, all_signatures
        self.roots: dict[int, set[bytes]] = {}
        self.signatures = self.verified = 0
        self.agreed = 0
        self.broken = False

    def read(self, rows: dict, files: dict) -> None:
        """Read every checkpoint, of the table (or export) then of the folder; the same bytes are read once."""
        sizes = sorted(rows.keys() | files.keys())
        recent = set(sizes if self.all_signatures else sizes[-SIGNATURES_CHECKED:])
        for size in sizes:
            if size in rows:
                root, note = rows[size]
                head = self.open("checkpoint", size, note, size in recent)
                if head is not None and (head[0] != size or root not in (None, head[1])):
                    found = f"{size} {(root or b'').hex()}"
                    self.faults.add("checkpoint_columns", "checkpoint", size, f"{head[0]} {head[1].hex()}", found)
            if size in files and (size not in rows or rows[size][1] != files[size]):
                head = self.open(note_name(size), size, files[size], size in recent)
                if head is not None and head[0] != size:
                    self.faults.add("checkpoint_columns", note_name(size), size, head[0], size)

    def open(self, table: str, size: int, data: bytes, verify: bool) -> tuple | None:
        """(size, root) of a checkpoint whose signature is right, or is not to be verified."""
        try:
            text, signatures = read_note(data)
            origin, told, root = read_tree_head(text)
        except ValueError as error:
            self.faults.add("checkpoint_form", table, size, "a checkpoint note", error)
            return None
        if self.key is not None:
            self.signatures += 1
            self.verified += verify
            fault = self.key.fault_in(text, signatures, verify)
            if fault is None and origin != self.key.name:
                fault = "origin " + origin
            if fault is not None:
                self.faults.add("checkpoint_signature", table, size, self.key.line, fault)
                return None
        self.roots.setdefault(told, set()).add(root)
        return told, root

    def meet(self, size: int, root: bytes) -> None:
        """Compare the tree's root with what was signed at this size."""
        if self.roots[size] == {root}:
            self.agreed, self.broken = size, False
            self.faults.suspect = None
        elif not self.broken:
            expected = ", ".join(sorted(each.hex() for each in self.roots[size]))
            first = min(self.agreed, max(size - 1, 0))
            self.faults.add("tree", "ledger_entry", first, expected, root.hex(), last=size - 1)
            self.broken = True

    def finish(self, size: int) -> None:
        """A checkpoint greater than the ledger: its end is gone."""
        greatest = max(self.roots, default=0)
        if greatest > size:
            self.faults.add("truncated", "ledger_entry", size, f"{greatest} entries", f"{size} entries")


def compare_folder(folder: Path, rows: dict, files: dict, faults: Faults) -> None:
    """The table and the folder hold the same checkpoints. The newest file may be a moment late."""
    for size in sorted(rows.keys() | files.keys()):
        if size not in rows:
            faults.add("checkpoint_row_missing", "checkpoint", size, "a row", note_name(size) + " alone")
        elif size not in files:
            for _ in range(20 if size == max(rows) else 0):
                if (folder / note_name(size)).exists():
                    break
                time.sleep(0.1)
            if not (folder / note_name(size)).exists():
                faults.add("checkpoint_file_missing", note_name(size), size, "a file", "the row alone")
        elif files[size] != rows[size][1]:
            faults.add("checkpoint_differs", note_name(size), size, rows[size][1], files[size])


# ---------------------------------------------------------------------------------------------------------------
# 8. The whole verification / le contrôle complet
# ---------------------------------------------------------------------------------------------------------------


def walk(entries, checks: Entries, checkpoints: Checkpoints) -> Tree:
    """The tree over all entries, each checked, compared with every checkpoint on the way."""
    tree = Tree()
    if 0 in checkpoints.roots:
        checkpoints.meet(0, tree.root())
    for seq, body, leaf, journal in entries:
        tree.add(checks.check(seq, body, leaf, journal))
        if tree.size in checkpoints.roots:
            checkpoints.meet(tree.size, tree.root())
    return tree


def verify_database(path: Path, folder: Path | None, checkpoints: Checkpoints, checks: Entries) -> tuple[Tree, int]:
    """Check a SQLite database, with the folder of checkpoints when given."""
    faults = checks.faults
    files = {} if folder is None else read_folder(folder)  # before the database: what is signed later is not missed
    with open_sqlite(path) as connection:
        source = SqliteSource(connection)
        rows = source.checkpoints()
        checkpoints.read(rows, files)
        tree = walk(source.entries(), checks, checkpoints)
        source.finish(tree, faults)
    checkpoints.finish(tree.size)
    if folder is not None:
        compare_folder(folder, rows, files, faults)
    return tree, len(rows.keys() | files.keys())


def verify_export(path: Path, folder: Path | None, checkpoints: Checkpoints, checks: Entries) -> tuple[Tree, int]:
    """Check an export: a first reading gathers its checkpoints, the second one checks."""
    if not path.is_file():
        raise UnreadableError(f"fichier introuvable / no such file: {path}")
    first = ExportSource(path, Faults())
    for _ in first.entries():
        pass
    files = {} if folder is None else read_folder(folder)
    checkpoints.read({size: (None, note) for size, note in first.notes.items()}, files)
    records = isinstance(first.end, dict) and first.end.get("records") is True
    tree = walk(ExportSource(path, checks.faults, records).entries(), checks, checkpoints)
    checkpoints.finish(tree.size)
    return tree, len(first.notes.keys() | files.keys())


def find_key(given: str | None, folder: Path | None) -> tuple[Key | None, bool]:
    """(key, whether it was given): --vkey as a file or as the line itself, else the folder's own `vkey`."""
    if given is not None:
        path = Path(given)
        is_file = len(given) < 4096 and "\n" not in given and path.is_file()
        return Key(path.read_text(encoding="utf-8") if is_file else given), True
    if folder is not None and (folder / "vkey").is_file():
        return Key((folder / "vkey").read_text(encoding="utf-8")), False
    return None, False


def remarks(checks: Entries, checkpoints: Checkpoints, given: bool) -> list[tuple[str, str]]:
    """What the reader must know beyond faults, (French, English)."""
    said = []
    if checkpoints.key is None:
        said.append(("aucune clé : les signatures n'ont PAS été vérifiées, un faussaire a pu tout recalculer",
                     "no key: signatures were NOT verified, a forger may have recomputed everything"))  # fmt: skip
    elif not given:
        said.append((f"clé prise dans le dossier contrôlé : comparez-la à celle que vous tenez d'ailleurs "
                     f"({checkpoints.key.line})",
                     "key taken from the folder under examination: compare it with one held elsewhere"))  # fmt: skip
    if not checkpoints.roots:
        said.append(("aucun point de contrôle : rien ne prouve que le registre n'a pas été recalculé",
                     "no checkpoint: nothing proves that the ledger was not recomputed"))  # fmt: skip
    if checkpoints.verified < checkpoints.signatures:
        said.append((f"{checkpoints.verified} signatures vérifiées sur {checkpoints.signatures}, les plus récentes "
                     "(toutes avec --all-signatures)",
                     f"{checkpoints.verified} of {checkpoints.signatures} signatures verified, the latest "
                     "(all with --all-signatures)"))  # fmt: skip
    if checks.withheld:
        said.append((f"{checks.withheld} textes de journal non communiqués, donc non vérifiés",
                     f"{checks.withheld} journal records withheld, hence not checked"))  # fmt: skip
    return said


def verify(options: argparse.Namespace) -> dict:
    """Run the whole verification; the result is what --json prints."""
    began = time.monotonic()
    folder = None if options.checkpoints is None else Path(options.checkpoints)
    key, given = find_key(options.vkey, folder)
    faults = Faults()
    checks, checkpoints = Entries(faults), Checkpoints(faults, key, options.all_signatures)
    if options.database is not None:
        tree, count = verify_database(Path(options.database), folder, checkpoints, checks)
    else:
        tree, count = verify_export(Path(options.export), folder, checkpoints, checks)
    if given and folder is not None and (folder / "vkey").is_file():
        beside = (folder / "vkey").read_bytes().rstrip(b"\n")
        if beside != key.line.encode():
            faults.add("vkey", "vkey", None, key.line, beside)
    return {
        "ok": faults.count == 0,
        "entries": tree.size,
        "root": tree.root().hex(),
        "checkpoints": count,
        "signatures": checkpoints.signatures,
        "signatures_verified": checkpoints.verified,
        "vkey": None if key is None else key.line,
        "records_withheld": checks.withheld,
        "first_bad": faults.first_bad,
        "fault_count": faults.count,
        "faults": faults.in_order(),
        "remarks": [{"fr": fr, "en": en} for fr, en in remarks(checks, checkpoints, given)],
        "seconds": round(time.monotonic() - began, 3),
    }


def show(result: dict) -> None:
    """Print the result for a person, French then English."""
    sound = result["ok"]
    print("CONFORME / SOUND" if sound else "ANOMALIE / FAULT FOUND")
    print(f"  entrées / entries            : {result['entries']}")
    print(f"  racine / root (SHA-256)      : {result['root']}")
    print(f"  points de contrôle / checkpoints : {result['checkpoints']}")
    print(f"  signatures vérifiées / verified  : {result['signatures_verified']} / {result['signatures']}")
    print(f"  clé / key                    : {result['vkey'] or '—'}")
    for each in result["remarks"]:
        print(f"  ! {each['fr']}\n    {each['en']}")
    if sound:
        return
    first = "—" if result["first_bad"] is None else result["first_bad"]
    print(f"  première place fautive / first bad sequence number : {first}")
    print(f"  anomalies / faults           : {result['fault_count']} ({len(result['faults'])} ci-dessous / below)")
    for fault in result["faults"]:
        place = "—" if fault["seq"] is None else fault["seq"]
        print(f"\n  [{place}] {fault['code']} ({fault['table']})")
        print(f"    {fault['fr']}\n    {fault['en']}")
        print(f"    attendu / expected : {printable(fault['expected'])}")
        print(f"    trouvé / found     : {printable(fault['found'])}")


def printable(text: str) -> str:
    """Text that cannot move a terminal's cursor."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    parser = argparse.ArgumentParser(
        description="Contrôle indépendant du registre de bwc / independent verifier of bwc's custody ledger."
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--database", metavar="FILE", help="base SQLite / SQLite database")
    source.add_argument("--export", metavar="FILE", help="registre exporté / exported ledger (JSON lines)")
    parser.add_argument("--checkpoints", metavar="FOLDER", help="dossier des points de contrôle / their folder")
    parser.add_argument("--vkey", metavar="KEY", help="clé attendue, fichier ou texte / expected key, file or text")
    parser.add_argument("--all-signatures", action="store_true", help="toutes les signatures / every signature")
    parser.add_argument("--json", action="store_true", help="résultat pour une machine / result for a machine")
    options = parser.parse_args(arguments)
    try:
        result = verify(options)
    except (UnreadableError, OSError, sqlite3.Error, UnicodeDecodeError) as error:
        print(f"ILLISIBLE / UNREADABLE : {error}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps(result, ensure_ascii=False, indent=1))
    else:
        show(result)
    return 0 if result["ok"] else 4


if __name__ == "__main__":
    sys.exit(main())
