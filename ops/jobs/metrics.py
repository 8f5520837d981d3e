"""Metrics of the operators' jobs and their workers.

The worker's main thread measures between its heartbeats: another thread could hold a connection or
a lock while the worker forks a job's process.
"""

from __future__ import annotations

from prometheus_client import Gauge

from ops.jobs import Jobs
from ops.jobs.counts import job_counts
from shared.process.tasks import FAILURES, LAST_SUCCESS_AGE

JOBS = Gauge("starfold_jobs", "Operators' jobs in each state.", ["state"])
WORKERS = Gauge("starfold_workers", "Live workers that run operators' jobs.")

METRICS = (JOBS, WORKERS, FAILURES, LAST_SUCCESS_AGE)


def measure(queue: Jobs) -> None:
    """Count the queue's jobs and workers, and change nothing; raises `redis.RedisError`."""
    counts = job_counts(queue)
    JOBS.labels("queued").set(counts.queued)
    JOBS.labels("started").set(counts.started)
    JOBS.labels("failed").set(counts.failed)
    WORKERS.set(counts.workers)
