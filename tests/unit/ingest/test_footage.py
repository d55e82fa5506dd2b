from __future__ import annotations

import io
from datetime import UTC, datetime

import av
import numpy as np
import pytest

from bwc.demonstration.footage import CLUSTER, cut_short, footage, make_footage
from media_helpers import START, clip


def frames(data: bytes) -> list[np.ndarray]:
    with av.open(io.BytesIO(data)) as source:
        return [frame.to_ndarray(format="gray") for frame in source.decode(video=0)]


def test_length_rate_and_size():
    with av.open(io.BytesIO(clip())) as source:
        picture = source.streams.video[0]
        assert (picture.width, picture.height, picture.average_rate, picture.frames) == (320, 180, 10, 30)
        assert source.duration == pytest.approx(3_000_000, abs=50_000)
        assert source.metadata["creation_time"] == "2026-11-22T20:14:05.000000Z"
        assert source.metadata["location"].startswith("+44.9334+004.8924")


def test_same_seed_same_film_other_seed_other_film():
    settings = {"width": 160, "height": 92, "fps": 5}
    one = frames(footage(START, 0.4, "CAM", seed=3, **settings))
    same = frames(footage(START, 0.4, "CAM", seed=3, **settings))
    other = frames(footage(START, 0.4, "CAM", seed=4, **settings))
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not np.array_equal(one[0], other[0])


def test_clock_on_the_picture_changes_with_the_second_and_only_then():
    """Where the seconds are written, two pictures of one second are alike and the next second is not."""
    film = frames(footage(START, 2.0, "CAM", width=640, height=360, fps=4))
    clock = [picture[8:28, 90:170] > 180 for picture in film]
    within = [np.mean(clock[n] != clock[n + 1]) for n in (0, 1, 2, 4, 5, 6)]
    across = np.mean(clock[3] != clock[4])
    assert across > 2 * max(within)


def test_day_is_brighter_than_night():
    settings = {"width": 160, "height": 92, "fps": 5}
    day = footage(datetime(2026, 11, 22, 12, tzinfo=UTC), 0.2, "CAM", **settings)
    night = footage(datetime(2026, 11, 22, 22, tzinfo=UTC), 0.2, "CAM", **settings)
    assert frames(day)[0].mean() > 1.5 * frames(night)[0].mean()


def test_loop_repeats_the_street_but_not_the_clock():
    film = frames(footage(START, 3.0, "CAM", width=640, height=360, fps=4, loop_s=1))
    assert np.abs(film[0][120:].astype(int) - film[8][120:]).mean() < 3
    assert np.mean((film[0][8:28, 90:170] > 180) != (film[8][8:28, 90:170] > 180)) > 0.01


def test_each_second_begins_with_a_beep():
    with av.open(io.BytesIO(clip())) as source:
        sound = np.concatenate([frame.to_ndarray()[0] for frame in source.decode(audio=0)])
        rate = source.streams.audio[0].rate
    for second in (1, 2):
        beep, after = (sound[int((second + at) * rate) :][: rate // 25] for at in (0.02, 0.3))
        pitch = [np.abs(np.fft.rfft(part))[40] for part in (beep, after)]
        assert pitch[0] > 5 * pitch[1]


def test_power_cut_leaves_whole_clusters_no_index_and_no_length():
    recording = clip()
    left = cut_short(recording)
    assert len(left) % CLUSTER == 0
    assert len(left) < len(recording)
    assert b"moov" not in left
    at = left.index(b"mdat") - 4
    assert left[at : at + 4] == bytes(4)
    assert left[at + 8 :] == recording[at + 8 : len(left)]


def test_power_cut_of_something_else_is_refused():
    with pytest.raises(ValueError, match="media comes before"):
        cut_short(b"nothing of the sort, really")


@pytest.mark.parametrize(
    ("start", "size"),
    [(datetime(2026, 11, 22), (160, 92)), (START, (161, 92))],  # noqa: DTZ001 - what is refused
)
def test_naive_start_and_odd_size_are_refused(start, size):
    with pytest.raises(ValueError, match=r"naive|multiples"):
        make_footage(io.BytesIO(), start, 1, "CAM", width=size[0], height=size[1])


def test_southern_and_western_places_keep_their_sign(tmp_path):
    path = tmp_path / "recording.mp4"
    make_footage(path, START, 0.2, "CAM", width=160, height=92, fps=5, gps=("-20.8789", "-0.45"))
    with av.open(str(path)) as source:
        assert source.metadata["location"].startswith("-20.8789-000.4500")
