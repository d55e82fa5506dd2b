"""What someone who owns the database may do to the ledger, and that both verifiers find it (L01–L06, L10, L11, L15).

Each attack names the place that must be reported first and one code that must be among the faults. `exported`
False marks what an export does not carry, hence the tool cannot see on PostgreSQL.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import text

from bwc.chain_of_custody.note import Signer, TreeHead
from bwc.db.engine import Database
from tests.integration.ledger_helpers import (
    SIGNED,
    SIGNER,
    SIZE,
    START,
    Row,
    build,
    disarm,
    execute,
    read_rows,
    rewrite,
    run_tool,
    verify_twice,
)


@dataclass(frozen=True)
class Attack:
    name: str
    seq: int | None
    code: str
    do: Callable[[Database, Path], None]
    exported: bool = True


def sql(statement: str, **values: object) -> Callable[[Database, Path], None]:
    return lambda database, folder: execute(database, statement, **values)


def set_column(name: str, value: str) -> Callable[[Database, Path], None]:
    return sql(f"UPDATE journal_entry SET {name} = {value} WHERE seq = 8")


def change(make: Callable[[list[Row]], list[Row]], *, head: bool = True) -> Callable[[Database, Path], None]:
    return lambda database, folder: rewrite(database, make, head=head)


def at(place: int, make: Callable[[Row], Row]) -> Callable[[Database, Path], None]:
    return change(lambda rows: [make(row) if row.seq == place else row for row in rows])


def body(old: bytes, new: bytes, *, leaf: bool = True) -> Callable[[Row], Row]:
    def make(row: Row) -> Row:
        assert old in row.body
        changed = row.body.replace(old, new, 1)
        return replace(row, body=changed, leaf_hash=hash_of(changed) if leaf else row.leaf_hash)

    return make


def record(pattern: str, new: str) -> Callable[[Row], Row]:
    """A record written otherwise, its commitment, body and leaf recomputed over those very bytes."""

    def make(row: Row) -> Row:
        changed, count = re.subn(pattern, new.replace("\\", "\\\\"), row.record or "", count=1)
        assert count == 1
        return replace(row, record=changed).resealed()

    return make


def hash_of(data: bytes) -> bytes:
    return sha256(b"\0" + data).digest()


def renumber(rows: list[Row]) -> list[Row]:
    return [replace(row, seq=place) for place, row in enumerate(rows)]


def reseal(rows: list[Row]) -> list[Row]:
    return [row.resealed(seq=place) for place, row in enumerate(rows)]


def swap(rows: list[Row], a: int, b: int) -> list[Row]:
    rows = list(rows)
    rows[a], rows[b] = rows[b], rows[a]
    return rows


def swap_under_old_times(rows: list[Row]) -> list[Row]:
    times = [datetime.fromisoformat(row.at) for row in rows]
    return [
        row.resealed(seq=place, at=time) for place, (row, time) in enumerate(zip(swap(rows, 1, 2), times, strict=True))
    ]


def insert_backdated(rows: list[Row]) -> list[Row]:
    return [*rows[:6], rows[6].sealed(motive="ajouté après coup"), *rows[6:]]


def set_clock_back(row: Row) -> Row:
    return row.resealed(at=START - timedelta(days=1))


def forget_tail(database: Database, folder: Path) -> None:
    rewrite(database, lambda rows: rows[:7])
    execute(database, "DELETE FROM checkpoint WHERE size > 7")


def edit_file(size: int, old: bytes, new: bytes) -> Callable[[Database, Path], None]:
    def do(database: Database, folder: Path) -> None:
        path = folder / f"{size:012d}.note"
        data = path.read_bytes()
        assert old in data
        path.write_bytes(data.replace(old, new))

    return do


def rename_file(database: Database, folder: Path) -> None:
    (folder / "000000000009.note").rename(folder / "000000000010.note")


def remove_file(database: Database, folder: Path) -> None:
    (folder / "000000000005.note").unlink()


def replace_vkey(database: Database, folder: Path) -> None:
    (folder / "vkey").write_text(STRANGER.verifier.vkey())


def second_signature(note: str) -> str:
    return note + re.sub(r"(— \S+ \S{20})....", r"\1AAAA", note.rpartition("\n\n")[2])


def not_utf8(row: Row) -> Row:
    return replace(row, body=b"\xff", leaf_hash=hash_of(b"\xff"))


def note_everywhere(make: Callable[[str], str], size: int = 9) -> Callable[[Database, Path], None]:
    def do(database: Database, folder: Path) -> None:
        path = folder / f"{size:012d}.note"
        changed = make(path.read_bytes().decode())
        path.write_bytes(changed.encode())
        execute(database, "UPDATE checkpoint SET note = :note WHERE size = :size", note=changed, size=size)

    return do


def edit_note(old: str, new: str) -> Callable[[Database, Path], None]:
    return note_everywhere(lambda note: note.replace(old, new))


def sign_again(signer: Signer) -> Callable[[Database, Path], None]:
    """The thief's key: history rewritten and signed anew, the folder's vkey too."""

    def do(database: Database, folder: Path) -> None:
        for size in SIGNED:
            with database.read() as session:
                root = session.execute(text("SELECT root FROM checkpoint WHERE size = :s"), {"s": size}).scalar_one()
            note_everywhere(lambda _, size=size, root=root: sign(signer, size, bytes(root)), size)(database, folder)
        (folder / "vkey").write_text(signer.verifier.vkey() + "\n")

    return do


def sign(signer: Signer, size: int, root: bytes) -> str:
    return signer.sign(TreeHead(signer.name, size, root).text()).format()


def stray_file(size: int) -> Callable[[Database, Path], None]:
    def do(database: Database, folder: Path) -> None:
        (folder / f"{size:012d}.note").write_text(sign(SIGNER, size, bytes(32)), encoding="utf-8")

    return do


THIEF = Signer(SIGNER.name, Ed25519PrivateKey.from_private_bytes(b"t" * 32))
STRANGER = Signer("bwc/other", Ed25519PrivateKey.from_private_bytes(b"s" * 32))

ATTACKS = [
    # L01 edit
    Attack("body", 4, "leaf_hash", at(4, body(b'"op":"consultation"', b'"op":"effacement"', leaf=False))),
    Attack("body and leaf", 4, "column", at(4, body(b"consultation", b"effacement")), exported=False),
    Attack("leaf hash", 6, "leaf_hash", sql("UPDATE ledger_entry SET leaf_hash = :h WHERE seq = 6", h=b"x" * 32)),
    Attack("short leaf hash", 6, "leaf_hash", sql("UPDATE ledger_entry SET leaf_hash = :h WHERE seq = 6", h=b"")),
    Attack("record", 7, "commitment", at(7, lambda row: replace(row, record=row.record.replace("7", "8")))),
    Attack("salt", 10, "commitment", sql("UPDATE journal_entry SET salt = :s WHERE seq = 10", s=b"s" * 32)),
    Attack("empty salt", 10, "commitment", sql("UPDATE journal_entry SET salt = :s WHERE seq = 10", s=b"")),
    *(
        Attack(f"column {name}", 8, "column", set_column(name, value), exported=False)
        for name, value in {
            "at": "'2026-11-22 00:00:00.000000'",
            "operation": "'collecte'",
            "action": "'recording.taken_in'",
            "actor_id": "NULL",
            "recording_id": "'01J0000000000000000000REC2'",
        }.items()
    ),
    Attack("record resealed under a checkpoint", 5, "tree", at(7, lambda row: row.sealed(motive="autre"))),
    Attack("record resealed in the first span", 0, "tree", at(0, lambda row: row.sealed(motive="autre"))),
    Attack("record of another place", 11, "record_form", at(11, lambda row: row.sealed(n=10))),
    Attack("journal row gone", 3, "journal_missing", sql("DELETE FROM journal_entry WHERE seq = 3")),
    Attack(
        "journal row too many",
        99,
        "journal_extra",
        sql(
            "INSERT INTO journal_entry SELECT 99, at, operation, action, actor_id, recording_id, record, salt "
            "FROM journal_entry WHERE seq = 3"
        ),
        exported=False,
    ),
    # L02 delete
    Attack("entry deleted", 6, "entry_missing", change(lambda rows: [r for r in rows if r.seq != 6])),
    Attack("first entries deleted", 0, "entry_missing", change(lambda rows: rows[3:])),
    # L03 renumber
    Attack("deleted and renumbered", 6, "place", change(lambda rows: renumber(rows[:6] + rows[7:]))),
    Attack("deleted and resealed", 5, "tree", change(lambda rows: reseal(rows[:6] + rows[7:]))),
    Attack("shifted from zero", 0, "entry_missing", change(lambda rows: [replace(r, seq=r.seq + 1) for r in rows])),
    Attack("negative place", -3, "entry_unexpected", change(lambda rows: [replace(rows[0], seq=-3), *rows[1:]])),
    # L04 swap
    Attack("swapped", 2, "place", change(lambda rows: renumber(swap(rows, 2, 3)))),
    Attack("swapped and resealed", 2, "clock", change(lambda rows: reseal(swap(rows, 1, 2)))),
    Attack("swapped and resealed, times in order", 0, "tree", change(swap_under_old_times)),
    # L05 insert
    Attack("inserted", 7, "place", change(lambda rows: renumber(insert_backdated(rows)))),
    Attack("inserted and resealed", 5, "tree", change(lambda rows: reseal(insert_backdated(rows)))),
    # L06 truncate
    Attack("truncated", 7, "truncated", change(lambda rows: rows[:7])),
    Attack("truncated, table's checkpoint too", 7, "truncated", forget_tail),
    Attack("emptied", 0, "truncated", change(lambda rows: [])),
    # clock
    Attack("dated back without a word", 10, "clock", at(10, set_clock_back)),
    Attack(
        "flag without cause",
        10,
        "clock_flag",
        at(10, lambda row: row.sealed(detail={"number": 10, "clock_went_back": True})),
    ),
    Attack("flag that says no", 7, "clock_flag", at(7, lambda row: row.sealed(detail={"clock_went_back": False}))),
    # L15 encodings
    Attack("body with a space", 9, "body_form", at(9, body(b",", b", "))),
    Attack("body with a duplicate", 9, "body_form", at(9, body(b'"n":9', b'"n":9,"n":9'))),
    Attack("body with an extra member", 9, "body_form", at(9, body(b'"v":1', b'"v":1,"w":1'))),
    Attack("body with another version", 9, "body_form", at(9, body(b'"v":1', b'"v":2'))),
    Attack("body with a leading zero", 9, "body_form", at(9, body(b'"n":9', b'"n":09'))),
    Attack("body with NaN", 9, "body_form", at(9, body(b'"v":1', b'"v":NaN'))),
    Attack("body with an unknown operation", 9, "body_form", at(9, body(b"collecte", b"oubli"))),
    Attack("body with a day that is not", 9, "body_form", at(9, body(b"2026-11-22", b"2026-02-30"))),
    Attack("body with an escape", 9, "body_form", at(9, body(b"collecte", b"coll\\u0065cte"))),
    Attack("body that is no text", 9, "body_form", at(9, not_utf8)),
    Attack("record with a space", 11, "record_form", at(11, record(",", ", "))),
    Attack("record with a duplicate", 11, "record_form", at(11, record('"n":11', '"n":11,"n":11'))),
    Attack("record with NaN", 11, "record_form", at(11, record('"number":11', '"number":NaN'))),
    Attack("record with a float", 11, "record_form", at(11, record('"number":11', '"number":11.0'))),
    Attack("record with U+2028 escaped", 11, "record_form", at(11, record("procédure", "proc\\u2028"))),
    # checkpoints, L10, L11
    Attack(
        "checkpoint root column",
        9,
        "checkpoint_columns",
        sql("UPDATE checkpoint SET root = :r WHERE size = 9", r=b"r" * 32),
        exported=False,
    ),
    Attack(
        "checkpoint resized",
        8,
        "checkpoint_columns",
        sql("UPDATE checkpoint SET size = 8 WHERE size = 9"),
        exported=False,
    ),
    Attack(
        "checkpoint row gone",
        5,
        "checkpoint_row_missing",
        sql("DELETE FROM checkpoint WHERE size = 5"),
        exported=False,
    ),
    Attack("checkpoint file gone", 5, "checkpoint_file_missing", remove_file, exported=False),
    Attack("checkpoint file edited", 5, "checkpoint_form", edit_file(5, b"\n5\n", b"\n05\n")),
    Attack("checkpoint file renamed", 9, "checkpoint_file_missing", rename_file, exported=False),
    Attack("checkpoint size edited", 9, "checkpoint_signature", edit_note("\n9\n", "\n8\n"), exported=False),
    Attack("checkpoint with CRLF", 9, "checkpoint_form", edit_note("\n", "\r\n")),
    Attack("checkpoint with leading zeros", 9, "checkpoint_form", edit_note("\n9\n", "\n009\n")),
    Attack("checkpoint with a huge size", 9, "checkpoint_form", edit_note("\n9\n", f"\n{'9' * 30}\n")),
    Attack(
        "checkpoint of a stranger",
        9,
        "checkpoint_signature",
        note_everywhere(lambda note: sign(STRANGER, 9, bytes(32))),
    ),
    Attack(
        "checkpoint of another origin",
        9,
        "checkpoint_signature",
        note_everywhere(lambda note: SIGNER.sign(TreeHead("bwc/other", 9, bytes(32)).text()).format()),
    ),
    Attack("a wrong second signature by the key", 9, "checkpoint_signature", note_everywhere(second_signature)),
    Attack("signed again by a thief", 5, "checkpoint_signature", sign_again(THIEF)),
    Attack("a greater checkpoint in the folder", SIZE, "truncated", stray_file(40)),
    Attack("another root signed in the folder", 9, "tree", stray_file(10)),
    Attack("vkey replaced", None, "vkey", replace_vkey),
    # head
    Attack("head frontier", SIZE, "head", sql("UPDATE ledger_head SET frontier = :f", f=b"f" * 64), exported=False),
    Attack("head size", SIZE, "head", sql("UPDATE ledger_head SET size = 11"), exported=False),
    Attack("head gone", SIZE, "head", sql("DELETE FROM ledger_head"), exported=False),
]


@pytest.fixture
def folder(database: Database, tmp_path: Path) -> Path:
    build(database, tmp_path / "checkpoints")
    return tmp_path / "checkpoints"


def test_an_untouched_ledger_is_sound(database: Database, folder: Path, tmp_path: Path) -> None:
    report, told, status = verify_twice(database, folder, tmp_path)
    assert (report.faults, told["faults"], status) == ((), [], 0)
    assert report.ok
    assert told["ok"]
    assert (report.entries, told["entries"]) == (SIZE, SIZE)
    assert (report.checkpoints, told["checkpoints"], told["signatures_verified"]) == (2, 2, 2)
    assert report.root == told["root"]


def test_rewriting_everything_alike_is_sound(database: Database, folder: Path, tmp_path: Path) -> None:
    """The attacker's own tools leave no trace when they change nothing: what the other tests find is the attack."""
    disarm(database)
    rewrite(database, lambda rows: [row.resealed() for row in rows])
    report, told, status = verify_twice(database, folder, tmp_path)
    assert (report.faults, told["faults"], status) == ((), [], 0)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_an_attack_is_found_by_both(database: Database, folder: Path, tmp_path: Path, attack: Attack) -> None:
    disarm(database)
    attack.do(database, folder)
    report, told, status = verify_twice(database, folder, tmp_path)
    assert not report.ok
    assert report.first_bad == attack.seq, report.faults
    named = [fault for fault in report.faults if fault.seq == attack.seq and fault.code == attack.code]
    assert named, report.faults
    assert all(fault.english and fault.french for fault in report.faults)
    if database.is_sqlite or attack.exported:
        assert status == 4
        assert told["first_bad"] == attack.seq, told["faults"]
        assert attack.code in {fault["code"] for fault in told["faults"] if fault["seq"] == attack.seq}
    if database.is_sqlite:
        mine = {(fault.code, fault.table, fault.seq, fault.last) for fault in report.faults}
        assert mine == {(f["code"], f["table"], f["seq"], f["last"]) for f in told["faults"]}
        assert report.fault_count == told["fault_count"]


