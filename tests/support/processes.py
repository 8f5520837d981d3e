"""Command APIs as they really run: each a process of its own, on one log."""

from __future__ import annotations

import os
import subprocess
import sys

import httpx

from tests.support.system import System, eventually, free_port

READY_WITHIN_S = 60.0
STOPPED_WITHIN_S = 30.0


class CommandProcess:
    """`python -m command_api` on a free port. What it prints is in `output`."""

    def __init__(self, system: System) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.output = system.servers.home.path / f"command-api-{self.port}.log"
        environment = {**os.environ, **system.command_environment()}
        with self.output.open("wb") as stream:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "command_api"],
                env=environment | {"STARFOLD_PORT": str(self.port)},
                stdout=stream,
                stderr=stream,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_ready(self) -> None:
        eventually(self._is_ready, READY_WITHIN_S)

    def request_stop(self) -> None:
        self._process.terminate()

    def wait_stopped(self) -> int:
        """Returns the exit status."""
        return self._process.wait(STOPPED_WITHIN_S)

    def stop(self) -> None:
        self.request_stop()
        self.wait_stopped()

    def _is_ready(self) -> bool:
        assert self._process.poll() is None, self.output.read_text()
        try:
            return httpx.get(f"{self.url}/ready", timeout=2).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False


def start_processes(system: System, count: int) -> list[CommandProcess]:
    """Start the given number of processes and wait until they are ready; the system ends them."""
    processes = [system.closing(CommandProcess(system)) for _ in range(count)]
    for process in processes:
        process.wait_ready()
    return processes
