"""The job table: claimed by one worker at a time, run, and ended; what a dead worker held is given again."""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog
from sqlalchemy import ColumnElement, and_, or_, select, update

from bwc.core.errors import BwcError
from bwc.core.ids import new_id
from bwc.db.models import Job
from bwc.ingest.derivatives import make_derivative
from bwc.installation import Installation

log = structlog.get_logger()

MAX_ATTEMPTS = 4
STALE_AFTER = timedelta(hours=3)  # longer than the longest proxy's own limit allows on a slow machine
RETRY_AFTER = timedelta(minutes=2)


def run_job(house: Installation, job_id: str) -> bool:
    """Claim and run one job; False when it is gone, done, not due yet or another's. Replays are harmless."""
    claim = new_id()
    job = _claim(house, job_id, claim)
    if job is None:
        return False
    try:
        make_derivative(house, job.subject_id, job.kind)
    except BwcError as error:
        log.error("job.failed", job=job_id, kind=job.kind, error=str(error), code=error.code)
        _end(house, job_id, claim, error=f"{error.code}: {error}")
        return True
    _end(house, job_id, claim, error=None)
    log.info("job.done", job=job_id, kind=job.kind)
    return True


def waiting_jobs(house: Installation) -> list[str]:
    """Ids of jobs that may run now: queued ones whose time has come, and running ones whose worker is long dead."""
    now = house.clock.now()
    with house.database.read() as session:
        query = select(Job.id).where(_runnable(now)).order_by(Job.made_at, Job.id).limit(500)
        return list(session.scalars(query))


def release_claims(house: Installation) -> None:
    """Give back what workers of this machine held when it stopped; called before any worker starts."""
    with house.database.write() as session:
        session.execute(update(Job).where(Job.state == "running").values(state="queued", claim=None))


def _runnable(now: datetime) -> ColumnElement[bool]:
    return or_(
        and_(Job.state == "queued", Job.not_before <= now),
        and_(Job.state == "running", Job.claimed_at < now - STALE_AFTER),
    )


def _claim(house: Installation, job_id: str, claim: str) -> Job | None:
    now = house.clock.now()
    with house.database.write() as session:
        session.execute(
            update(Job)
            .where(Job.id == job_id, _runnable(now))
            .values(state="running", claim=claim, claimed_at=now, attempts=Job.attempts + 1)
        )
        return session.scalars(select(Job).where(Job.id == job_id, Job.claim == claim)).one_or_none()


def _end(house: Installation, job_id: str, claim: str, *, error: str | None) -> None:
    now = house.clock.now()
    with house.database.write() as session:
        job = session.scalars(select(Job).where(Job.id == job_id, Job.claim == claim)).one_or_none()
        if job is None:
            return
        job.error = (error or "")[:500]
        job.claim = None
        if error is not None and job.attempts < MAX_ATTEMPTS:
            job.state, job.not_before = "queued", now + RETRY_AFTER * job.attempts
        else:
            job.state, job.ended_at = ("done" if error is None else "failed"), now
