"""Jobs and workers: what is in the queue, and workers that are killed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from rq import Callback
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer
from rq.webhook import Webhook

from ops.home.access import jobs_settings
from ops.home.folder import Home
from ops.jobs import QUEUE, AllowedJob, JobQueue
from ops.options import DEFAULT_HOME
from shared.log.schema import PROJECTOR_ROLE
from tests.conftest import Starfold
from tests.support.api import Api
from tests.support.ports import free_port
from tests.support.system import System, eventually

TAKEN_UP_WITHIN_S = 120.0
STARTED_WITHIN_S = 60.0
STOPPED_WITHIN_S = 30.0
BUILD_SECONDS = 15  # Longer than a worker takes to start on a busy machine.


class Worker:
    """`python -m ops.worker` in a process of its own."""

    def __init__(self, system: System, folder: Path) -> None:
        self.heartbeat = folder / "heartbeat"
        port = free_port()
        self._metrics = f"http://127.0.0.1:{port}/metrics"
        environment = {
            **os.environ,
            **system.servers.home.environment(PROJECTOR_ROLE),
            "STARFOLD_DATABASE_SCHEMA": system.schema,
            "STARFOLD_HEARTBEAT_FILE": str(self.heartbeat),
            "STARFOLD_WORKER_METRICS_PORT": str(port),
        }
        folder.mkdir(exist_ok=True)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ops.worker"], env=environment, cwd=folder
        )
        eventually(self.heartbeat.exists, STARTED_WITHIN_S)

    def wait_to_show(self, sample: str) -> None:
        """Wait until its metrics have a sample, as they write it; a failure has the last ones."""
        seen: list[str] = []

        def is_there() -> bool:
            seen[:] = httpx.get(self._metrics).text.splitlines()
            return sample in seen

        try:
            eventually(is_there)
        except AssertionError as never:
            silent_s = time.time() - self.heartbeat.stat().st_mtime
            own = [line for line in seen if line.startswith("starfold_")]
            raise AssertionError(f"the last heartbeat was {silent_s:.1f} s ago: {own}") from never

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(STOPPED_WITHIN_S)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(STOPPED_WITHIN_S)


@pytest.fixture
def jobs(starfold: Starfold) -> JobQueue:
    return JobQueue(jobs_settings(Home(DEFAULT_HOME)))


@pytest.fixture
def start_worker(system: System, tmp_path: Path) -> Iterator[Callable[[], Worker]]:
    started: list[Worker] = []

    def start() -> Worker:
        started.append(Worker(system, tmp_path / f"worker-{len(started)}"))
        return started[-1]

    yield start
    for worker in started:
        worker.stop()


def test_the_job_of_a_killed_worker_is_taken_up_by_an_idle_one(
    own: Api, jobs: JobQueue, starfold: Starfold, start_worker: Callable[[], Worker]
) -> None:
    for _ in range(BUILD_SECONDS):
        own.movie()
    busy = start_worker()
    ordered = starfold("replay", "movies", "--detach", "--throttle", "1", "--no-switch")
    assert ordered.exit_code == 0, ordered.output
    job_id = "build-movies-2-0"
    eventually(lambda: _status(jobs, job_id) == JobStatus.STARTED)
    first = _fetch(jobs, job_id).worker_name
    busy.wait_to_show('starfold_jobs{state="started"} 1.0')
    idle = start_worker()
    idle.wait_to_show("starfold_workers 2.0")
    busy.kill()
    eventually(lambda: _fetch(jobs, job_id).worker_name not in (None, first), TAKEN_UP_WITHIN_S)
    idle.kill()


def test_a_job_that_a_killed_worker_had_taken_and_not_started_is_taken_up(
    jobs: JobQueue, start_worker: Callable[[], Worker]
) -> None:
    start_worker()
    idle = start_worker()
    idle.kill()
    taken = Job.create(
        "ops.jobs.audit",
        args=("movies", 99),
        connection=jobs.connection,
        serializer=JSONSerializer,
        origin=QUEUE,
        timeout=-1,
        status=JobStatus.QUEUED,
    )
    taken.retries_left = 1
    taken.save()
    jobs.connection.rpush(jobs.queue.intermediate_queue.key, taken.id)
    eventually(lambda: _status(jobs, taken.id) == JobStatus.FINISHED, TAKEN_UP_WITHIN_S)


def test_a_killed_worker_does_not_count_as_one_for_long(
    jobs: JobQueue, start_worker: Callable[[], Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = start_worker()
    jobs.require_worker()
    worker.kill()
    monkeypatch.setattr("ops.jobs.counts.WORKER_SILENT_MAX", timedelta(0))
    with pytest.raises(Exception, match="no worker is running"):
        jobs.require_worker()


def test_a_job_with_a_callback_or_a_webhook_is_refused(
    jobs: JobQueue, start_worker: Callable[[], Worker], tmp_path: Path
) -> None:
    """RQ calls what a job names when it ends, in the worker, whatever the job itself may do."""
    received: list[str] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Print nothing."""

    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        callback = Callback("tests.integration.ops.test_jobs.touch")
        hostile: list[dict[str, Any]] = [
            {"on_success": callback},
            {"on_failure": callback},
            {"on_stopped": callback},
            {"webhooks": [Webhook(f"{url}/failed", "failed", method="POST")]},
            {"webhooks": [Webhook(f"{url}/finished", "finished", method="POST")]},
        ]
        refused = [_enqueue(jobs, "ops.jobs.audit", tmp_path, **one) for one in hostile]
        refused.append(_enqueue(jobs, "os.system", tmp_path, on_failure=callback))
        start_worker()
        for job in refused:
            eventually(lambda job=job: _status(jobs, job) == JobStatus.FAILED, STARTED_WITHIN_S)  # type: ignore[misc]  # mypy does not see the default.
        server.shutdown()
    assert received == []
    assert not (tmp_path / "touched").exists()
    for job in refused:
        assert "JobNotAllowed" in (_fetch(jobs, job).latest_result().exc_string or "")  # type: ignore[union-attr]  # It failed, so there is one.


def touch(job: Job, *_: object) -> None:
    """A callback; it must not run."""
    Path(job.meta["folder"], "touched").touch()


def _enqueue(jobs: JobQueue, function: str, folder: Path, **options: Any) -> str:
    """As somebody does who can write to the jobs' Redis."""
    job = Job.create(
        function,
        args=("movies", 99),
        connection=jobs.connection,
        serializer=JSONSerializer,
        origin=QUEUE,
        timeout=-1,
        meta={"folder": str(folder)},
        **options,
    )
    jobs.queue.enqueue_job(job)
    return str(job.id)


def _fetch(jobs: JobQueue, job_id: str) -> Job:
    return AllowedJob.fetch(job_id, connection=jobs.connection, serializer=JSONSerializer)


def _status(jobs: JobQueue, job_id: str) -> JobStatus | None:
    return _fetch(jobs, job_id).get_status()
