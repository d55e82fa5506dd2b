from __future__ import annotations

import io
import os
import resource
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from bwc.core.errors import EvidenceError
from bwc.ingest.derive import ProxyResult, make_poster, make_proxy, proxy_limits
from bwc.ingest.sandbox import Limits
from media_helpers import GOLDEN, box, clip, colour_film, index_first, nested

FRAME = 0.001


def proxied(data: bytes, folder, **more) -> tuple[ProxyResult, bytes]:
    out = bytearray()
    result = make_proxy(io.BytesIO(data), len(data), out.extend, spool_folder=folder, **more)
    return result, bytes(out)


def instants(data: bytes) -> list[float]:
    with av.open(io.BytesIO(data)) as source:
        return [frame.time for frame in source.decode(video=0)]


def seconds(data: bytes) -> float:
    with av.open(io.BytesIO(data)) as source:
        return (source.duration or 0) / 1_000_000


def test_proxy_keeps_every_instant_the_duration_and_the_sound(tmp_path):
    result, made = proxied(clip(), tmp_path)
    assert result.duration_ms == pytest.approx(3000, abs=20)
    assert result == ProxyResult(
        True, None, result.duration_ms, width=320, height=180, frames=30, sound=True, bytes=len(made)
    )
    assert instants(made) == pytest.approx(instants(clip()), abs=FRAME)
    assert seconds(made) == pytest.approx(3.0, abs=0.1)
    with av.open(io.BytesIO(made)) as source:
        assert source.streams.video[0].codec_context.name == "h264"
        assert source.streams.video[0].codec_context.pix_fmt == "yuv420p"
        sound = source.streams.audio[0]
        assert (sound.codec_context.name, sound.rate, sound.layout.name) == ("aac", 48_000, "mono")


def test_index_comes_first(tmp_path):
    _, made = proxied(clip(), tmp_path)
    assert made.index(b"moov") < made.index(b"mdat")


