"""Real Celery workers on real brokers: the job table is the truth, a message only a nudge."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from bwc.cli.supervisor import environment
from bwc.core.clock import SettableClock
from bwc.db.models import Derivative, Job
from bwc.demonstration.footage import footage
from bwc.installation import Installation
from bwc.settings import Settings
from bwc.tasks.celery import announce, make_celery
from bwc.tasks.jobs import MAX_ATTEMPTS, STALE_AFTER, release_claims, run_job, waiting_jobs
from factories import ROOT, at, take


@pytest.fixture(scope="module")
def film() -> bytes:
    from datetime import UTC, datetime

    return footage(datetime(2026, 11, 22, 17, tzinfo=UTC), 3, "CAM-07", width=320, height=180, fps=5)


@contextmanager
def worker(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    command = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "bwc.tasks.worker",
        "worker",
        "--concurrency",
        "1",
        "--pool",
        "prefork",
    ]
    log = (settings.data / "worker.log").open("ab")
    process = subprocess.Popen(
        [*command, "--loglevel", "WARNING"],
        cwd=ROOT,
        env=environment(settings),
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(60)
        log.close()


def wait_for_jobs(house: Installation, states: set[str], patience_s: float = 90) -> list[Job]:
    deadline = time.monotonic() + patience_s
    while True:
        with house.database.read() as session:
            jobs = list(session.scalars(select(Job)))
        if {job.state for job in jobs} <= states:
            return jobs
        assert time.monotonic() < deadline, (
            [vars(job) for job in jobs],
            (house.settings.data / "worker.log").read_text(),
        )
        time.sleep(0.2)


def derivatives(house: Installation) -> set[str]:
    with house.database.read() as session:
        return set(session.scalars(select(Derivative.kind)))


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    if shutil.which("redis-server") is None:
        pytest.fail("redis-server is not installed; type: apt-get install -y redis-server", pytrace=False)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.parametrize("broker", ["embedded", "redis"])
def test_a_worker_makes_poster_and_proxy(house: Installation, film: bytes, broker: str, tmp_path: Path) -> None:
    with redis_server(tmp_path) if broker == "redis" else no_server() as url:
        settings = house.settings.model_copy(update={"broker_url": url})
        taken = take(house, film)
        announce(make_celery(settings), taken.jobs)
        with worker(settings):
            wait_for_jobs(house, {"done"})
    assert derivatives(house) == {"poster", "proxy"}


@contextmanager
def no_server() -> Iterator[str]:
    yield ""


def test_messages_wait_on_the_disk_until_a_worker_comes_and_carry_only_an_id(house: Installation, film: bytes) -> None:
    taken = take(house, film)
    announce(make_celery(house.settings), taken.jobs)
    messages = list((house.settings.broker_folder / "queue").iterdir())
    assert len(messages) == 2
    for message in messages:
        headers = json.loads(message.read_bytes())["headers"]
        assert headers["argsrepr"] in {f"['{job}']" for job in taken.jobs}


def test_a_worker_killed_in_the_middle_loses_no_job(house: Installation, film: bytes, clock: SettableClock) -> None:
    taken = take(house, film)
    announce(make_celery(house.settings), taken.jobs)
    with worker(house.settings) as process:
        time.sleep(2.0)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    release_claims(house)
    for job_id in waiting_jobs(house):
        run_job(house, job_id)
    assert {job.state for job in wait_for_jobs(house, {"done"})} == {"done"}
    assert derivatives(house) == {"poster", "proxy"}
    with house.database.read() as session:
        names = set(session.scalars(select(Derivative.vault_name)))
    assert names < set(house.vault.names())


def test_a_replayed_or_invented_message_does_nothing(house: Installation, film: bytes) -> None:
    taken = take(house, film)
    assert run_job(house, taken.jobs[0])
    assert not run_job(house, taken.jobs[0])
    assert not run_job(house, "0" * 26)
    assert not run_job(house, "../../etc/passwd")


def test_a_job_held_by_a_dead_worker_is_given_again_after_its_time(
    house: Installation, film: bytes, clock: SettableClock
) -> None:
    taken = take(house, film)
    with house.database.write() as session:
        job = session.get_one(Job, taken.jobs[0])
        job.state, job.claim, job.claimed_at = "running", "0" * 26, clock.now()
    assert taken.jobs[0] not in waiting_jobs(house)
    clock.advance(STALE_AFTER + timedelta(seconds=1))
    assert taken.jobs[0] in waiting_jobs(house)


def test_a_job_that_fails_is_tried_again_then_given_up_and_said_so(
    house: Installation, film: bytes, clock: SettableClock
) -> None:
    taken = take(house, film)
    for path in house.settings.vault_folder.glob("??/*.bwc"):
        path.write_bytes(b"")
    for _ in range(MAX_ATTEMPTS):
        clock.advance(timedelta(hours=1))
        assert run_job(house, taken.jobs[0])
    with house.database.read() as session:
        job = session.get_one(Job, taken.jobs[0])
    assert job.state == "failed"
    assert job.error.startswith("container")


def test_a_broker_that_is_down_does_not_stop_an_intake(house: Installation, film: bytes) -> None:
    settings = house.settings.model_copy(update={"broker_url": "redis://127.0.0.1:1/0"})
    taken = take(house, film)
    app = make_celery(settings)
    app.conf.broker_transport_options = {"socket_connect_timeout": 1, "max_retries": 1}
    app.conf.broker_connection_timeout = 1
    announce(app, taken.jobs)
    assert set(waiting_jobs(house)) == set(taken.jobs)


def test_every_entry_of_the_schedule_can_be_sent_and_does_its_act(
    house: Installation, film: bytes, clock: SettableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bwc.db.models import Checkpoint, ErasureCertificate, JournalEntry

    monkeypatch.setattr("bwc.tasks.celery.open_installation", lambda settings: house)
    app = make_celery(house.settings)
    taken = take(house, film)
    for entry in app.conf.beat_schedule.values():
        app.tasks[entry["task"]].apply_async()
    assert len(list((house.settings.broker_folder / "queue").iterdir())) == len(app.conf.beat_schedule)
    app.tasks["bwc.sweep_jobs"]()
    assert derivatives(house) == {"poster", "proxy"}
    clock.advance(timedelta(minutes=11))
    app.tasks["bwc.checkpoint"]()
    app.tasks["bwc.verify_share"]()
    at(house, clock.now() + timedelta(days=31))
    app.tasks["bwc.erase_due"]()
    with house.database.read() as session:
        assert session.scalars(select(Checkpoint)).all()
        assert session.scalars(select(JournalEntry.seq).where(JournalEntry.action == "store.verified")).all()
        assert session.scalars(select(ErasureCertificate.recording_id)).all() == [taken.recording_id]


def test_beat_sends_the_schedule_to_a_worker_that_signs_the_ledger(house: Installation) -> None:
    """The real scheduler and the real worker: within a minute or so the ledger is signed by nobody's hand."""
    from bwc.db.models import Checkpoint

    command = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "bwc.tasks.worker",
        "beat",
        "--loglevel",
        "WARNING",
        "--pidfile",
        "",
    ]
    with (house.settings.data / "beat.log").open("ab") as log, worker(house.settings):
        beat = subprocess.Popen(
            [*command, "--pidfile", ""], cwd=ROOT, env=environment(house.settings), stdout=log, stderr=log
        )
        try:
            deadline = time.monotonic() + 150
            while True:
                with house.database.read() as session:
                    if session.scalars(select(Checkpoint)).all():
                        break
                assert time.monotonic() < deadline, (house.settings.data / "beat.log").read_text()
                time.sleep(1)
        finally:
            beat.terminate()
            beat.wait(30)
    assert b"ERROR" not in (house.settings.data / "beat.log").read_bytes()
