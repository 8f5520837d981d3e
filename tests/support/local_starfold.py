"""A real `starfold up` in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import httpx
import psutil

from ops.home.access import Access, access_of
from ops.home.client import client_of
from ops.home.folder import Home
from starfold_client import Starfold
from tests.support.faults.process_tree import is_running, kill_all
from tests.support.ports import free_port
from tests.support.system import CHEAP_ARGON2

READY_WITHIN_S = 60
STOPPED_WITHIN_S = 30
CHEAP_PASSWORDS = {f"STARFOLD_{name.upper()}": str(value) for name, value in CHEAP_ARGON2.items()}


class Local:
    """One home, started and stopped as often as a test needs."""

    def __init__(
        self,
        home: Path,
        *,
        catalogue: str = "none",
        with_pages: bool = False,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._environment = {**os.environ, **CHEAP_PASSWORDS, **environment}
        self.home = Home(home)
        self.catalogue = catalogue
        self.command_port, self.query_port = free_port(), free_port()
        # Each process takes a second of processor time to start.
        self.web_port = free_port() if with_pages else 0
        self.console_port = free_port() if with_pages else 0
        self.output = home.parent / "up.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start, and wait for nothing."""
        with self.output.open("wb") as stream:
            self._process = subprocess.Popen(
                starfold(
                    "up",
                    "--home",
                    str(self.home.path),
                    "--catalogue",
                    self.catalogue,
                    "--command-port",
                    str(self.command_port),
                    "--query-port",
                    str(self.query_port),
                    "--web-port",
                    str(self.web_port),
                    "--console-port",
                    str(self.console_port),
                ),
                stdout=stream,
                stderr=stream,
                env=self._environment,
            )

    def up(self) -> None:
        """Start, and wait for the line that begins with `ready`."""
        self.start()
        give_up_at = time.monotonic() + READY_WITHIN_S
        while not any(line.startswith("ready") for line in self.printed.splitlines()):
            assert self.process.poll() is None, self.printed
            assert time.monotonic() < give_up_at, self.printed
            time.sleep(0.05)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Returns the exit status."""
        self.process.send_signal(number)
        return self.process.wait(STOPPED_WITHIN_S)

    def kill_everything(self) -> None:
        """SIGKILL to every process at once, the supervisor first."""
        everything = self.descendants()
        self.process.kill()
        kill_all(everything)
        self.process.wait()
        psutil.wait_procs(everything, timeout=5)

    def descendants(self) -> list[psutil.Process]:
        """Return the running processes, without ended ones that have not been reaped."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        return [child for child in children if is_running(child)]

    def takes_commands(self) -> bool:
        """Whether the command API is ready now."""
        try:
            url = f"http://127.0.0.1:{self.command_port}/ready"
            return httpx.get(url, timeout=2).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def supervised(self, program: str) -> psutil.Process | None:
        """A child by its module or its program; None while it does not run."""
        for process in self.descendants():
            try:
                line = process.cmdline()
            except psutil.NoSuchProcess:
                continue
            if line[1:] == ["-m", program] or Path(line[0] if line else "").name == program:
                return process
        return None

    @property
    def printed(self) -> str:
        return self.output.read_text(errors="replace")

    def access(self) -> Access:
        return access_of(self.home)

    def client(self) -> Starfold:
        access = self.access()
        return client_of(access.addresses, access.api_key)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run an operator's command on this home."""
        return subprocess.run(
            starfold(*arguments, "--home", str(self.home.path)),
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
            env=self._environment,
        )

    def close(self) -> None:
        if self.is_running:
            self.stop()


def starfold(*arguments: str) -> list[str]:
    return [str(Path(sys.executable).with_name("starfold")), *arguments]


def mode_of(file: Path) -> int:
    return file.stat().st_mode & 0o777
