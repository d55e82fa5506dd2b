"""Makes the hostile cards: each function spoils one valid card in one way, and says what must be noticed.

Cards are made here instead of being stored: a valid FAT32 card is 33 MiB at least. `CARDS` maps a name such as
"cyclic_chain.exfat" to its case; `make(name)` gives the bytes.
"""

from __future__ import annotations

import io
import random
import struct
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from bwc.docking.card import CardEntry, FileBlocks, open_card
from bwc.docking.card_maker import CardSource, make_card
from bwc.docking.exfat import NAME, ExfatVolume, boot_checksum, set_checksum
from bwc.docking.fat import FatVolume

WITNESS = "temoin.bin"
WITNESS_BYTES = random.Random(1).randbytes(30_000)
LONG = "un/NOM-A-REMPLACER-AVEC-26-CA"
MIB = 1 << 20

FILES = {
    "un/a.mp4": random.Random(2).randbytes(20_000),
    "un/b.mp4": random.Random(3).randbytes(20_000),
    "dossier A/x.bin": b"x" * 9000,
    "dossier B/y.bin": b"y" * 9000,
    LONG: b"nom",
    WITNESS: WITNESS_BYTES,
}


@dataclass(frozen=True)
class Case:
    """One hostile card: how it is made, whether it still opens, and what `damage()` or the refusal must say."""

    kind: str
    spoil: Callable[[Draft], None]
    opens: bool
    says: str


CARDS: dict[str, Case] = {}


def hostile(says: str, *, kinds: str = "fat32 exfat", opens: bool = True) -> Callable[..., Callable[[Draft], None]]:
    """Register a spoiler for some kinds of card; empty `says` means that nothing is wrong but the reader must cope."""

    def register(spoil: Callable[[Draft], None]) -> Callable[[Draft], None]:
        for kind in kinds.split():
            CARDS[f"{spoil.__name__}.{kind}"] = Case(kind, spoil, opens, says)
        return spoil

    return register


def make(name: str) -> bytes:
    """The bytes of a hostile card."""
    draft = Draft(CARDS[name].kind)
    CARDS[name].spoil(draft)
    return bytes(draft.data)


