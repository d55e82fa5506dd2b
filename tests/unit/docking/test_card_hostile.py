"""Every hostile card of tests/golden/cards is survived: bounded work, the witness intact, nothing ever deleted."""

from __future__ import annotations

import itertools
import re
import sys
import unicodedata
from pathlib import Path

import pytest

from bwc.docking import card, fat
from bwc.docking.card import open_card
from bwc.docking.card_delete import delete_file
from bwc.docking.errors import CardError
from card_helpers import MIB, MemoryBlocks, digests, expected, own_card, sample_files

sys.path.insert(0, str(Path(__file__).parents[2] / "golden" / "cards"))
import hostile_cards

MAX_REQUESTS = 3_000
ROOTLESS = {"root_out_of_range.fat32", "root_out_of_range.exfat"}


def hostile_blocks(name: str) -> MemoryBlocks:
    blocks = MemoryBlocks(hostile_cards.make(name))
    blocks.max_requests = MAX_REQUESTS
    return blocks


def read_all(volume: card.Volume, entry: card.CardEntry) -> tuple[bytes, CardError | None]:
    """What can be read of a file, at most 4 MiB, and the error that ended it."""
    parts: list[bytes] = []
    try:
        with volume.open(entry) as stream:
            while sum(map(len, parts)) < 4 * MIB and (part := stream.read(100_000)):
                parts.append(part)
    except CardError as error:
        return b"".join(parts), error
    return b"".join(parts), None


@pytest.mark.parametrize("name", [name for name, case in hostile_cards.CARDS.items() if not case.opens])
def test_a_card_that_cannot_be_opened_is_refused(name: str) -> None:
    with pytest.raises(CardError):
        open_card(hostile_blocks(name))


@pytest.mark.parametrize("name", [name for name, case in hostile_cards.CARDS.items() if case.opens])
def test_a_hostile_card_is_listed_and_never_emptied(name: str) -> None:
    case, blocks = hostile_cards.CARDS[name], hostile_blocks(name)
    volume = open_card(blocks)
    entries = {entry.path: entry for entry in volume.files()}
    damage = volume.damage()
    assert bool(damage) == bool(case.says), damage
    assert not case.says or re.search(re.escape(case.says), "\n".join(damage)), damage
    if name in ROOTLESS:
        assert entries == {}
        return
    for entry in entries.values():
        read_all(volume, entry)
    witness = entries[hostile_cards.WITNESS]
    assert read_all(volume, witness) == (hostile_cards.WITNESS_BYTES, None)
    if damage:
        with pytest.raises(CardError, match="damaged card"):
            delete_file(blocks, volume, witness)
        assert blocks.log == []


@pytest.mark.parametrize("name", [name for name in hostile_cards.CARDS if name.startswith("name_")])
def test_a_hostile_name_is_shown_harmless(name: str) -> None:
    volume = open_card(hostile_blocks(name))
    (entry,) = (e for e in volume.files() if e.size == 3)
    folder, shown = entry.path.split("/")
    assert folder == "un"
    assert shown.strip(". ")
    assert "\\" not in shown
    assert all(unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in shown)
    assert entry.path.encode("utf-8")
    assert re.search(r"~[0-9a-f]{8}(\.\w+)?$", shown)
    with volume.open(entry) as stream:
        assert stream.read() == b"nom"


def test_a_long_name_of_another_file_is_not_believed() -> None:
    volume = open_card(hostile_blocks("long_name_of_another_file.fat32"))
    assert [entry.path for entry in volume.files() if entry.size == 3] == ["un/NOM-A-~1"]


def test_distinct_hostile_names_stay_distinct() -> None:
    raws = [
        "a\x01b",
        "a\x02b",
        "a/b",
        "a\N{DIVISION SLASH}b",
        "a\\b",
        ".",
        "..",
        "...",
        "",
        " ",
        "a\ufffdb",
        "a\ud800b",
        "\0",
        "\0\0",
    ]
    assert len({card.display_name(raw) for raw in raws}) == len(raws)
    assert card.display_name("Été 2026.MP4") == "Été 2026.MP4"


@pytest.mark.parametrize("kind", ["fat32", "exfat"])
@pytest.mark.parametrize(
    ("case", "readable"),
    [
        ("cyclic_chain", None),
        ("chain_shorter_than_size", 2),
        ("chain_into_free_space", 2),
        ("chain_out_of_range", 2),
        ("first_cluster_out_of_range", 0),
        ("size_beyond_the_volume", None),
    ],
)
def test_a_broken_file_reads_up_to_where_it_breaks(kind: str, case: str, readable: int | None) -> None:
    volume = open_card(hostile_blocks(f"{case}.{kind}"))
    entry = next(entry for entry in volume.files() if entry.path == "un/a.mp4")
    data, error = read_all(volume, entry)
    true = hostile_cards.FILES["un/a.mp4"]
    cluster = 512 if kind == "fat32" else 4096
    assert error is not None
    if case == "cyclic_chain":
        readable = 3
    if readable is None:
        assert data[: len(true)] == true
    else:
        assert data == true[: readable * cluster]
        with pytest.raises(CardError):
            volume.open(entry, readable * cluster + 1)


