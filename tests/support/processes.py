"""Services as they really run: each a process of its own, on one log."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import httpx

from tests.support.system import System, eventually, free_port

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
