"""Jobs that Redis has lost are queued again: the tables say what is to be done."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq import Worker
from rq.job import Job, JobStatus

from ops.home.access import jobs_settings
from ops.home.folder import Home
from ops.jobs import JobQueue
from ops.jobs import recovery as job_recovery
from ops.jobs.recovery import JobRecovery, drop_unusable_keys
from ops.options import DEFAULT_HOME
from ops.worker import JobsWorker
from projector.wiring import Wiring
from tests.conftest import Starfold, Work
from tests.support.read_models import active, wait_until_applied
from tests.support.scenarios.mixed_history import History
from tests.support.system import System, eventually


@pytest.fixture
def wiring(system: System, monkeypatch: pytest.MonkeyPatch) -> Wiring:
    monkeypatch.setattr(job_recovery, "MISSED_MAX_S", 0.0)
    history = History(system)
    history.go_on()
    made = system.projector_wiring()
    system.start_projector()
    wait_until_applied(made)
    return made


@pytest.fixture
def jobs(wiring: Wiring, work: Work) -> Iterator[JobQueue]:
    """An empty queue, with a worker that commands see."""
    made = JobQueue(jobs_settings(Home(DEFAULT_HOME)))
    made.queue.empty()  # type: ignore[no-untyped-call]  # RQ gives it no types.
    yield made
    made.queue.empty()  # type: ignore[no-untyped-call]  # RQ gives it no types.
    made.connection.close()


def _lose_everything(jobs: JobQueue) -> None:
    """What a Redis has lost that began with an empty file."""
    for key in jobs.connection.scan_iter("rq:job:*"):
        jobs.connection.delete(key)
    jobs.queue.empty()  # type: ignore[no-untyped-call]  # RQ gives it no types.


def test_an_unfinished_replay_is_queued_again_and_ends(
    jobs: JobQueue, wiring: Wiring, starfold: Starfold, work: Work
) -> None:
    assert starfold("replay", "movies", "--workers", "2", "--detach").exit_code == 0
    _lose_everything(jobs)
    recovery = JobRecovery(jobs, wiring.generations)
    number = wiring.generations.all()[-2].number
    queued = recovery.run_once()
    assert {one for one in queued if one.startswith("build-")} == {
        f"build-movies-{number}-0",
        f"build-movies-{number}-1",
    }
    again = recovery.run_once()
    assert not [one for one in again if one.startswith("build-")], "they are queued"
    work()
    eventually(lambda: active(wiring, "movies").number == number)


def test_a_job_that_is_in_no_queue_any_more_is_queued_again(
    jobs: JobQueue, wiring: Wiring, starfold: Starfold
) -> None:
    assert starfold("replay", "changes", "--detach").exit_code == 0
    (job_id,) = (one for one in jobs.queue.get_job_ids() if one.startswith("build-changes"))
    jobs.connection.delete(jobs.queue.key)
    assert job_id in JobRecovery(jobs, wiring.generations).run_once()
    assert job_id in jobs.queue.get_job_ids()


def test_a_server_that_does_not_answer_says_nothing_about_a_job(
    jobs: JobQueue, wiring: Wiring, starfold: Starfold, system: System
) -> None:
    """A time-out is no damage: the job is left as it is."""
    assert starfold("replay", "changes", "--detach").exit_code == 0
    (job_id,) = (one for one in jobs.queue.get_job_ids() if one.startswith("build-changes"))
    pool = jobs.connection.connection_pool
    pool.connection_kwargs.update(socket_timeout=0.2, retry=Retry(NoBackoff(), 0))
    pool.reset()
    recovery = JobRecovery(jobs, wiring.generations)
    # It answers again before another deadline is over.
    system.redis.client_pause(300)
    with pytest.raises(redis.TimeoutError):
        recovery._status(job_id)
    # The server answers again, and has carried out what was sent meanwhile.
    assert system.redis.ping()
    assert jobs.connection.exists(Job.key_for(job_id))


def test_a_damaged_job_is_queued_again(
    jobs: JobQueue, wiring: Wiring, starfold: Starfold, work: Work
) -> None:
    assert starfold("replay", "changes", "--detach").exit_code == 0
    (job_id,) = (one for one in jobs.queue.get_job_ids() if one.startswith("build-changes"))
    jobs.connection.hset(Job.key_for(job_id), "created_at", b"\xff\xfe nonsense")
    jobs.connection.lrem(jobs.queue.key, 0, job_id)
    assert job_id in JobRecovery(jobs, wiring.generations).run_once()
    work()
    eventually(lambda: active(wiring, "changes").number > 1)


class TestAnAuditThatIsWanted:
    @pytest.fixture
    def number(self, wiring: Wiring, jobs: JobQueue, starfold: Starfold, work: Work) -> int:
        """The job that was to audit a generation, built and followed, has died."""
        assert starfold("replay", "movies", "--no-switch", "--no-audit", "--detach").exit_code == 0
        work()
        (one,) = (g for g in wiring.generations.all() if g.state == "following")
        wiring.generations.set_audit("movies", one.number, "wanted")
        wiring.generations.switch_when_ready("movies", one.number)
        return one.number

    def test_is_taken_up_again(
        self, wiring: Wiring, jobs: JobQueue, work: Work, number: int
    ) -> None:
        assert f"audit-movies-{number}" in JobRecovery(jobs, wiring.generations).run_once()
        work()
        eventually(lambda: active(wiring, "movies").number == number)

    def test_has_failed_where_its_job_has(
        self, wiring: Wiring, jobs: JobQueue, number: int
    ) -> None:
        job = jobs.audit("movies", number)
        jobs.queue.remove(job)
        job.set_status(JobStatus.FAILED)
        JobRecovery(jobs, wiring.generations).run_once()
        found = wiring.generations.get("movies", number)
        assert found is not None
        assert found.audit == "failed"

    def test_is_made_of_what_a_projector_has_built_by_itself(
        self, wiring: Wiring, jobs: JobQueue, work: Work
    ) -> None:
        assert active(wiring, "profiles").audit == "wanted"
        JobRecovery(jobs, wiring.generations).run_once()
        work()
        assert active(wiring, "profiles").audit == "passed"


def test_what_is_missing_for_a_moment_only_is_not_queued(
    wiring: Wiring, jobs: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_recovery, "MISSED_MAX_S", 60.0)
    recovery = JobRecovery(jobs, wiring.generations)
    assert recovery.run_once() == []
    assert recovery.run_once() == []


def test_keys_of_another_type_are_dropped_before_work_begins(jobs: JobQueue) -> None:
    key = jobs.queue.key
    jobs.connection.set(key, "not a list")
    jobs.connection.set(jobs.queue.failed_job_registry.key, "not a set")
    assert set(drop_unusable_keys(jobs)) == {key, jobs.queue.failed_job_registry.key}
    assert drop_unusable_keys(jobs) == []


def test_a_worker_is_known_again_after_redis_has_forgotten_it(jobs: JobQueue) -> None:
    worker = JobsWorker([jobs.queue], connection=jobs.connection, serializer=jobs.queue.serializer)
    worker.register_birth()  # type: ignore[no-untyped-call]  # RQ gives it no types.
    jobs.connection.delete("rq:workers", f"rq:workers:{jobs.queue.name}", worker.key)
    worker.register_again()
    assert worker.name in {one.name for one in Worker.all(jobs.connection)}
    worker.register_again()
    worker.register_death()  # type: ignore[no-untyped-call]  # RQ gives it no types.
