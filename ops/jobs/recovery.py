"""Recovery of lost jobs: queue again what the tables of generations and builds still require.

The queue is in Redis, which may lose its most recent writes, or everything. A missing job is queued
only after a delay: a command writes the table first and queues its jobs afterwards.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import redis
import structlog
from rq.exceptions import NoSuchJobError
from rq.job import Job, JobStatus

from ops.jobs import AUDITED, JobQueue
from projector.generations.table import Build, Generation, Generations

MISSED_MAX_S = 8.0
PENDING = (
    JobStatus.QUEUED,
    JobStatus.STARTED,
    JobStatus.SCHEDULED,
    JobStatus.DEFERRED,
)

log = structlog.get_logger()


class JobRecovery:
    """Compares the tables with the queue, on one thread."""

    def __init__(self, jobs: JobQueue, generations: Generations) -> None:
        self._jobs = jobs
        self._generations = generations
        self._missed_since: dict[str, float] = {}

    def run_once(self) -> list[str]:
        """Queue required jobs that have been missing for too long; return their ids."""
        queued = set(self._jobs.queue.get_job_ids())
        missed = {
            job_id: generation
            for generation in self._generations.all()
            for job_id in self._wanted(generation)
            if not self._is_pending(job_id, queued)
        }
        now = time.monotonic()
        self._missed_since = {one: self._missed_since.get(one, now) for one in missed}
        due = [one for one, since in self._missed_since.items() if now - since >= MISSED_MAX_S]
        for job_id in due:
            self._queue(job_id, missed[job_id])
            del self._missed_since[job_id]
        return due

    def _wanted(self, generation: Generation) -> Iterator[str]:
        projection, number = generation.projection, generation.number
        builds = [f"build-{projection}-{number}-{b.share}" for b in self._unbuilt(generation)]
        if generation.state == "building" and generation.reason == "replay":
            yield from builds
        elif generation.audit == "wanted" and generation.state in AUDITED:
            # The last build's own job also audits.
            shares = self._generations.builds(projection, number)
            jobs = [f"build-{projection}-{number}-{one.share}" for one in shares]
            if not any(self._status(job_id) == JobStatus.STARTED for job_id in jobs):
                yield f"audit-{projection}-{number}"

    def _unbuilt(self, generation: Generation) -> list[Build]:
        builds = self._generations.builds(generation.projection, generation.number)
        return [one for one in builds if not one.built]

    def _is_pending(self, job_id: str, queued: set[str]) -> bool:
        """Whether a job exists, or has failed for good and says why."""
        status = self._status(job_id)
        if status == JobStatus.QUEUED:
            return job_id in queued or job_id in self._jobs.queue.intermediate_queue.get_job_ids()
        return status in PENDING or (status == JobStatus.FAILED and job_id.startswith("build-"))

    def _status(self, job_id: str) -> JobStatus | None:
        try:
            job = Job.fetch(
                job_id, connection=self._jobs.connection, serializer=self._jobs.queue.serializer
            )
            return job.get_status()
        except NoSuchJobError:
            pass
        except (redis.RedisError, OSError) as error:
            # An error of the server says nothing about the job.
            if "WRONGTYPE" not in str(error):
                raise
            self._drop_damaged(job_id, error)
        except Exception as error:  # noqa: BLE001  # RQ decodes the job, and damaged bytes raise anything.
            self._drop_damaged(job_id, error)
        return None

    def _drop_damaged(self, job_id: str, error: Exception) -> None:
        """Delete an unreadable job, so that it is queued again."""
        log.warning("job_damaged", job=job_id, error=type(error).__name__)
        self._jobs.connection.delete(Job.key_for(job_id))

    def _queue(self, job_id: str, generation: Generation) -> None:
        projection, number = generation.projection, generation.number
        if job_id.startswith("audit-"):
            if self._status(job_id) == JobStatus.FAILED:
                log.error("audit_given_up", projection=projection, generation=number)
                self._generations.set_audit(projection, number, "failed")
                return
            self._jobs.audit(projection, number)
        else:
            self._jobs.build_share(projection, number, int(job_id.rpartition("-")[2]))
        log.warning("job_queued_again", job=job_id)


def drop_unusable_keys(jobs: JobQueue) -> list[str]:
    """Delete RQ's keys of the queue that have another type than RQ writes; return them."""
    queue = jobs.queue
    types = {
        queue.key: b"list",
        queue.intermediate_queue_key: b"list",
        queue.started_job_registry.key: b"zset",
        queue.finished_job_registry.key: b"zset",
        queue.failed_job_registry.key: b"zset",
        queue.deferred_job_registry.key: b"zset",
        queue.scheduled_job_registry.key: b"zset",
        queue.canceled_job_registry.key: b"zset",
        "rq:queues": b"set",
        "rq:workers": b"set",
        f"rq:workers:{queue.name}": b"set",
    }
    dropped = []
    for key, wanted in types.items():
        found = jobs.connection.type(key)
        if found not in (b"none", wanted):
            jobs.connection.delete(key)
            dropped.append(key)
    if dropped:
        log.warning("job_keys_dropped", keys=dropped)
    return dropped