def test_zeros_of_a_file_beyond_belief_are_not_delivered() -> None:
    volume = open_card(hostile_blocks("size_beyond_belief_of_zeros.exfat"))
    entry = next(entry for entry in volume.files() if entry.path == "un/a.mp4")
    assert entry.size == (1 << 64) - 1
    data, error = read_all(volume, entry)
    assert data == b""
    assert error is not None


def test_a_contiguous_file_reads_up_to_the_end_of_the_volume() -> None:
    volume = open_card(hostile_blocks("contiguous_past_the_end.exfat"))
    entry = next(entry for entry in volume.files() if entry.path == "un/a.mp4")
    data, error = read_all(volume, entry)
    assert 0 < len(data) < 2 * MIB
    assert error is not None
    assert "run past the end" in str(error)


def test_two_entries_of_one_name_are_both_listed() -> None:
    for kind in ("fat32", "exfat"):
        volume = open_card(hostile_blocks(f"two_entries_of_one_name.{kind}"))
        paths = [entry.path for entry in volume.files()]
        assert "un/a.mp4" in paths
        assert "un/a.mp4~2" in paths


@pytest.mark.parametrize("kind", ["fat32", "exfat"])
def test_folders_deeper_than_sixteen_are_not_walked(tmp_path: Path, kind: str) -> None:
    deep = "/".join(str(n) for n in range(16))
    data = own_card(tmp_path / "card.img", kind, {f"{deep}/in.mp4": b"i", f"{deep}/17/out.mp4": b"o"}).read_bytes()
    volume = open_card(MemoryBlocks(data))
    assert [entry.path for entry in volume.files()] == [f"{deep}/in.mp4"]
    assert "deeper than 16" in volume.damage()[0]


@pytest.mark.parametrize("kind", ["fat32", "exfat"])
def test_the_limit_of_entries_is_kept_and_said(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fat, "MAX_ENTRIES", 50)
    data = own_card(tmp_path / "card.img", kind, sample_files()).read_bytes()
    volume = open_card(MemoryBlocks(data))
    assert len(volume.files()) < 50
    assert "more than 50 entries" in volume.damage()[0]


@pytest.mark.parametrize("kind", ["fat32", "exfat"])
def test_the_limit_of_directory_slots_is_kept_and_said(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fat, "MAX_CARD_SLOTS", 300)
    data = own_card(tmp_path / "card.img", kind, {"a.mp4": b"a", **sample_files()}).read_bytes()
    volume = open_card(MemoryBlocks(data))
    assert volume.files()
    assert any("more than 300 directory slots" in line for line in volume.damage())


def test_a_folder_of_a_tebibyte_costs_no_more_than_its_bytes() -> None:
    draft = hostile_cards.Draft("exfat")
    draft.data[draft.slots("un")[1] + 1] = 3
    draft.size("un", 1 << 40)
    blocks = MemoryBlocks(bytes(draft.data))
    blocks.max_requests = MAX_REQUESTS
    volume = open_card(blocks)
    assert hostile_cards.WITNESS in [entry.path for entry in volume.files()]
    assert volume.damage()


def test_lines_of_damage_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fat, "MAX_DAMAGE_LINES", 10)
    data = bytearray(own_card(tmp_path / "card.img", "exfat", sample_files()).read_bytes())
    volume = open_card(MemoryBlocks(bytes(data)))
    for entry in volume.files():
        data[entry.location.spans[0][0] + 4] ^= 1
    volume = open_card(MemoryBlocks(bytes(data)))
    assert digests(volume) == expected(sample_files())
    assert len(volume.damage()) == 11
    assert volume.damage()[-1] == "more damage is not listed"


def test_partitions_that_lie_outside_the_card_are_passed_over() -> None:
    sector = bytearray(512)
    sector[510:] = b"\x55\xaa"
    for at, start in itertools.product((446, 462, 478, 494), (0xFFFFFFF0,)):
        sector[at + 4] = 0x0C
        sector[at + 8 : at + 16] = start.to_bytes(4, "little") + b"\xff\xff\xff\xff"
    with pytest.raises(CardError, match="no usable"):
        open_card(MemoryBlocks(bytes(sector) + bytes(MIB)))
