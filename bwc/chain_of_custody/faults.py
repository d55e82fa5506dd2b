"""What a verification found: named faults, each with an English and a French sentence, and the report."""

from __future__ import annotations

from dataclasses import dataclass, field

KEPT = 50
_LONGEST = 200
_ENTRY_TABLES = ("ledger_entry", "journal_entry")

_SENTENCES: dict[str, tuple[str, str]] = {
    "entry_missing": ("entries {seq} to {last} are missing", "les entrées {seq} à {last} manquent"),
    "entry_unexpected": ("entry {seq} has no place here", "l'entrée {seq} n'a pas sa place ici"),
    "body_form": (
        "the body of entry {seq} is not in the one form allowed",
        "le corps de l'entrée {seq} n'a pas la forme imposée",
    ),
    "place": ("the body of entry {seq} bears another number", "le corps de l'entrée {seq} porte un autre numéro"),
    "clock": (
        "entry {seq} is dated before the one ahead of it and does not say so",
        "l'entrée {seq} est datée d'avant la précédente sans le dire",
    ),
    "clock_flag": (
        "entry {seq} says the clock went back and it did not",
        "l'entrée {seq} dit que l'horloge a reculé, or non",
    ),
    "leaf_hash": (
        "the body of entry {seq} does not match its stored hash: one of the two was changed",
        "le corps de l'entrée {seq} ne correspond pas à son empreinte : l'un des deux a été modifié",
    ),
    "journal_missing": ("entry {seq} has no journal row", "l'entrée {seq} n'a pas de ligne de journal"),
    "journal_extra": ("journal row {seq} has no entry", "la ligne de journal {seq} n'a pas d'entrée"),
    "commitment": (
        "the journal's record {seq} or its salt is not what the ledger committed to",
        "la ligne de journal {seq}, ou son sel, n'est pas celle que le registre a scellée",
    ),
    "record_form": (
        "the journal's record {seq} is not in the one form allowed",
        "le texte de la ligne de journal {seq} n'a pas la forme imposée",
    ),
    "column": (
        "a column of journal row {seq} differs from its record",
        "une colonne de la ligne de journal {seq} diffère de son texte scellé",
    ),
    "tree": (
        "entries {seq} to {last} are not those that were signed: one of them was changed, added or removed",
        "les entrées {seq} à {last} ne sont pas celles qui ont été signées : l'une a été modifiée, ajoutée ou retirée",
    ),
    "truncated": (
        "the ledger stops before entry {seq}, which was signed: its end was removed",
        "le registre s'arrête avant l'entrée {seq}, pourtant signée : sa fin a été retirée",
    ),
    "head": (
        "the ledger's head does not match its entries",
        "la tête du registre ne correspond pas à ses entrées",
    ),
    "checkpoint_form": (
        "checkpoint {seq} is not a well formed note",
        "le point de contrôle {seq} n'est pas une note bien formée",
    ),
    "checkpoint_signature": (
        "checkpoint {seq} is not signed by the expected key",
        "le point de contrôle {seq} n'est pas signé par la clé attendue",
    ),
    "checkpoint_columns": (
        "checkpoint {seq}: its row or its file's name differs from the signed note",
        "point de contrôle {seq} : la ligne ou le nom du fichier diffère de la note signée",
    ),
    "checkpoint_differs": (
        "checkpoint {seq} is not the same in the table and in the folder",
        "le point de contrôle {seq} n'est pas le même dans la table et dans le dossier",
    ),
    "checkpoint_row_missing": (
        "checkpoint {seq} is in the folder and not in the table",
        "le point de contrôle {seq} est dans le dossier et pas dans la table",
    ),
    "checkpoint_file_missing": (
        "checkpoint {seq} is in the table and not in the folder",
        "le point de contrôle {seq} est dans la table et pas dans le dossier",
    ),
    "vkey": (
        "the verifier key in the folder is not the expected one",
        "la clé de vérification du dossier n'est pas la clé attendue",
    ),
}


@dataclass(frozen=True)
class Fault:
    """One fault. `code` is stable; `seq` is the entry, or the checkpoint's size, None when it has no place; `last`
    ends a range, inclusive; `expected` and `found` are short texts."""

    code: str
    table: str
    seq: int | None
    expected: str
    found: str
    last: int | None = None

    @property
    def english(self) -> str:
        """One sentence for the log."""
        return self._sentence(0, "expected", "found")

    @property
    def french(self) -> str:
        """One sentence for a person."""
        return self._sentence(1, "attendu", "trouvé")

    def _sentence(self, language: int, expected: str, found: str) -> str:
        first = _SENTENCES[self.code][language].format(seq=self.seq, last=self.last)
        return f"{first} ({self.table} ; {expected} : {self.expected} ; {found} : {self.found})."


@dataclass(frozen=True)
class Report:
    """Outcome of a verification: counts of what was read, `root` as 64 hex digits at `entries`, time taken in seconds.

    `faults` holds the first 50, by place; `fault_count` all of them; `first_bad` the lowest place at fault, if any.
    """

    entries: int
    checkpoints: int
    root: str
    seconds: float
    faults: tuple[Fault, ...]
    fault_count: int
    first_bad: int | None

    @property
    def ok(self) -> bool:
        """Whether nothing at all is wrong."""
        return self.fault_count == 0


@dataclass
class Findings:
    """Faults as they are found, entries in order; keeps the first ones, counts all."""

    kept: list[Fault] = field(default_factory=list)
    count: int = 0
    first_bad: int | None = None
    _suspect: int | None = None

    def add(
        self, code: str, table: str, seq: int | None, expected: object, found: object, last: int | None = None
    ) -> None:
        """Note one fault; values are cut to a readable length."""
        self.count += 1
        # A signed root tells a span; an entry of it already named is the better answer to "where does it begin".
        place = self._suspect if code == "tree" and self._suspect is not None else seq
        if place is not None and (self.first_bad is None or place < self.first_bad):
            self.first_bad = place
        if self._suspect is None and table in _ENTRY_TABLES:
            self._suspect = seq
        if len(self.kept) < KEPT or place == self.first_bad:
            self.kept.append(Fault(code, table, seq, _short(expected), _short(found), last))

    def agreed(self) -> None:
        """Say that a signed root covers every entry so far: what was named up to here did not change the tree."""
        self._suspect = None

    def in_order(self) -> tuple[Fault, ...]:
        """The faults kept, those without a place last."""
        return tuple(sorted(self.kept, key=lambda f: (f.seq is None, f.seq or 0))[:KEPT])


def _short(value: object) -> str:
    text = value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
