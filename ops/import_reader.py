"""The process that reads members' files, with limited memory: `python -m ops.import_reader`.

The worker keeps one.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
from types import FrameType

import psycopg
import structlog

from ops.failures import failure_text
from ops.imports.inbox import Inbox
from ops.local.guardian import die_with_parent
from projector.settings import ProjectorSettings
from shared.log.connections import forget_libpq_variables
from shared.process.logs import configure_logging
from shared.process.settings import settings_from_environment
from shared.process.tasks import Tasks

MEMORY_BYTES_MAX = 2 * 1024**3
IDLE_S = 1.0
STALE_AFTER_S = 600.0
ENDS_WITHIN_S = 5.0

log = structlog.get_logger()


class ImportReader:
    """The process that reads members' files; it ends with the worker."""

    def __init__(self) -> None:
        self._owner = os.getpid()
        self.process: subprocess.Popen[bytes] | None = None

    def keep(self) -> None:
        """Start the process unless it runs; it ends when a file takes too much memory."""
        if os.getpid() != self._owner or (self.process and self.process.poll() is None):
            return
        if self.process is not None:
            log.warning("import_reader_ended", code=self.process.returncode)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ops.import_reader", str(self._owner)],
            stdin=subprocess.DEVNULL,
        )

    def end(self) -> None:
        """Let the process give its file back, for another one to read."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _end(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit


def main(worker: str | None = None) -> None:
    """Read until SIGTERM or SIGINT, or until the worker ends, if its process id is given."""
    if worker is not None:
        die_with_parent(int(worker))
    settings = settings_from_environment(ProjectorSettings)
    configure_logging(settings, process="import-reader")
    forget_libpq_variables()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    inbox = Inbox(settings)
    tasks = Tasks(expected=(psycopg.OperationalError,))
    health = tasks.health("imports", stale_after_s=STALE_AFTER_S)

    def step() -> None:
        while inbox.step():
            health.succeeded()

    tasks.run(health, step, stop=threading.Event(), every_s=IDLE_S, recover=inbox.close)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Exception as error:  # One line says why the process ends, whatever the error.
        log.debug("import_reader_failed", exc_info=True)
        sys.exit(f"starfold import reader: {failure_text(error)}")