def beeps(data: bytes) -> list[float]:
    """When the beeps of the demonstration sound begin."""
    with av.open(io.BytesIO(data)) as source:
        rate = source.streams.audio[0].rate
        sound = np.concatenate([frame.to_ndarray()[0] for frame in source.decode(audio=0)])
    size = rate // 100
    spectrum = np.abs(np.fft.rfft(sound[: len(sound) // size * size].reshape(-1, size), axis=1))
    loud = spectrum[:, 10] > 0.4 * spectrum[:, 10].max()
    return [number / 100 for number in range(1, len(loud)) if loud[number] and not loud[number - 1]]


def test_sound_stays_with_the_picture(tmp_path):
    _, made = proxied(clip(), tmp_path)
    assert beeps(made) == pytest.approx(beeps(clip()), abs=0.03)
    assert len(beeps(made)) >= 2


def test_variable_frame_rate_is_kept(tmp_path):
    uneven = [0, 40, 80, 700, 720, 1500, 1540, 2900]
    data = colour_film([(at, 60 + number * 20) for number, at in enumerate(uneven)], width=64, height=48)
    result, made = proxied(data, tmp_path)
    assert instants(made) == pytest.approx([at / 1000 for at in uneven], abs=FRAME)
    assert result.frames == len(uneven)
    assert not result.sound


def test_key_frames_every_two_seconds(tmp_path):
    data = colour_film([(at * 100, 90) for at in range(70)], width=64, height=48)
    _, made = proxied(data, tmp_path)
    with av.open(io.BytesIO(made)) as source:
        keys = [frame.time for frame in source.decode(video=0) if frame.key_frame]
    assert keys == pytest.approx([0, 2, 4, 6], abs=0.11)


def test_large_picture_is_reduced_to_540_lines_and_small_is_not_enlarged(tmp_path):
    data = colour_film([(at * 40, 90) for at in range(4)], width=1920, height=1080)
    assert (proxied(data, tmp_path)[0].width, proxied(data, tmp_path)[0].height) == (960, 540)
    tiny = colour_film([(at * 40, 90) for at in range(4)], width=66, height=34)
    assert (proxied(tiny, tmp_path)[0].width, proxied(tiny, tmp_path)[0].height) == (66, 34)


@pytest.mark.parametrize(("turn", "corner"), [(0, (0, 0)), (-90, (0, 1)), (180, (1, 1)), (90, (1, 0))])
def test_rotation_is_applied(tmp_path, turn, corner):
    """`turn` is counter-clockwise; the white corner is upper left before it."""
    data = colour_film([(at * 40, 30) for at in range(8)], width=96, height=64, turn=turn)
    result, made = proxied(data, tmp_path)
    assert (result.width, result.height) == ((64, 96) if turn % 180 else (96, 64))
    with av.open(io.BytesIO(made)) as source:
        picture = next(source.decode(video=0)).to_ndarray(format="gray")
    poster = make_poster(io.BytesIO(data), len(data))
    assert poster is not None
    for grey in (picture, np.asarray(Image.open(io.BytesIO(poster)).convert("L"))):
        high, wide = grey.shape
        quarters = [[grey[: high // 2, : wide // 2], grey[: high // 2, wide // 2 :]],
                    [grey[high // 2 :, : wide // 2], grey[high // 2 :, wide // 2 :]]]  # fmt: skip
        bright = {(row, column) for row in (0, 1) for column in (0, 1) if quarters[row][column].mean() > 150}
        assert bright == {corner}


def test_other_codecs_and_containers(tmp_path):
    frames = [(at * 40, 90) for at in range(50)]
    for codec, container in (("libx265", "mp4"), ("mpeg4", "avi"), ("libvpx", "webm")):
        result, made = proxied(colour_film(frames, width=96, height=64, codec=codec, container=container), tmp_path)
        assert result.made
        assert result.frames == 50
        assert seconds(made) == pytest.approx(2.0, abs=0.05)


def test_truncated_recording_gives_what_can_be_decoded(tmp_path):
    whole = index_first(2.0)
    result, made = proxied(whole[: len(whole) * 6 // 10], tmp_path)
    assert result.made
    assert 3 < result.frames < 20
    assert instants(made)[0] == pytest.approx(0, abs=FRAME)


def test_damaged_packets_are_left_out(tmp_path):
    data = bytearray(clip())
    middle = len(data) // 2
    data[middle : middle + 400] = os.urandom(400)
    result, _ = proxied(bytes(data), tmp_path)
    assert result.made
    assert result.frames > 20


def test_late_sound_is_preceded_by_silence(tmp_path):
    held = io.BytesIO()
    with av.open(held, "w", format="matroska") as output:
        picture, sound = output.add_stream("mpeg4", rate=25), output.add_stream("pcm_s16le", rate=16_000, layout="mono")
        picture.width, picture.height = 64, 48
        for number in range(50):
            frame = av.VideoFrame(64, 48, "yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            output.mux(picture.encode(frame))
            if number >= 25:
                loud = av.AudioFrame.from_ndarray(np.full((1, 640), 9000, np.int16), format="s16", layout="mono")
                loud.sample_rate, loud.pts, loud.time_base = 16_000, number * 640, Fraction(1, 16_000)
                output.mux(sound.encode(loud))
        output.mux(picture.encode(None))
        output.mux(sound.encode(None))
    _, made = proxied(held.getvalue(), tmp_path)
    with av.open(io.BytesIO(made)) as source:
        wave = np.concatenate([frame.to_ndarray()[0] for frame in source.decode(audio=0)])
    assert np.abs(wave[:45_000]).max() < 0.01
    assert np.abs(wave[50_000:]).max() > 0.1
    assert len(wave) / 48_000 == pytest.approx(2.0, abs=0.05)


def test_hundred_hours_do_not_make_a_hundred_hours(tmp_path):
    result, made = proxied((GOLDEN / "hundred_hours.mp4").read_bytes(), tmp_path)
    assert result.made
    assert result.frames == 10
    assert result.duration_ms <= 10 * 3_600_000
    assert len(made) < 1 << 20


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not_media"),
        (b"nothing", "not_media"),
        (box(b"ftyp", b"isom\0\0\2\0isom") + box(b"moov", nested(b"trak", 100_000)), "nothing_decodable"),
    ],
)
def test_what_is_no_recording_gives_a_reason(tmp_path, data, reason):
    result, made = proxied(data, tmp_path)
    assert (result.made, made) == (False, b"")
    assert result.reason in (reason, "not_media")


def test_progress_rises_to_a_thousand(tmp_path):
    told: list[int] = []
    proxied(clip(), tmp_path, progress=told.append)
    assert told == sorted(set(told))
    assert told[-1] == 1000


def test_spool_limit_is_a_refusal(tmp_path):
    result, made = proxied(clip(), tmp_path, limits=Limits(output=1 << 20, spool=10_000))
    assert (result.made, result.reason, made) == (False, "refused", b"")


def test_time_limit_is_a_reason(tmp_path):
    assert proxied(clip(), tmp_path, limits=Limits(wall_s=0.2, output=1 << 20, spool=1 << 20))[0].reason == "timeout"


def test_folder_is_left_empty(tmp_path):
    proxied(clip(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_error_of_the_vault_reaches_the_caller(tmp_path):
    class Torn(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() + (size or 0) > 20_000:
                raise EvidenceError("chunk 3 does not authenticate")
            return super().read(size)

    with pytest.raises(EvidenceError):
        make_proxy(Torn(clip()), len(clip()), lambda data: None, spool_folder=tmp_path)
    with pytest.raises(EvidenceError):
        make_poster(Torn(clip()), len(clip()))


def test_parent_memory_does_not_grow_with_the_source(tmp_path):
    """A source of 400 MiB that is mostly padding, served from nothing."""

    class Padded(io.RawIOBase):
        head = index_first()

        def seek(self, offset: int, whence: int = 0) -> int:
            self.at = offset
            return offset

        def read(self, size: int = -1) -> bytes:
            part = self.head[self.at : self.at + size]
            self.at += size
            return part + bytes(size - len(part))

    proxied(clip(), tmp_path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = make_proxy(Padded(), 400 << 20, lambda data: None, spool_folder=tmp_path)
    assert result.made
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024


def test_poster_is_a_small_upright_jpeg():
    poster = make_poster(io.BytesIO(clip()), len(clip()))
    assert poster is not None
    picture = Image.open(io.BytesIO(poster))
    assert (picture.format, picture.size) == ("JPEG", (320, 180))
    wide = colour_film([(at * 40, 90) for at in range(40)], width=1920, height=1080)
    poster = make_poster(io.BytesIO(wide), len(wide))
    assert poster is not None
    assert Image.open(io.BytesIO(poster)).size == (640, 360)


def test_poster_shows_the_first_second():
    data = colour_film([(at * 100, 30 if at < 10 else 200) for at in range(30)], width=64, height=48)
    poster = make_poster(io.BytesIO(data), len(data))
    assert poster is not None
    assert np.asarray(Image.open(io.BytesIO(poster)).convert("L"))[-8:, -8:].mean() > 150


@pytest.mark.parametrize("name", ["empty.mp4", "garbage.mp4", "power_cut.mp4", "index_alone.mp4", "nested_boxes.mp4"])
def test_no_poster_of_what_shows_nothing(name):
    data = (GOLDEN / name).read_bytes()
    assert make_poster(io.BytesIO(data), len(data)) is None


def test_limits_follow_the_size():
    assert proxy_limits(1 << 30).wall_s > proxy_limits(1 << 20).wall_s
    assert proxy_limits(0).wall_s == 120
