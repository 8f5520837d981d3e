"""Take operators' jobs from RQ and run each in its own process: `python -m ops.worker`.

A job that is interrupted, with its worker or alone, is queued again. The worker also keeps the
process that reads members' imports.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from resource import struct_rusage
from types import FrameType

import redis
import structlog
from redis.client import Pipeline
from rq import Worker
from rq.job import Job
from rq.serializers import JSONSerializer

from ops.failures import failure_text
from ops.import_reader import ImportReader
from ops.jobs import AllowedJob, JobQueue
from ops.jobs.metrics import METRICS, measure
from ops.jobs.recovery import JobRecovery, drop_unusable_keys
from ops.local.guardian import die_with_parent
from ops.settings import JobsSettings
from projector.following.follower import SERVER_ERRORS
from projector.settings import ProjectorSettings
from projector.wiring import wire
from shared.log.connections import forget_libpq_variables
from shared.log.schema import require_pooler_setting
from shared.process.gc_tuning import tune_collector
from shared.process.logs import configure_logging
from shared.process.metrics_server import MetricsServer
from shared.process.settings import settings_from_environment
from shared.process.tasks import TaskHealth, Tasks
from shared.read_model.clients import NO_CLUSTER, require_no_cluster

# A job whose worker was killed is taken up within the sum of these: the silence that reveals it,
# the interval at which workers look for such jobs, and the time that an idle one waits for a new
# job.
SILENT_MAX_S = 10
MAINTENANCE_EVERY_S = 4
IDLE_WAIT_S = 1
HEARTBEAT_EVERY_S = 3
HORSE_POLL_S = 0.05
RECONNECT_MAX_S = 2.0
RECOVERY_STALE_AFTER_S = 60.0
# RQ waits for a job this much shorter than the lifetime that it gives an idle worker.
_IDLE_MARGIN_S = 15

log = structlog.get_logger()


class JobsWorker(Worker):
    """Ends the current job when it is stopped; a job's process never outlives its worker.

    Each heartbeat touches `heartbeat_file`, for a health check, and is followed by `measure`.
    """

    max_connection_wait_time = RECONNECT_MAX_S
    heartbeat_file: Path | None = None
    measure: Callable[[], object] | None = None
    recover: Callable[[], object] | None = None
    import_reader: ImportReader | None = None
    recovery: TaskHealth

    def heartbeat(self, timeout: int | None = None, pipeline: Pipeline | None = None) -> None:
        super().heartbeat(timeout, pipeline)
        if self.heartbeat_file is not None:
            self.heartbeat_file.touch()
        if self.import_reader is not None:
            self.import_reader.keep()
        if self.measure is not None:
            self.measure()

    def wait_for_horse(self) -> tuple[int | None, int | None, struct_rusage | None]:
        """Poll for the end of the job's process.

        Any thread may receive the alarm for the next heartbeat, or a request to stop; only if it is
        the main one does that interrupt a wait.
        """
        try:
            while not (ended := os.wait4(self.horse_pid, os.WNOHANG))[0]:
                time.sleep(HORSE_POLL_S)
        except ChildProcessError:
            return None, None, None
        return ended

    def run_maintenance_tasks(self) -> None:
        super().run_maintenance_tasks()  # type: ignore[no-untyped-call]  # RQ's own, without types.
        if self.recover is None:
            return
        try:
            self.recover()
        except Exception as error:  # noqa: BLE001  # It is logged and counted, and tried again.
            self.recovery.failed(error, expected=isinstance(error, SERVER_ERRORS))
        else:
            self.recovery.succeeded()

    def register_again(self) -> None:
        """Register the worker again if Redis has lost it."""
        if not self.connection.sismember("rq:workers", self.key):
            self.connection.delete(self.key)
            self.register_birth()  # type: ignore[no-untyped-call]  # RQ's own, without types.

    @property
    def should_run_maintenance_tasks(self) -> bool:
        """Called by RQ before it waits for a job; raises `SystemExit` once a stop was requested."""
        if self._stop_requested:
            raise SystemExit
        return bool(super().should_run_maintenance_tasks)

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """End the current job, and then this worker; without a job, exit at once.

        RQ would raise an exception of its own, which an `except Exception` around the running code
        would mistake for a failure.
        """
        self._stop_requested = True
        if not self.horse_pid:
            raise SystemExit
        self.kill_horse(signal.SIGTERM)

    def setup_work_horse_signals(self) -> None:
        super().setup_work_horse_signals()  # type: ignore[no-untyped-call]  # RQ's own, without types.
        die_with_parent()
        # Another thread may have held a metric's lock when this process was forked.
        self.measure = None

    def get_heartbeat_ttl(self, job: Job, working_time: float = 0.0) -> int:
        return SILENT_MAX_S


def main() -> None:
    """Work until SIGTERM or SIGINT."""
    settings = settings_from_environment(JobsSettings)
    # Validate the settings of the jobs here; each job's process reads them again.
    projector_settings = settings_from_environment(ProjectorSettings)
    configure_logging(settings, process="worker")
    forget_libpq_variables()
    require_pooler_setting(
        projector_settings.database_url.get_secret_value(),
        schema=projector_settings.database_schema,
        pooler=projector_settings.database_pooler,
    )
    jobs = JobQueue(settings)
    try:
        require_no_cluster(jobs.connection, "STARFOLD_JOBS_REDIS_URL", NO_CLUSTER)
        drop_unusable_keys(jobs)
    except redis.RedisError as error:  # RQ waits for a server that does not answer.
        log.warning("redis_unavailable", reason=failure_text(error))
    worker = JobsWorker(
        [jobs.queue],
        connection=jobs.connection,
        serializer=JSONSerializer,
        job_class=AllowedJob,
        worker_ttl=IDLE_WAIT_S + _IDLE_MARGIN_S,
        maintenance_interval=MAINTENANCE_EVERY_S,
        job_monitoring_interval=HEARTBEAT_EVERY_S,
        log_job_description=False,
    )
    worker.heartbeat_file = settings.heartbeat_file
    tasks = Tasks(expected=SERVER_ERRORS)
    worker.recovery = tasks.health("job-recovery", stale_after_s=RECOVERY_STALE_AFTER_S)
    wiring = wire(projector_settings)
    recovery = JobRecovery(jobs, wiring.generations)

    def recover() -> None:
        worker.register_again()
        recovery.run_once()

    worker.recover = recover
    worker.import_reader = import_reader = ImportReader()
    import_reader.keep()
    if settings.worker_metrics_port is not None:
        worker.measure = partial(measure, jobs.queue)
        MetricsServer(
            METRICS,
            host=projector_settings.metrics_host,
            port=settings.worker_metrics_port,
            setting="STARFOLD_WORKER_METRICS_PORT",
        )
    tune_collector()
    log.info("worker_started")
    try:
        worker.work(logging_level="WARNING")
    finally:
        import_reader.end()
        log.info("worker_stopped")


if __name__ == "__main__":
    try:
        main()
    except Exception as error:  # One line says why the worker ends, whatever the error.
        log.debug("worker_failed", exc_info=True)
        sys.exit(f"starfold worker: {failure_text(error)}")
