"""Operators' jobs and their queue; events never go through it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from rq import Queue, Retry
from rq.intermediate_queue import IntermediateQueue
from rq.job import Job
from rq.serializers import JSONSerializer

from ops.errors import OperatorError
from ops.settings import JobQueueSettings
from projector.audit.auditor import Audit
from projector.building.builder import Builder
from projector.generations.table import AuditState, Generation, State
from projector.settings import ProjectorSettings
from projector.wiring import Wiring, wire
from shared.errors import StarfoldError
from shared.process.settings import settings_from_environment
from shared.read_model.clients import server_client

QUEUE = "starfold"
# A job resumes where it was interrupted, so frequent interrupts are no reason to drop it.
RETRIES_MAX = 100
RESULT_KEPT_S = 3_600
FAILURE_KEPT_S = 86_400
# A job that was taken but not started for this long is queued again.
UNSTARTED_MAX = timedelta(seconds=8)
MAINTENANCE_MAX_S = 10
AUDITED: tuple[State, ...] = ("following", "active", "retired")

log = structlog.get_logger()


class JobNotAllowed(Exception):
    """Raised for a job whose function is not in `ALLOWED`."""


def build_share(
    projection: str, number: int, share: int, events_per_s: float | None = None
) -> bool:
    """Build one share of a generation; after the last one, audit the generation if requested.

    Settings come from the environment.
    """
    wiring = wire(settings_from_environment(ProjectorSettings))
    try:
        builder = Builder(
            wiring.reader, wiring.store, wiring.generations, events_per_s=events_per_s
        )
        built = builder.build(projection, number, share)
        generation = wiring.generations.get(projection, number)
        if generation and generation.audit == "wanted" and generation.state in AUDITED:
            _audit(wiring, generation)
        return built
    finally:
        wiring.close()


def audit(projection: str, number: int) -> bool:
    """Compare a generation with the log, and store the outcome in the table of generations."""
    wiring = wire(settings_from_environment(ProjectorSettings))
    try:
        generation = wiring.generations.get(projection, number)
        return generation is not None and _audit(wiring, generation)
    finally:
        wiring.close()


def _audit(wiring: Wiring, generation: Generation) -> bool:
    audit_log = log.bind(projection=generation.projection, generation=generation.number)
    try:
        report = Audit(wiring.reader, wiring.store).verify(generation)
    except StarfoldError as error:
        audit_log.error("audit_failed", error=error.code, reason=str(error))
        passed = False
    else:
        passed = report.passed
        audit_log.info(
            "audit_finished",
            keys=report.keys,
            position=report.position,
            differences=len(report.differences),
            parked=len(report.parked),
        )
    outcome: AuditState = "passed" if passed else "failed"
    wiring.generations.set_audit(generation.projection, generation.number, outcome)
    return passed


ALLOWED = frozenset(f"{__name__}.{job.__name__}" for job in (build_share, audit))


class AllowedJob(Job):
    """A job of this module: the queue's contents cannot make a worker call or send anything else.

    RQ runs callbacks in the worker and sends webhooks from it, even for a job that was refused or
    abandoned. A job with either loses them when it is loaded, and is never run.
    """

    _refused = False

    def restore(self, raw_data: Any) -> Any:
        restored = super().restore(raw_data)
        names = (
            self._success_callback_name,
            self._failure_callback_name,
            self._stopped_callback_name,
        )
        if any(names) or self.webhooks:
            self._refused = True
            self._success_callback_name = None
            self._failure_callback_name = None
            self._stopped_callback_name = None
            self.webhooks = []
            self.retries_left = 0
        return restored

    def _execute(self) -> object:
        if self._refused:
            raise JobNotAllowed(f"job {self.id} has a callback or a webhook")
        if self.func_name not in ALLOWED:
            raise JobNotAllowed(f"{self.func_name} is not a job of Starfold")
        return super()._execute()


class UnstartedJobs(IntermediateQueue):
    """Jobs that a worker has taken from the queue but not started yet.

    A worker that dies in between leaves its job here; RQ itself waits a minute for it.
    """

    def should_be_cleaned_up(self, job_id: str) -> bool:
        first_seen = self.get_first_seen(job_id)
        return first_seen is not None and datetime.now(UTC) - first_seen > UNSTARTED_MAX


class Jobs(Queue):
    """The queue of Starfold's jobs."""

    @property
    def intermediate_queue(self) -> IntermediateQueue:
        return UnstartedJobs(self.key, connection=self.connection)

    def acquire_maintenance_lock(self) -> bool:
        """Hold the lock briefly only: a worker that dies meanwhile leaves it behind."""
        return bool(
            self.connection.set(self.registry_cleaning_key, 1, nx=True, ex=MAINTENANCE_MAX_S)
        )


class JobQueue:
    """Puts jobs into the queue."""

    def __init__(self, settings: JobQueueSettings) -> None:
        self.connection = server_client(settings.jobs_redis_url.get_secret_value())
        self.queue = Jobs(
            QUEUE,
            connection=self.connection,
            serializer=JSONSerializer,
            job_class=AllowedJob,
            default_timeout=-1,
        )

    def close(self) -> None:
        self.connection.close()

    def build_share(
        self, projection: str, number: int, share: int, events_per_s: float | None = None
    ) -> Job:
        return self.queue.enqueue(
            build_share,
            args=(projection, number, share, events_per_s),
            job_id=f"build-{projection}-{number}-{share}",
            retry=Retry(max=RETRIES_MAX),
            result_ttl=RESULT_KEPT_S,
            failure_ttl=FAILURE_KEPT_S,
        )

    def audit(self, projection: str, number: int) -> Job:
        return self.queue.enqueue(
            audit,
            args=(projection, number),
            job_id=f"audit-{projection}-{number}",
            retry=Retry(max=RETRIES_MAX),
            result_ttl=RESULT_KEPT_S,
            failure_ttl=FAILURE_KEPT_S,
        )

    def require_worker(self) -> None:
        """Raise `OperatorError` if no worker is running."""
        # Imported late: it is slow, and commands that fail do without it.
        from ops.jobs.counts import job_counts

        if not job_counts(self.queue).workers:
            raise OperatorError("no worker is running: start one with `python -m ops.worker`")