def test_the_span_of_a_broken_root_is_told(database: Database, folder: Path, tmp_path: Path) -> None:
    disarm(database)
    rewrite(database, lambda rows: [row.sealed(motive="x") if row.seq == 7 else row for row in rows])
    report, told, _ = verify_twice(database, folder, tmp_path)
    assert [(fault.code, fault.seq, fault.last) for fault in report.faults] == [("tree", 5, 8)]
    assert [(fault["code"], fault["seq"], fault["last"]) for fault in told["faults"]] == [("tree", 5, 8)]


def test_unknown_and_repeated_signatures_are_ignored(database: Database, folder: Path, tmp_path: Path) -> None:
    disarm(database)

    def cosigned(note: str) -> str:
        other = STRANGER.sign(note.partition("\n\n")[0] + "\n").signatures[0].line()
        return note + other + note.rpartition("\n\n")[2] + other

    note_everywhere(cosigned)(database, folder)
    report, told, status = verify_twice(database, folder, tmp_path)
    assert (report.faults, told["faults"], status) == ((), [], 0)


def test_faults_are_counted_and_the_first_shown_first(sqlite_database: Database, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    build(sqlite_database, folder)
    disarm(sqlite_database)
    rewrite(sqlite_database, lambda rows: [replace(rows[0], seq=place, salt=b"") for place in range(400)])
    report, told, _ = verify_twice(sqlite_database, folder, tmp_path)
    assert report.fault_count == told["fault_count"] > 400
    assert len(report.faults) == len(told["faults"]) == 50
    assert report.first_bad == told["first_bad"] == 0
    assert report.faults[0].seq == 0


@pytest.mark.parametrize(
    ("column", "value"),
    [("body", "'text'"), ("body", "12345678901"), ("leaf_hash", "'é'"), ("leaf_hash", "3.5"), ("body", "''")],
)
def test_any_type_in_a_sqlite_column_is_a_fault_not_a_crash(
    sqlite_database: Database, tmp_path: Path, column: str, value: str
) -> None:
    folder = tmp_path / "checkpoints"
    build(sqlite_database, folder)
    disarm(sqlite_database)
    execute(sqlite_database, f"UPDATE ledger_entry SET {column} = {value} WHERE seq = 10")
    report, told, status = verify_twice(sqlite_database, folder, tmp_path)
    assert (report.first_bad, told["first_bad"], status) == (10, 10, 4)


@pytest.mark.parametrize("column", ["record", "action", "at", "operation", "actor_id", "salt"])
@pytest.mark.parametrize("value", ["CAST(X'FF' AS TEXT)", "X'00'", "7", "'x'"])
def test_any_type_in_a_sqlite_journal_column_is_a_fault(
    sqlite_database: Database, tmp_path: Path, column: str, value: str
) -> None:
    folder = tmp_path / "checkpoints"
    build(sqlite_database, folder)
    disarm(sqlite_database)
    execute(sqlite_database, f"UPDATE journal_entry SET {column} = {value} WHERE seq = 10")
    report, told, status = verify_twice(sqlite_database, folder, tmp_path)
    assert (report.first_bad, told["first_bad"], status) == (10, 10, 4)


def test_the_tool_speaks_both_languages(sqlite_database: Database, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    build(sqlite_database, folder)
    disarm(sqlite_database)
    rewrite(sqlite_database, lambda rows: rows[:7])
    done = run_tool("--database", str(sqlite_database.file), "--checkpoints", str(folder))
    assert done.returncode == 4
    assert "ANOMALIE / FAULT FOUND" in done.stdout
    assert "le registre s'arrête avant l'entrée 7" in done.stdout
    assert "the ledger stops before entry 7" in done.stdout
    assert "clé prise dans le dossier" in done.stdout
    assert len(read_rows(sqlite_database)) == 7
