from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bwc.ingest import media_facts
from bwc.ingest.media_boxes import survey
from bwc.ingest.media_facts import MediaFacts, clean, degrees, read_facts
from bwc.ingest.sandbox import Done, Limits
from media_helpers import GOLDEN, START, box, clip, colour_film, nested

EXPECTED = json.loads((GOLDEN / "expected.json").read_text())


def facts_of(data: bytes, **more) -> MediaFacts:
    return read_facts(io.BytesIO(data), len(data), **more)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_hostile_file(name):
    facts = facts_of((GOLDEN / name).read_bytes())
    assert {key: getattr(facts, key) for key in EXPECTED[name]} == EXPECTED[name]
    assert MediaFacts.from_json(json.loads(json.dumps(facts.to_json()))) == facts


def test_honest_recording():
    facts = facts_of(clip())
    assert facts.readable
    assert facts.reason is None
    assert (facts.container, facts.video_codec, facts.audio_codec) == ("MPEG-4", "AVC", "AAC")
    assert (facts.width, facts.height, facts.frame_rate_milli, facts.rotation) == (320, 180, 10_000, 0)
    assert (facts.audio_channels, facts.audio_rate) == (1, 32_000)
    assert facts.duration_ms == 3000
    assert [track.kind for track in facts.tracks] == ["video", "audio"]
    assert not facts.truncated
    assert facts.flags == ()


def test_date_is_the_containers_claim_and_its_text_is_kept():
    facts = facts_of(clip())
    assert facts.started_claim == START
    assert facts.started_text == "2026-11-22 20:14:05 UTC"


@pytest.mark.parametrize(("container", "origin"), [("mp4", "loci"), ("mov", "©xyz")])
def test_place(container, origin):
    facts = facts_of(clip(container=container))
    assert facts.place_source == origin
    assert (facts.latitude, facts.longitude) == ("44.9334000", "4.8924000")
    assert (facts.latitude_e7, facts.longitude_e7) == (449_334_000, 48_924_000)


def test_no_place_when_the_camera_gave_none():
    facts = facts_of(clip(1.0, gps=False))
    assert facts.place_source is None
    assert facts.latitude is None


def test_hundred_hours_are_flagged():
    facts = facts_of((GOLDEN / "hundred_hours.mp4").read_bytes())
    assert "long_duration" in facts.flags


def test_strings_of_the_file_are_cleaned():
    facts = facts_of((GOLDEN / "title_of_control_characters.mp4").read_bytes())
    for text in json.dumps(facts.to_json(), ensure_ascii=False).split('"'):
        assert len(text) <= 200
        assert text.isprintable()


def test_nested_boxes_a_hundred_thousand_deep():
    data = box(b"ftyp", b"isom\0\0\2\0isom") + box(b"moov", nested(b"trak", 100_000))
    assert facts_of(data).reason == "bomb"


def test_avi_and_matroska_are_read():
    for container, name in (("avi", "AVI"), ("matroska", "Matroska")):
        data = colour_film([(at * 40, 90) for at in range(50)], width=64, height=48, container=container)
        facts = facts_of(data)
        assert facts.readable
        assert (facts.container, facts.width) == (name, 64)
        assert facts.duration_ms == pytest.approx(2000, abs=45)


def test_quarter_turn():
    data = colour_film([(at * 40, 90) for at in range(5)], width=64, height=48, turn=-90)
    assert facts_of(data).rotation == 90


def test_time_limit_gives_a_reason():
    assert facts_of(clip(), limits=Limits(wall_s=0.02)).reason == "timeout"


def test_memory_limit_gives_a_reason():
    assert facts_of(clip(), limits=Limits(memory=60 << 20)).reason in ("memory", "crashed")


@given(st.binary(max_size=600))
def test_survey_never_raises(data):
    survey(io.BytesIO(data), len(data))
    framed = box(b"ftyp") + box(b"moov", data) + data
    assert survey(io.BytesIO(framed), len(framed)).recognised


@pytest.mark.parametrize(
    ("raw", "shown"),
    [("a\tb\n c", "a b c"), ("x\x00\x1b[31m", "x[31m"), ("é" * 500, "é" * 200), (None, ""), ("\u202eevil", "evil")],
)
def test_clean(raw, shown):
    assert clean(raw) == shown


@pytest.mark.parametrize(
    ("e7", "text"), [(None, None), (-5_000_000, "-0.5000000"), (488_566_000, "48.8566000"), (0, "0.0000000")]
)
def test_degrees(e7, text):
    assert degrees(e7) == text


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"readable": 1},
        {"readable": True, "width": "12"},
        {"readable": True, "width": True},
        {"readable": True, "width": 2**60},
        {"readable": True, "latitude_e7": 900_000_001},
        {"readable": True, "reason": "other"},
        {"readable": True, "place_source": "here"},
        {"readable": True, "started_claim": "2026-11-22T20:14:05"},
        {"readable": True, "started_claim": "yesterday"},
        {"readable": True, "journey": [[1, 2]]},
        {"readable": True, "journey": [[1, 2, None]]},
        {"readable": True, "tracks": ["video"]},
        {"readable": True, "container": 7},
    ],
)
def test_facts_of_a_lying_child_are_refused(value):
    with pytest.raises(ValueError):  # noqa: PT011 - any ValueError is the contract
        MediaFacts.from_json(value)


def test_unknown_names_are_dropped():
    told = {"readable": True, "confinement": {}, "started_claim": "2026-11-22T21:14:05+01:00"}
    assert MediaFacts.from_json(told).started_claim == datetime(2026, 11, 22, 20, 14, 5, tzinfo=UTC)


@pytest.mark.parametrize("name", ["started_claim", "gps_fixed_at"])
@pytest.mark.parametrize("written", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-00:01"])
def test_instant_outside_every_calendar_is_no_instant(name, written, monkeypatch):
    told = {"readable": True, "container": "WebM", name: written}
    monkeypatch.setattr(media_facts, "run", lambda *_: Done(told))
    facts = facts_of(b"x")
    assert facts == MediaFacts(readable=True, container="WebM")
    assert getattr(facts, name) is None


@given(st.datetimes(timezones=st.builds(timezone, st.timedeltas(timedelta(hours=-23), timedelta(hours=23)))))
def test_instant_is_the_moment_written_or_none(moment):
    claim = MediaFacts.from_json({"readable": True, "started_claim": moment.isoformat()}).started_claim
    assert claim is None or (claim == moment and claim.tzinfo is UTC)
