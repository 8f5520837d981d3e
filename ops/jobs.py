"""Operators' jobs and the queue they go through. The log is no job: events never go this way."""

from __future__ import annotations

from redis import Redis
from rq import Queue, Retry
from rq.job import Job
from rq.serializers import JSONSerializer

from ops.errors import OperatorError
from ops.settings import JobsSettings
from projector.build import Builder
from projector.settings import ProjectorSettings
from projector.wiring import wire

QUEUE = "starfold"
# A job goes on where it was interrupted, so being interrupted often is no reason to give it up.
RETRIES_MAX = 100
RESULT_KEPT_S = 3_600
FAILURE_KEPT_S = 86_400


class JobNotAllowed(Exception):
    """A job names a function that is not in `ALLOWED`."""


def build_share(projection: str, number: int, share: int) -> bool:
    """Build one share of a generation; settings come from the environment."""
    wiring = wire(ProjectorSettings())
    try:
        builder = Builder(wiring.reader, wiring.store, wiring.generations)
        return builder.build(projection, number, share)
    finally:
        wiring.close()


ALLOWED = frozenset({f"{__name__}.{build_share.__name__}"})


class AllowedJob(Job):
    """A job of this module: what is in the queue cannot make a worker call anything else."""

    def _execute(self) -> object:
        if self.func_name not in ALLOWED:
            raise JobNotAllowed(f"{self.func_name} is not a job of Starfold")
        return super()._execute()


class JobQueue:
    """Puts jobs into the queue."""

    def __init__(self, settings: JobsSettings) -> None:
        self.connection = Redis.from_url(settings.jobs_redis_url.get_secret_value())
        self.queue = Queue(
            QUEUE,
            connection=self.connection,
            serializer=JSONSerializer,
            job_class=AllowedJob,
            default_timeout=-1,
        )

    def build_share(self, projection: str, number: int, share: int) -> Job:
        return self.queue.enqueue(
            build_share,
            args=(projection, number, share),
            job_id=f"build-{projection}-{number}-{share}",
            retry=Retry(max=RETRIES_MAX),
            result_ttl=RESULT_KEPT_S,
            failure_ttl=FAILURE_KEPT_S,
        )

    def require_worker(self) -> None:
        """Raises `OperatorError` if nobody would take a job."""
        from rq import Worker  # Imported late: it is slow, and commands that fail do without it.

        if Worker.count(connection=self.connection, queue=self.queue) == 0:
            raise OperatorError("no worker is running: start one with `python -m ops.worker`")
