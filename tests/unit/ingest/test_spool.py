from __future__ import annotations

import io
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bwc.ingest.spool import PAGE, SealedSpool, disk_bytes, open_unlinked

KNOWN = b"a plain picture that must never lie on a disk "


@pytest.fixture
def descriptor(tmp_path):
    return open_unlinked(tmp_path)


def on_disk(descriptor: int) -> bytes:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


def test_file_has_no_name_and_no_plaintext(descriptor, tmp_path):
    with SealedSpool(descriptor, cache_pages=2) as spool:
        spool.write(KNOWN * 20_000)
        spool.flush()
        held = on_disk(descriptor)
        assert list(tmp_path.iterdir()) == []
        assert len(held) > len(KNOWN) * 20_000
        assert KNOWN[:8] not in held
        spool.seek(0)
        assert spool.read() == KNOWN * 20_000


def test_a_page_written_twice_never_repeats_its_bytes(descriptor):
    with SealedSpool(descriptor) as spool:
        spool.write(KNOWN)
        spool.flush()
        once = on_disk(descriptor)
        spool.seek(0)
        spool.write(KNOWN)
        spool.flush()
        assert on_disk(descriptor)[:64] != once[:64]


def test_disk_need_is_announced(descriptor):
    with SealedSpool(descriptor) as spool:
        spool.write(bytes(3 * PAGE))
        spool.flush()
        assert len(on_disk(descriptor)) <= disk_bytes(3 * PAGE)


def test_limit_is_refused_and_what_was_written_stays(descriptor):
    with SealedSpool(descriptor, limit=100) as spool:
        spool.write(b"x" * 90)
        with pytest.raises(OSError, match="limit"):
            spool.write(b"y" * 11)
        spool.seek(0)
        assert spool.read() == b"x" * 90


def test_closed_spool_gives_nothing(descriptor):
    spool = SealedSpool(descriptor)
    spool.write(KNOWN)
    spool.close()
    with pytest.raises(ValueError, match="closed"):
        spool.read_at(0, memoryview(bytearray(8)))
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_seek_before_the_start_is_refused(descriptor):
    with SealedSpool(descriptor) as spool, pytest.raises(ValueError, match="before the start"):
        spool.seek(-1)


def test_view_reads_while_the_spool_writes(descriptor):
    with SealedSpool(descriptor, cache_pages=1) as spool:
        spool.write(KNOWN)
        view = spool.view()
        assert view.read(7) == KNOWN[:7]
        spool.write(b"more")
        view.seek(-4, io.SEEK_END)
        assert view.read() == b"more"
        view.close()
        assert not spool.closed


STEPS = st.lists(
    st.tuples(st.sampled_from(["write", "read", "truncate"]), st.integers(0, 5 * PAGE), st.integers(0, 2 * PAGE)),
    max_size=25,
)


@given(steps=STEPS)
def test_behaves_as_a_file_in_memory(tmp_path_factory, steps):
    model = io.BytesIO()
    with SealedSpool(open_unlinked(tmp_path_factory.getbasetemp()), cache_pages=2) as spool:
        for number, (act, position, length) in enumerate(steps):
            model.seek(position)
            spool.seek(position)
            if act == "write":
                data = bytes([number + 1]) * length
                model.write(data)
                spool.write(data)
            elif act == "read":
                assert spool.read(length) == model.read(length)
            else:
                model.truncate(position)
                spool.truncate(position if position < spool.size else spool.size)
        model.seek(0)
        spool.seek(0)
        assert spool.read() == model.read()
