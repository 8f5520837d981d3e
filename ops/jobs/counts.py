"""How many jobs and live workers there are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from rq import Worker
from rq.registry import FailedJobRegistry, StartedJobRegistry

from ops.jobs import Jobs

# A dead worker stays registered for longer than this.
WORKER_SILENT_MAX = timedelta(seconds=60)


class JobCounts(NamedTuple):
    """The jobs of a queue by state, and the live workers."""

    queued: int
    started: int
    failed: int
    workers: int


def job_counts(queue: Jobs) -> JobCounts:
    """Count, and change nothing; raises `redis.RedisError`."""
    now = datetime.now(UTC)
    beats = [one.last_heartbeat for one in Worker.all(connection=queue.connection, queue=queue)]
    return JobCounts(
        queued=queue.count,
        started=StartedJobRegistry(queue=queue).get_job_count(cleanup=False),
        failed=FailedJobRegistry(queue=queue).get_job_count(cleanup=False),
        workers=sum(
            beat is not None and now - beat.astimezone(UTC) < WORKER_SILENT_MAX for beat in beats
        ),
    )
