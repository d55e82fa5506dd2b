"""Lists of recordings: pages that meet, filters that cut where the rule cuts, counters that are their lists."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import update

from bwc.catalogue import RecordingFilter, conformity, counters, custody_of, fleet, list_recordings
from bwc.catalogue.fleet import UNDOCKED_ALARM
from bwc.consultation import viewer_of
from bwc.core.clock import SettableClock, paris_day
from bwc.core.ids import new_id
from bwc.db.models import Camera, CameraIssue, Recording
from bwc.installation import Installation
from bwc.rules.access import Viewer
from bwc.web.recordings.query import read_cursor, write_cursor
from tests.factories import camera, person, take

MANY = 23


@pytest.fixture
def head(house: Installation) -> Viewer:
    return viewer_of(person(house, "2001"))


@pytest.fixture
def many(house: Installation) -> Installation:
    """Recordings with equal, different and absent starts, of two cameras; rows copied from one real intake."""
    now = house.clock.now()
    with house.database.write() as session:
        session.execute(update(CameraIssue).values(issued_at=now - timedelta(days=40)))
    kept = take(house, b"first").recording_id
    with house.database.write() as session:
        real = session.get_one(Recording, kept)
        columns = {column.name: getattr(real, column.name) for column in Recording.__table__.columns}
        for number in range(1, MANY):
            start = None if number % 6 == 0 else now - timedelta(minutes=30 * (number // 3))
            changed = {"id": new_id(), "sha256": f"{number:064x}", "claimed_start": start, "state": "held"}
            if number % 2:
                changed |= {"camera_id": camera(house, "CAM-12").id, "wearer_id": person(house, "2231").id}
            session.add(Recording(**(columns | changed)))
    return house


def walk(house: Installation, viewer: Viewer, wanted: RecordingFilter, size: int) -> list[str]:
    seen: list[str] = []
    cursor = None
    while True:
        page = list_recordings(house, viewer, wanted, cursor, size)
        seen += [row.id for row in page.rows]
        if page.after is None:
            return seen
        cursor = read_cursor(write_cursor(page.after) or "")


@pytest.mark.parametrize("size", [1, 2, 5, 7, MANY, MANY + 1])
def test_pages_meet_without_gap_or_overlap(many: Installation, head: Viewer, size: int) -> None:
    whole = list_recordings(many, head, RecordingFilter(), size=1000)
    assert whole.total == MANY
    assert walk(many, head, RecordingFilter(), size) == [row.id for row in whole.rows]


def test_latest_first_and_undated_last(many: Installation, head: Viewer) -> None:
    starts = [row.claimed_start for row in list_recordings(many, head, RecordingFilter(), size=1000).rows]
    dated = [start for start in starts if start]
    assert dated == sorted(dated, reverse=True)
    assert starts[len(dated) :] == [None] * (len(starts) - len(dated))


def test_wearer_lists_his_own_only(many: Installation) -> None:
    martin = viewer_of(person(many, "2214"))
    page = list_recordings(many, martin, RecordingFilter(), size=1000)
    assert page.total == len(page.rows) == (MANY + 1) // 2
    assert {row.wearer_id for row in page.rows} == {martin.person_id}
    other = RecordingFilter(wearer_id=person(many, "2231").id)
    assert list_recordings(many, martin, other).total == 0


def test_nobody_without_ground_lists_anything(many: Installation) -> None:
    for matricule in ("9001", "9102"):
        page = list_recordings(many, viewer_of(person(many, matricule)), RecordingFilter())
        assert (page.total, page.rows) == (0, [])


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (("CAM-07",), (MANY + 1) // 2),
        (("cam-12", "nguyen"), MANY // 2),
        (("2231",), MANY // 2),
        (("CAM-07", "nguyen"), 0),
        (("%",), 0),
        (("_AM-07",), 0),
    ],
)
def test_words_are_looked_for_as_they_are(many: Installation, head: Viewer, words: tuple[str, ...], count: int) -> None:
    assert list_recordings(many, head, RecordingFilter(words=words)).total == count


def test_counters_are_the_lists_they_head(house: Installation, head: Viewer, clock: SettableClock) -> None:
    now = clock.now()
    with house.database.write() as session:
        session.execute(update(CameraIssue).values(issued_at=now - timedelta(days=40)))
    clock.instant = now - timedelta(days=25)
    old = take(house, b"old").recording_id
    clock.instant = now
    unknown = take(house, b"unknown", camera_label=None).recording_id
    found = counters(house, head)
    assert [row.id for row in found.to_extract.rows] == [old]
    assert [row.id for row in found.quarantined.rows] == [unknown]
    assert found.to_complete.total == 2  # neither has a place
    assert found.extract_until == paris_day(now) + timedelta(days=10)


def test_custody_names_the_first_checkpoint_that_covers_each_entry(house: Installation, head: Viewer) -> None:
    first = take(house, b"1").recording_id
    made = house.publish_checkpoint()
    assert made is not None
    second = take(house, b"2").recording_id
    assert [line.checkpoint for line in custody_of(house, head, first)] == [made.size]
    assert [line.checkpoint for line in custody_of(house, head, second)] == [None]


def test_camera_out_for_long_is_late_until_it_is_docked(house: Installation, clock: SettableClock) -> None:
    with house.database.write() as session:
        session.execute(update(CameraIssue).values(issued_at=clock.now()))
    assert fleet(house).late == 0
    clock.advance(UNDOCKED_ALARM + timedelta(minutes=1))
    out = sum(item.holder is not None for item in fleet(house).cameras)
    assert fleet(house).late == out > 0
    with house.database.write() as session:
        session.execute(update(Camera).values(last_docked_at=clock.now()))
    assert fleet(house).late == 0


def test_conformity_sees_what_it_says(house: Installation) -> None:
    def holds(title: str) -> bool:
        return next(point.holds for point in conformity(house) if title in point.title)

    assert holds("Aucun enregistrement gardé")
    taken = take(house, b"x").recording_id
    with house.database.write() as session:
        past = paris_day(house.clock.now()) - timedelta(days=1)
        session.execute(update(Recording).where(Recording.id == taken).values(due_on=past, verified_at=None))
    assert not holds("Aucun enregistrement gardé")
    assert not holds("relus et vérifiés")
    assert [point.holds for point in conformity(house)] == sorted(point.holds for point in conformity(house))
