"""The query API as several processes on one port."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from shared.log.schema import PROJECTOR_ROLE
from tests.support.ports import free_port
from tests.support.system import System, eventually

WORKERS = 2
READY_WITHIN_S = 60.0
STOPPED_WITHIN_S = 30.0


class Workers:
    """`python -m query_api --workers 2`."""

    def __init__(self, system: System, output: Path) -> None:
        self.port = free_port()
        self._output = output
        environment = system.servers.home.environment(PROJECTOR_ROLE)
        environment |= {"STARFOLD_PORT": str(self.port)}
        with output.open("wb") as stream:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "query_api", "--workers", str(WORKERS)],
                env={**os.environ, **environment},
                stderr=stream,
            )

    @property
    def started(self) -> int:
        """How many workers have begun to serve so far."""
        return self._output.read_text().count('"query_api_started"')

    def pids(self) -> set[int]:
        """Return the pids of the listening workers."""
        children = psutil.Process(self._process.pid).children()
        return {child.pid for child in children if _is_worker(child)}

    def answers(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/ready", timeout=2).is_success
        except httpx.TransportError:
            return False

    def stop(self, *, how: signal.Signals = signal.SIGTERM) -> int:
        """Returns the exit status."""
        self._process.send_signal(how)
        return self._process.wait(STOPPED_WITHIN_S)


def _is_worker(child: psutil.Process) -> bool:
    try:
        return "spawn_main" in " ".join(child.cmdline())
    except psutil.NoSuchProcess:  # A zombie, too.
        return False


def _runs(pid: int) -> bool:
    """Not a zombie: the process that adopts orphans may not reap a dead one at once."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def workers(system: System, tmp_path: Path) -> Iterator[Workers]:
    system.start_projector()
    started = Workers(system, tmp_path / "workers.log")
    yield started
    started.stop()


def test_workers_share_a_port_and_one_that_dies_is_replaced(workers: Workers) -> None:
    eventually(lambda: workers.started == WORKERS, READY_WITHIN_S)
    eventually(workers.answers, READY_WITHIN_S)
    assert len(workers.pids()) == WORKERS
    first = workers.pids()
    killed = first.pop()
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: len(workers.pids() - {killed}) == WORKERS)
    eventually(workers.answers, READY_WITHIN_S)
    kept = workers.pids()
    assert first <= kept
    assert workers.stop() == 0
    assert not any(psutil.pid_exists(pid) for pid in kept)


def test_no_worker_outlives_a_parent_that_was_killed(workers: Workers) -> None:
    """Nobody is left to tell them; and the port is free for the next start."""
    eventually(lambda: workers.started == WORKERS, READY_WITHIN_S)
    eventually(workers.answers, READY_WITHIN_S)
    assert len(workers.pids()) == WORKERS
    orphans = workers.pids()
    workers.stop(how=signal.SIGKILL)
    eventually(lambda: not any(_runs(pid) for pid in orphans))
    with socket.socket() as probe:
        # Past connections do not count, one that listens does.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", workers.port))
