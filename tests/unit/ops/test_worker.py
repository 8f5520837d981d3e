"""The worker while a job's process runs."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType

import pytest
import redis

from ops.worker import JobsWorker

SOON_S = 0.2


class Interrupted(Exception):
    pass


@pytest.fixture
def job() -> Iterator[subprocess.Popen[bytes]]:
    """A process that runs for longer than the test waits."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"]) as process:
        yield process
        process.kill()


@pytest.fixture
def alarmed() -> Iterator[None]:
    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    yield
    signal.signal(signal.SIGALRM, before)


def test_a_signal_that_another_thread_receives_interrupts_the_wait_for_a_job(
    job: subprocess.Popen[bytes], alarmed: None
) -> None:
    worker = JobsWorker(["jobs"], connection=redis.Redis(), name="w", prepare_for_work=False)
    worker._horse_pid = job.pid
    begun = threading.Event()

    def receive() -> None:
        begun.wait()
        time.sleep(SOON_S)
        signal.pthread_kill(threading.get_ident(), signal.SIGALRM)
        time.sleep(SOON_S)

    receiver = threading.Thread(target=receive)
    receiver.start()
    begun.set()
    with pytest.raises(Interrupted):
        worker.wait_for_horse()
    receiver.join()
    assert job.poll() is None


def test_the_end_of_a_job_is_noticed(job: subprocess.Popen[bytes]) -> None:
    worker = JobsWorker(["jobs"], connection=redis.Redis(), name="w", prepare_for_work=False)
    worker._horse_pid = job.pid
    job.kill()
    ended, status, _ = worker.wait_for_horse()
    assert (ended, status) == (job.pid, signal.SIGKILL)
    assert worker.wait_for_horse() == (None, None, None)
