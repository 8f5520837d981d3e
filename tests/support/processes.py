"""Services as they really run: each a process of its own, on one log."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.support.ports import free_port
from tests.support.system import System, eventually

READY_WITHIN_S = 60.0
STOPPED_WITHIN_S = 30.0


class Release(NamedTuple):
    """A checkout whose virtual environment runs its processes."""

    python: str
    folder: Path


PRESENT = Release(sys.executable, Path(__file__).parents[2])


class Process:
    """`python -m MODULE`. What it prints is in `output`."""

    def __init__(
        self,
        system: System,
        module: str,
        environment: Mapping[str, str],
        release: Release = PRESENT,
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.output = system.servers.home.path / f"{module}-{self.port}.log"
        with self.output.open("wb") as stream:
            self._process = subprocess.Popen(
                [release.python, "-m", module],
                cwd=release.folder,
                env={**os.environ, **environment, "STARFOLD_PORT": str(self.port)},
                stdout=stream,
                stderr=stream,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_ready(self) -> None:
        eventually(self.is_ready, READY_WITHIN_S)

    def wait_logged(self, event: str) -> None:
        eventually(lambda: event in self._running_output(), READY_WITHIN_S)

    def request_stop(self) -> None:
        self._process.terminate()

    def wait_stopped(self) -> int:
        """Returns the exit status."""
        return self._process.wait(STOPPED_WITHIN_S)

    def stop(self) -> None:
        self.request_stop()
        self.wait_stopped()

    def is_ready(self) -> bool:
        self._running_output()
        try:
            return httpx.get(f"{self.url}/ready", timeout=2).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def _running_output(self) -> str:
        text = self.output.read_text()
        assert self._process.poll() is None, text
        return text


class CommandProcess(Process):
    """A command API on a free port."""

    def __init__(
        self,
        system: System,
        environment: Mapping[str, str] | None = None,
        release: Release = PRESENT,
    ) -> None:
        own = {**system.command_environment(), **(environment or {})}
        super().__init__(system, "command_api", own, release)


def start_processes(system: System, count: int) -> list[CommandProcess]:
    """Start the given number of processes and wait until they are ready; the system ends them."""
    processes = [system.closing(CommandProcess(system)) for _ in range(count)]
    for process in processes:
        process.wait_ready()
    return processes


class ProjectorProcess:
    """`python -m projector`, with its metrics on a free port."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = {**os.environ, **environment}
        self.start()

    def start(self) -> None:
        """Start it, for the first time or after a kill."""
        port = free_port()
        self._metrics = f"http://127.0.0.1:{port}/metrics"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "projector"],
            env={**self._environment, "STARFOLD_METRICS_PORT": str(port)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def hang(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Let it end as on SIGTERM, also if it hangs."""
        self.resume()
        self._process.terminate()
        self._process.wait(STOPPED_WITHIN_S)

    def metric(self, name: str, **labels: str) -> float:
        """Return a sample; 0 for one that was never counted, and before metrics are served."""
        try:
            answer = httpx.get(self._metrics)
        except httpx.ConnectError:
            return 0.0
        families = text_string_to_metric_families(answer.text)
        samples = [one for family in families for one in family.samples if one.name == name]
        return sum(one.value for one in samples if labels.items() <= one.labels.items())