@lru_cache
def valid(kind: str) -> bytes:
    """The card before it is spoiled; every file of it is fragmented, so that exFAT uses chains."""
    sources = [
        CardSource(path, len(data), datetime(2026, 3, 4, 5, 6, 8, tzinfo=UTC), lambda data=data: io.BytesIO(data))
        for path, data in FILES.items()
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "card.img"
        if kind == "fat32":
            make_card(path, "fat32", 36 * MIB, sources, "HOSTILE", fragment=True)
        else:
            make_card(path, "exfat", 2 * MIB, sources, "HOSTILE", fragment=True)
        return path.read_bytes()


class Draft:
    """A card being spoiled; positions come from reading the valid one."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.data = bytearray(valid(kind))
        with tempfile.NamedTemporaryFile() as file:
            file.write(self.data)
            file.flush()
            blocks = FileBlocks(Path(file.name))
            volume = open_card(blocks)
            assert isinstance(volume, FatVolume | ExfatVolume)
            self.volume = volume
            self.entries = {entry.path: entry for entry in volume.files()}
            self.entries |= {entry.path: entry for entry in volume._folders}
            self.chains = {path: self._chain(entry) for path, entry in self.entries.items()}
            blocks.close()

    def _chain(self, entry: CardEntry) -> list[int]:
        return [c for first, count in self.volume.runs(entry) for c in range(first, first + count)]

    def link(self, cluster: int, value: int) -> None:
        """Set an entry of every allocation table."""
        tables = self.volume.fat_positions if isinstance(self.volume, FatVolume) else [self.volume.table.position]
        for table in tables:
            struct.pack_into("<I", self.data, table + cluster * 4, value)

    def slots(self, path: str) -> list[int]:
        """Positions of an entry set's slots."""
        return [start + 32 * n for start, count in self.entries[path].location.spans for n in range(count)]

    def first(self, path: str, cluster: int) -> None:
        """Change the first cluster of an entry."""
        slots = self.slots(path)
        if self.kind == "fat32":
            struct.pack_into("<H", self.data, slots[-1] + 20, cluster >> 16)
            struct.pack_into("<H", self.data, slots[-1] + 26, cluster & 0xFFFF)
        else:
            struct.pack_into("<I", self.data, slots[1] + 20, cluster)
            self.seal(path)

    def size(self, path: str, size: int, *, valid: int | None = None) -> None:
        """Change the size of a file, and on exFAT its valid length."""
        slots = self.slots(path)
        if self.kind == "fat32":
            struct.pack_into("<I", self.data, slots[-1] + 28, size)
        else:
            struct.pack_into("<Q", self.data, slots[1] + 8, size if valid is None else valid)
            struct.pack_into("<Q", self.data, slots[1] + 24, size)
            self.seal(path)

    def name(self, raw: str, path: str = LONG) -> None:
        """Give an entry another long name, within the slots it has (26 characters on FAT, 30 on exFAT)."""
        slots, units = self.slots(path), raw.encode("utf-16-le", "surrogatepass")
        if self.kind == "fat32":
            room = 26 * (len(slots) - 1)
            padded = units if len(units) == room else (units + b"\0\0").ljust(room, b"\xff")
            assert len(padded) == room
            for number, slot in enumerate(reversed(slots[:-1])):
                part = padded[26 * number : 26 * number + 26]
                self.data[slot + 1 : slot + 11] = part[:10]
                self.data[slot + 14 : slot + 26] = part[10:22]
                self.data[slot + 28 : slot + 32] = part[22:]
        else:
            assert len(units) <= 30 * (len(slots) - 2)
            self.data[slots[1] + 3] = len(units) // 2
            for number, slot in enumerate(slots[2:]):
                assert self.data[slot] == NAME
                self.data[slot + 2 : slot + 32] = units[30 * number : 30 * number + 30].ljust(30, b"\0")
            self.seal(path)

    def seal(self, path: str) -> None:
        """Make the checksum of an exFAT entry set right again."""
        slots = self.slots(path)
        whole = b"".join(bytes(self.data[slot : slot + 32]) for slot in slots)
        struct.pack_into("<H", self.data, slots[0] + 2, set_checksum(whole))

    def boot(self, offset: int, layout: str, *values: int) -> None:
        """Change the boot sector, and on exFAT its checksum."""
        struct.pack_into(layout, self.data, offset, *values)
        if self.kind == "exfat":
            checksum = boot_checksum(bytes(self.data[: 11 * 512]))
            self.data[11 * 512 : 12 * 512] = struct.pack("<I", checksum) * 128


END = 0x0FFFFFFF


@hostile("is a cycle")
def cyclic_chain(card: Draft) -> None:
    """The third cluster of a file leads back to its second."""
    chain = card.chains["un/a.mp4"]
    card.link(chain[2], chain[1])


@hostile("is a cycle")
def self_linked_cluster(card: Draft) -> None:
    """A cluster that follows itself."""
    chain = card.chains["un/a.mp4"]
    card.link(chain[0], chain[0])


@hostile("already belongs to a folder")
def folder_is_its_own_parent(card: Draft) -> None:
    """A folder whose cluster is its parent's: the root's."""
    card.first("un", 2 if card.kind == "fat32" else struct.unpack_from("<I", card.data, 96)[0])


@hostile("already belongs to a folder")
def two_folders_one_cluster(card: Draft) -> None:
    """A folder that shows another folder's entries a second time."""
    card.first("dossier B", card.chains["dossier A"][0])


@hostile("used twice")
def cross_linked_files(card: Draft) -> None:
    """Two files whose chains join."""
    card.link(card.chains["un/b.mp4"][1], card.chains["un/a.mp4"][2])


@hostile("used twice")
def file_on_a_folder(card: Draft) -> None:
    """A file whose clusters are a folder's."""
    card.first("un/b.mp4", card.chains["dossier A"][0])


@hostile("used twice")
def file_on_the_root(card: Draft) -> None:
    """A file whose clusters are the root folder's."""
    card.first("un/b.mp4", 2 if card.kind == "fat32" else struct.unpack_from("<I", card.data, 96)[0])


@hostile("used twice", kinds="exfat")
def file_on_the_bitmap(card: Draft) -> None:
    """A file whose cluster is the allocation bitmap's."""
    card.first(LONG, 2)


@hostile("clusters for 20000 bytes")
def chain_shorter_than_size(card: Draft) -> None:
    """A chain that ends after two clusters."""
    card.link(card.chains["un/a.mp4"][1], END if card.kind == "fat32" else 0xFFFFFFFF)


@hostile("clusters for 600 bytes")
def chain_longer_than_size(card: Draft) -> None:
    """A size that hides the end of a recording."""
    card.size("un/a.mp4", 600)


@hostile("no bytes, but clusters")
def clusters_without_size(card: Draft) -> None:
    """A recording in progress when the camera lost power."""
    card.size("un/a.mp4", 0)


@hostile("chain goes to 0x0")
def chain_into_free_space(card: Draft) -> None:
    """A chain that leads to a free cluster."""
    card.link(card.chains["un/a.mp4"][1], 0)


@hostile("outside 2")
def chain_out_of_range(card: Draft) -> None:
    """A chain that leads past the volume."""
    card.link(card.chains["un/a.mp4"][1], 0x0ABCDEF0)


@hostile("outside 2")
def first_cluster_out_of_range(card: Draft) -> None:
    """A file that begins past the volume."""
    card.first("un/a.mp4", 0x0ABCDEF0)


@hostile("outside 2")
def first_cluster_one(card: Draft) -> None:
    """A file and a folder that begin before the volume."""
    card.first("un/a.mp4", 1)
    card.first("dossier A", 1)


@hostile("clusters for 4294967295 bytes", kinds="fat32")
@hostile(f"clusters for {1 << 40} bytes", kinds="exfat")
def size_beyond_the_volume(card: Draft) -> None:
    """A file larger than its card."""
    card.size("un/a.mp4", 0xFFFFFFFF if card.kind == "fat32" else 1 << 40)


@hostile(f"clusters for {(1 << 64) - 1} bytes", kinds="exfat")
def size_beyond_belief_of_zeros(card: Draft) -> None:
    """A file of 16 EiB of which nothing was written."""
    card.size("un/a.mp4", (1 << 64) - 1, valid=0)


@hostile("free in the allocation bitmap", kinds="exfat")
def contiguous_past_the_end(card: Draft) -> None:
    """A contiguous file that leaves the volume."""
    card.data[card.slots("un/a.mp4")[1] + 1] = 3
    card.size("un/a.mp4", 1 << 30)


@hostile("valid bytes", kinds="exfat")
def valid_length_beyond_size(card: Draft) -> None:
    """More valid bytes than bytes."""
    card.size("un/a.mp4", 20_000, valid=1 << 50)


@hostile("", kinds="fat32 exfat", opens=False)
def sector_size_zero(card: Draft) -> None:
    """Sectors of no bytes (on exFAT, of one byte)."""
    card.boot(*((11, "<H", 0) if card.kind == "fat32" else (108, "<B", 0)))


@hostile("", opens=False)
def sector_size_absurd(card: Draft) -> None:
    """Sectors of 65535 bytes or of 2**255."""
    card.boot(*((11, "<H", 65535) if card.kind == "fat32" else (108, "<B", 255)))


@hostile("", opens=False)
def cluster_size_absurd(card: Draft) -> None:
    """Clusters of no sectors, or of 2**255."""
    card.boot(*((13, "<B", 0) if card.kind == "fat32" else (109, "<B", 255)))


@hostile("", kinds="fat32", opens=False)
def cluster_size_not_a_power(card: Draft) -> None:
    """Clusters of 3 sectors."""
    card.boot(13, "<B", 3)


@hostile("", opens=False)
def no_allocation_table(card: Draft) -> None:
    """A table of no sectors."""
    card.boot(*((36, "<I", 0) if card.kind == "fat32" else (84, "<I", 0)))


@hostile("", opens=False)
def too_many_allocation_tables(card: Draft) -> None:
    """255 tables."""
    card.boot(*((16, "<B", 255) if card.kind == "fat32" else (110, "<B", 255)))


@hostile("have no entry in the allocation table", kinds="fat32")
@hostile("bytes of card", kinds="exfat")
def volume_larger_than_the_card(card: Draft) -> None:
    """A volume that claims terabytes."""
    if card.kind == "fat32":
        card.boot(32, "<I", 0xFFFFFFFF)
    else:
        card.boot(72, "<Q", 1 << 55)


@hostile("", kinds="exfat", opens=False)
def more_clusters_than_the_table(card: Draft) -> None:
    """A cluster count that its table cannot hold."""
    card.boot(92, "<I", 0xFFFFFFF5)


@hostile("outside 2")
def root_out_of_range(card: Draft) -> None:
    """A root folder outside the volume; no file can be found."""
    card.boot(*((44, "<I", 0x0FFFFFF0) if card.kind == "fat32" else (96, "<I", 0xFFFFFFF0)))


@hostile("boot checksum", kinds="exfat")
def boot_checksum_wrong(card: Draft) -> None:
    """A changed boot sector."""
    card.data[120] ^= 0xFF


@hostile("no up-case table in the root folder", kinds="exfat")
def no_bitmap(card: Draft) -> None:
    """A root folder without allocation bitmap."""
    card.data[card.volume.position(struct.unpack_from("<I", card.data, 96)[0]) + 32] = 0x01


@hostile("allocation bitmap", kinds="exfat")
def bitmap_too_short(card: Draft) -> None:
    """A bitmap of one byte."""
    root = card.volume.position(struct.unpack_from("<I", card.data, 96)[0])
    struct.pack_into("<Q", card.data, root + 32 + 24, 1)


@hostile("free in the allocation bitmap", kinds="exfat")
def bitmap_says_free(card: Draft) -> None:
    """A bitmap that would let the camera overwrite a file."""
    assert isinstance(card.volume, ExfatVolume)
    at = card.volume.position(2) + (card.chains["un/a.mp4"][0] - 2) // 8
    card.data[at] = 0


@hostile("checksum of 'a.mp4' does not match", kinds="exfat")
def entry_set_checksum_wrong(card: Draft) -> None:
    """An entry set that was changed by something that does not know the format."""
    card.data[card.slots("un/a.mp4")[0] + 4] ^= 0x01


@hostile("entry set cut short", kinds="exfat")
def secondary_count_too_large(card: Draft) -> None:
    """An entry set that would swallow its neighbours."""
    card.data[card.slots("un/a.mp4")[0] + 1] = 18


@hostile("stray or unknown entry", kinds="exfat")
def secondary_count_impossible(card: Draft) -> None:
    """An entry set of 256 entries."""
    card.data[card.slots("un/a.mp4")[0] + 1] = 255


@hostile("stray or unknown entry", kinds="exfat")
def file_entry_lost(card: Draft) -> None:
    """Secondaries whose file entry is gone: a recording that the listing would pass over in silence."""
    card.data[card.slots("un/a.mp4")[0]] = 0x05


@hostile("without stream or name", kinds="exfat")
def entry_set_without_stream(card: Draft) -> None:
    """A file entry followed by names only."""
    card.data[card.slots("un/a.mp4")[1]] = NAME
    card.seal("un/a.mp4")


@hostile("misplaced dot entry", kinds="fat32")
def dot_entry_in_the_middle(card: Draft) -> None:
    """A folder named '.', which readers skip, behind which something could hide."""
    slot = card.slots("un/b.mp4")[-1]
    card.data[slot : slot + 12] = b".          \x10"


@hostile("two entries are named")
def two_entries_of_one_name(card: Draft) -> None:
    """Two files of one name in a folder."""
    if card.kind == "fat32":
        first, second = card.slots("un/a.mp4"), card.slots("un/b.mp4")
        for a, b in zip(first, second, strict=True):
            card.data[b : b + 20] = card.data[a : a + 20]
    else:
        card.name("a.mp4", "un/b.mp4")


@hostile("", kinds="fat32")
def long_name_of_another_file(card: Draft) -> None:
    """Long name slots whose checksum is of another short name: the short name counts."""
    for slot in card.slots(LONG)[:-1]:
        card.data[slot + 13] ^= 0xFF


@hostile("")
def date_that_is_none(card: Draft) -> None:
    """The 31st of the 15th month, 31:63:62."""
    slots = card.slots("un/a.mp4")
    if card.kind == "fat32":
        struct.pack_into("<HH", card.data, slots[-1] + 22, 0xFFFF, 0xFFFF)
    else:
        struct.pack_into("<I", card.data, slots[0] + 12, 0xFFFFFFFF)
        card.seal("un/a.mp4")


def _names() -> None:
    names = {
        "name_climbs": "../../etc/passwd",
        "name_absolute": "/etc/passwd",
        "name_backslash": "..\\..\\windows\\win.ini",
        "name_one_dot": ".",
        "name_two_dots": "..",
        "name_dots_and_spaces": ". . .",
        "name_control": "a\x01\x1b[31m\x7f\x9b.mp4",
        "name_newline": "a\nb\r.mp4",
        "name_right_to_left": "photo\N{RIGHT-TO-LEFT OVERRIDE}4pm.exe",
        "name_lone_surrogate": "a\ud800b\udc00.mp4",
        "name_line_separator": "a\u2028b.mp4",
    }
    for name, raw in names.items():

        def spoil(card: Draft, raw: str = raw) -> None:
            card.name(raw)

        spoil.__name__ = name
        hostile("")(spoil)

    def name_nul(card: Draft) -> None:
        card.name("a\0b.mp4")

    hostile("", kinds="exfat")(name_nul)


_names()
