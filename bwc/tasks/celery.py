"""The Celery application: embedded durable broker by default, Redis or RabbitMQ by URL, and the daily schedule."""

from __future__ import annotations

from typing import Any

import structlog
from celery import Celery
from celery.schedules import crontab
from celery.signals import worker_process_init, worker_ready

from bwc.chain_of_custody.checkpoints import due
from bwc.core.clock import paris_day
from bwc.core.errors import StorageError
from bwc.erasure import erase_due
from bwc.installation import Installation, open_installation
from bwc.settings import Settings
from bwc.tasks.jobs import run_job, waiting_jobs
from bwc.verification import verify_store

log = structlog.get_logger()

SWEEP = 3
SHARES = 30  # a thirtieth of the store every night: everything is read once a month


def make_celery(settings: Settings) -> Celery:
    """A Celery application for `settings`; nothing is connected before a message is sent or a worker starts."""
    app = Celery("bwc", broker=settings.broker_url or "filesystem://", set_as_current=True)
    options: dict[str, Any] = {}
    if not settings.broker_url:
        queue, control = settings.broker_folder / "queue", settings.broker_folder / "control"
        for folder in (queue, control):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        options = {"data_folder_in": str(queue), "data_folder_out": str(queue), "control_folder": str(control)}
    app.conf.update(
        broker_transport_options=options,
        broker_connection_retry_on_startup=True,
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_acks_late=True,
        task_default_queue="bwc",
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        timezone="Europe/Paris",
        enable_utc=True,
        beat_schedule={
            "erase-due": {"task": "bwc.erase_due", "schedule": crontab(minute=1)},
            "verify-share": {"task": "bwc.verify_share", "schedule": crontab(hour=3, minute=30)},
            "checkpoint": {"task": "bwc.checkpoint", "schedule": 60.0},
            "sweep-jobs": {"task": "bwc.sweep_jobs", "schedule": 30.0, "options": {"expires": 25}},
        },
        beat_schedule_filename=str(settings.data / "schedule"),
    )
    _register(app, settings)
    return app


def announce(app: Celery, job_ids: tuple[str, ...]) -> None:
    """Tell a worker of jobs already in the table; a broker that is down costs half a minute, not the job."""
    for job_id in job_ids:
        try:
            app.send_task("bwc.run_job", args=[job_id])
        except Exception as error:  # any broker, any failure: the sweep finds the job
            log.warning("broker.unreachable", error=str(error))
            return


def _register(app: Celery, settings: Settings) -> None:
    """The tasks, each one line over an act of the layers below. Functions, because Celery counts arguments."""
    opened: list[Installation] = []

    def house() -> Installation:
        if not opened:
            opened.append(open_installation(settings))
        return opened[0]

    def run_one(job_id: str) -> None:
        run_job(house(), job_id)

    def sweep_jobs() -> None:
        """Run a few jobs whose message was lost, or never sent because the broker was down."""
        for job_id in waiting_jobs(house())[:SWEEP]:
            run_job(house(), job_id)

    def erase() -> None:
        try:
            erase_due(house())
        except StorageError as error:
            log.warning("erasure.delayed", error=str(error))

    def verify_share() -> None:
        day = paris_day(house().clock.now()).toordinal()
        verify_store(house(), share=(day % SHARES, SHARES))

    def checkpoint() -> None:
        if due(house().database, house().clock):
            house().publish_checkpoint()

    app.task(name="bwc.run_job", shared=False)(run_one)
    app.task(name="bwc.sweep_jobs", shared=False)(sweep_jobs)
    app.task(name="bwc.erase_due", shared=False)(erase)
    app.task(name="bwc.verify_share", shared=False)(verify_share)
    app.task(name="bwc.checkpoint", shared=False)(checkpoint)
    worker_process_init.connect(lambda **_: opened.clear(), weak=False)  # a forked worker opens its own connections
    worker_ready.connect(lambda **_: app.send_task("bwc.erase_due"), weak=False)
