"""The container: what goes in comes out, and nothing altered comes out at all."""

from __future__ import annotations

import hashlib
import io
import os
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bwc.core.errors import BwcError, EvidenceError, StorageError
from bwc.vault.container import PAGE, SEGMENT, STRIPE, file_size
from bwc.vault.store import Vault

KEY = bytes(range(32))
OTHER = bytes(32)
SIZES = [
    0,
    1,
    15,
    16,
    4095,
    4096,
    4097,
    SEGMENT - 1,
    SEGMENT,
    SEGMENT + 1,
    1 << 20,
    (1 << 20) + 1,
    STRIPE - 1,
    STRIPE,
    STRIPE + 1,
    STRIPE + (1 << 20),
    2 * STRIPE + 70_000,
]


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(tmp_path / "vault", reserve_bytes=0)


def content(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def path_of(vault: Vault, name: str) -> Path:
    return vault._existing(name)


@pytest.mark.parametrize("size", SIZES)
def test_what_was_taken_is_read_back_and_read_in_ranges(vault: Vault, size: int) -> None:
    data = content(size)
    stored = vault.take(io.BytesIO(data), KEY, "rec")
    assert stored.sha256 == hashlib.sha256(data).hexdigest()
    assert stored.size == size
    assert path_of(vault, stored.name).stat().st_size == file_size(size)
    assert vault.read_back(stored.name, KEY, "rec") == stored.sha256
    with vault.open(stored.name, KEY, "rec") as file:
        assert file.read() == data
        for start in {0, size // 3, max(0, size - 5), max(0, SEGMENT - 3), max(0, STRIPE - 3)}:
            file.seek(start)
            assert file.read(100_003) == data[start : start + 100_003]


def test_nothing_of_the_plaintext_is_on_the_disk(vault: Vault) -> None:
    data = b"un texte bien reconnaissable " * 5000
    stored = vault.take(io.BytesIO(data), KEY, "rec")
    assert b"reconnaissable" not in path_of(vault, stored.name).read_bytes()


def test_every_flipped_byte_is_refused_by_the_strict_reading(vault: Vault) -> None:
    stored = vault.take(io.BytesIO(content(SEGMENT + 100)), KEY, "rec")
    path = path_of(vault, stored.name)
    whole = path.read_bytes()
    for place in [
        *range(0, 140, 7),
        PAGE - 1,
        PAGE,
        PAGE + SEGMENT,
        PAGE + SEGMENT + 99,
        *range(PAGE + SEGMENT + 100, len(whole), 997),
        len(whole) - 1,
    ]:
        changed = bytearray(whole)
        changed[place] ^= 0x20
        path.write_bytes(changed)
        with pytest.raises(EvidenceError):
            vault.read_back(stored.name, KEY, "rec")


def test_a_flipped_ciphertext_byte_gives_no_byte_of_its_segment(vault: Vault) -> None:
    data = content(3 * SEGMENT)
    stored = vault.take(io.BytesIO(data), KEY, "rec")
    path = path_of(vault, stored.name)
    with path.open("r+b") as file:
        file.seek(PAGE + SEGMENT + 5)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    with vault.open(stored.name, KEY, "rec") as file:
        assert file.read(SEGMENT) == data[:SEGMENT]
        buffer = bytearray(SEGMENT)
        with pytest.raises(EvidenceError, match="segment 1"):
            file.readinto(buffer)
        assert buffer == bytes(SEGMENT)
        file.seek(2 * SEGMENT)
        assert file.read(SEGMENT) == data[2 * SEGMENT :]


def test_truncation_extension_swap_wrong_key_and_wrong_recording_are_refused(vault: Vault) -> None:
    stored = vault.take(io.BytesIO(content(3 * SEGMENT)), KEY, "rec")
    path = path_of(vault, stored.name)
    whole = path.read_bytes()
    swapped = bytearray(whole)
    swapped[PAGE : PAGE + SEGMENT], swapped[PAGE + SEGMENT : PAGE + 2 * SEGMENT] = (
        whole[PAGE + SEGMENT : PAGE + 2 * SEGMENT],
        whole[PAGE : PAGE + SEGMENT],
    )
    for changed in (
        whole[:-1],
        whole[:-PAGE],
        whole[: PAGE + SEGMENT],
        b"",
        whole[:100],
        whole + b"\0",
        whole + bytes(PAGE),
        bytes(swapped),
    ):
        path.write_bytes(changed)
        with pytest.raises(EvidenceError):
            vault.read_back(stored.name, KEY, "rec")
    path.write_bytes(whole)
    for key, context in ((OTHER, "rec"), (KEY, "autre")):
        with pytest.raises(EvidenceError):
            vault.open(stored.name, key, context)


def test_a_truncation_at_a_segment_with_a_forged_trailer_is_refused(vault: Vault) -> None:
    from bwc.vault.container import make_trailer

    stored = vault.take(io.BytesIO(content(2 * SEGMENT)), KEY, "rec")
    path = path_of(vault, stored.name)
    whole = path.read_bytes()
    tags = whole[PAGE + 2 * SEGMENT : PAGE + 2 * SEGMENT + 16].ljust(PAGE, b"\0")
    path.write_bytes(whole[: PAGE + SEGMENT] + tags + make_trailer(SEGMENT))
    with pytest.raises(EvidenceError, match="segment 0"):
        vault.read_back(stored.name, KEY, "rec")


class Breaks(io.RawIOBase):
    def __init__(self, data: bytes) -> None:
        self.data = io.BytesIO(data)

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        count = self.data.readinto(buffer)
        if not count:
            raise OSError("unplugged")
        return count


def test_an_interrupted_named_copy_leaves_its_whole_stripes_readable(vault: Vault) -> None:
    data = content(STRIPE + 5 * SEGMENT)
    with pytest.raises(OSError, match="unplugged"):
        vault.take(Breaks(data), KEY, "rec", part="a1")
    assert list(vault.parts()) == ["a1"]
    part = vault.open_part("a1", KEY, "rec")
    assert part is not None
    with part:
        assert part.length == STRIPE
        assert part.read() == data[:STRIPE]
    vault.discard_part("a1")
    assert vault.open_part("a1", KEY, "rec") is None


def test_an_interrupted_unnamed_copy_leaves_nothing(vault: Vault) -> None:
    with pytest.raises(OSError, match="unplugged"):
        vault.take(Breaks(content(10)), KEY, "rec")
    assert list(vault.parts()) == []
    assert list(vault.names()) == []


def test_two_copies_of_the_same_bytes_share_no_ciphertext(vault: Vault) -> None:
    data = bytes(SEGMENT)
    first, second = (vault.take(io.BytesIO(data), KEY, "rec") for _ in range(2))
    cut = slice(PAGE, PAGE + SEGMENT)
    assert path_of(vault, first.name).read_bytes()[cut] != path_of(vault, second.name).read_bytes()[cut]


def test_the_write_fails_cleanly_when_the_file_may_not_grow(vault: Vault, tmp_path: Path) -> None:
    import subprocess
    import sys

    script = (
        "import io,resource,signal,sys;from pathlib import Path;from bwc.vault.store import Vault;"
        "from bwc.core.errors import StorageError;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);resource.setrlimit(resource.RLIMIT_FSIZE,(9_000_000,)*2);"
        "v=Vault(Path(sys.argv[1]),0)\n"
        "try: v.take(io.BytesIO(bytes(40_000_000)),bytes(32),'rec')\n"
        "except StorageError as e: print(e.code, list(v.parts()), list(v.names()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "small")], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "disk_full [] []"


def test_a_missing_container_is_a_storage_error(vault: Vault) -> None:
    with pytest.raises(StorageError):
        vault.open("0" * 32, KEY, "rec")
    with pytest.raises(StorageError):
        vault.open("../../etc/passwd", KEY, "rec")


def test_destroying_is_idempotent_and_leaves_no_file(vault: Vault) -> None:
    stored = vault.take(io.BytesIO(b"x"), KEY, "rec")
    vault.destroy(stored.name)
    vault.destroy(stored.name)
    assert not vault.exists(stored.name)
    assert list(vault.names()) == []


def test_a_sweep_does_not_start_while_somebody_writes(vault: Vault) -> None:
    with vault.writing():
        with vault.writing():
            pass
        with vault.sweeping() as may:
            assert not may
    with vault.sweeping() as may:
        assert may


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(size=st.integers(0, 3 * SEGMENT), garbage=st.binary(min_size=1, max_size=64), place=st.floats(0, 1))
def test_whatever_is_written_over_a_container_is_refused_or_the_same(
    vault: Vault, size: int, garbage: bytes, place: float
) -> None:
    stored = vault.take(io.BytesIO(content(size)), KEY, "rec")
    path = path_of(vault, stored.name)
    whole = path.read_bytes()
    at = int(place * (len(whole) - 1))
    changed = (whole[:at] + garbage + whole[at + len(garbage) :])[: len(whole)]
    path.write_bytes(changed)
    try:
        assert vault.read_back(stored.name, KEY, "rec") == stored.sha256
        assert changed == whole
    except BwcError:
        assert changed != whole
    vault.destroy(stored.name)
