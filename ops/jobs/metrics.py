"""Metrics of the operators' jobs and their workers.

The worker's main thread measures between its heartbeats: another thread could hold a connection or
a lock while the worker forks a job's process.
"""

from __future__ import annotations

from datetime import UTC, datetime

from prometheus_client import Gauge
from rq import Worker
from rq.registry import FailedJobRegistry, StartedJobRegistry

from ops.jobs import WORKER_SILENT_MAX, Jobs
from shared.process.tasks import FAILURES, LAST_SUCCESS_AGE

JOBS = Gauge("starfold_jobs", "Operators' jobs in each state.", ["state"])
WORKERS = Gauge("starfold_workers", "Live workers that run operators' jobs.")

METRICS = (JOBS, WORKERS, FAILURES, LAST_SUCCESS_AGE)


def measure(queue: Jobs) -> None:
    """Count the queue's jobs and workers, and change nothing; raises `redis.RedisError`."""
    JOBS.labels("queued").set(queue.count)
    JOBS.labels("started").set(StartedJobRegistry(queue=queue).get_job_count(cleanup=False))
    JOBS.labels("failed").set(FailedJobRegistry(queue=queue).get_job_count(cleanup=False))
    now = datetime.now(UTC)
    beats = [one.last_heartbeat for one in Worker.all(connection=queue.connection, queue=queue)]
    WORKERS.set(
        sum(beat is not None and now - beat.astimezone(UTC) < WORKER_SILENT_MAX for beat in beats)
    )
