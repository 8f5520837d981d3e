"""Programs under supervision: how to start one, when it is ready, how it stops."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import psutil
import structlog

GUARDIAN = Path(__file__).with_name("guardian.py")
RESTART_FIRST_S = 0.2
RESTART_MAX_S = 5.0
# After this time a child's earlier failures no longer delay its restart.
HEALTHY_AFTER_S = 10.0
# Grace period of a child whose supervisor is gone.
ORPHAN_GRACE_S = 1.0
POLL_S = 0.05
OUTPUT_BYTES_MAX = 10_000_000
LAST_WORDS_BYTES = 1_000

log = structlog.get_logger()


class ChildSpec(NamedTuple):
    """A program to run as a child.

    `prepare` runs before every start; `ready` is polled until it is true; a `once` child ends by
    itself. Output goes to `output`, which is emptied at a start if it exceeds `OUTPUT_BYTES_MAX`,
    or to the supervisor's own standard output and error.
    """

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str]
    ready: Callable[[], bool] = lambda: True
    stop_signal: signal.Signals = signal.SIGTERM
    stop_within_s: float = 10.0
    unprivileged: bool = False
    once: bool = False
    output: Path | None = None
    prepare: Callable[[], object] = lambda: None


class Child:
    """A supervised program and its guardian, in their own session."""

    def __init__(self, spec: ChildSpec) -> None:
        self.spec = spec
        self.done = False
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._restart_at = 0.0
        self._pause_s = RESTART_FIRST_S

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        spec = self.spec
        spec.prepare()
        options = ["--unprivileged"] if spec.unprivileged else []
        with _opened(spec.output) as output:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-I",
                    "-S",
                    str(GUARDIAN),
                    str(int(spec.stop_signal)),
                    str(ORPHAN_GRACE_S),
                    *options,
                    "--",
                    *spec.argv,
                ],
                env={**os.environ, **spec.environment},
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._started_at = time.monotonic()
        log.debug("child_started", child=spec.name, pid=self.pid)

    def watch(self) -> None:
        """Restart the child if it has ended, with a delay that grows with every early end."""
        if self.done or self.running:
            return
        now = time.monotonic()
        if self._process is not None:
            status = self._ended()
            if self.spec.once and status == 0:
                self.done = True
                return
            if now - self._started_at > HEALTHY_AFTER_S:
                self._pause_s = RESTART_FIRST_S
            self._restart_at = now + self._pause_s
            log.warning(
                "child_ended",
                child=self.spec.name,
                status=status,
                restart_in_s=self._pause_s,
                last_words=_last_words(self.spec.output),
            )
            self._pause_s = min(2 * self._pause_s, RESTART_MAX_S)
        if now >= self._restart_at:
            self._start_again(now)

    def _start_again(self, now: float) -> None:
        """Start the child; retry later if the disk is full or no process can be created."""
        try:
            self.start()
        except OSError as error:
            log.warning(
                "child_not_started",
                child=self.spec.name,
                reason=error.strerror,
                path=error.filename,
                restart_in_s=self._pause_s,
            )
            self._restart_at = now + self._pause_s
            self._pause_s = min(2 * self._pause_s, RESTART_MAX_S)

    def why_not_ready(self) -> str:
        """Return the child's last words, and where to find more."""
        state = "it runs but does not answer" if self.running else "it exits at every start"
        output = self.spec.output
        if output is None:
            return f"{state}; see the lines that it has logged here"
        words = _last_words(output)
        return f"{state}; {output} ends with: {words}" if words else f"{state}; {output} is empty"

    def request_stop(self) -> None:
        self.done = True
        if self.running and self._process is not None:
            self._process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """Wait for the requested end, and kill the child after `stop_within_s`."""
        if self._process is None:
            return
        try:
            self._process.wait(self.spec.stop_within_s)
        except subprocess.TimeoutExpired:
            log.warning("child_killed", child=self.spec.name, after_s=self.spec.stop_within_s)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._ended()

    def _ended(self) -> int:
        """Wait for the exit status."""
        assert self._process is not None
        status = self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process = None
        return status


def stop_all(children: Sequence[Child]) -> None:
    """Stop several children at the same time."""
    for child in children:
        child.request_stop()
    for child in children:
        child.stop()


def end_servers_in(folder: Path) -> None:
    """End the servers whose data is in a folder; only for the holder of the home's lock."""
    _end([process for process in psutil.process_iter() if _works_in(process, folder)])


def end_leftovers(remembered: Sequence[tuple[int, float]]) -> None:
    """End the processes that an earlier supervisor left, identified by pid and start time.

    A process that does not match is left alone.
    """
    leftovers: list[psutil.Process] = []
    for pid, started_at in remembered:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            if abs(process.create_time() - started_at) < 1:
                leftovers += [*process.children(recursive=True), process]
    _end(leftovers)


def _end(leftovers: Sequence[psutil.Process]) -> None:
    for process in leftovers:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(leftovers, timeout=5)
    if leftovers:
        log.info("leftovers_ended", pids=sorted({process.pid for process in leftovers}))


@contextlib.contextmanager
def _opened(output: Path | None) -> Iterator[IO[bytes] | None]:
    if output is None:
        yield None
        return
    with output.open("ab") as stream:
        output.chmod(0o600)
        if stream.tell() > OUTPUT_BYTES_MAX:
            stream.truncate(0)
        yield stream


def _last_words(output: Path | None) -> str | None:
    if output is None or not output.exists():
        return None
    with output.open("rb") as stream:
        stream.seek(max(0, output.stat().st_size - LAST_WORDS_BYTES))
        lines = stream.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else None


def _works_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return process.name() in ("postgres", "valkey-server") and Path(process.cwd()) == folder
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return False
