"""Background tasks under supervision, on an event loop or on threads.

A task repeats its step. A step that raises is logged with the task's name and counted, and the task
resumes after a delay that doubles from `RESUME_FIRST_S` to `RESUME_MAX_S`. A task that has not
succeeded for `stale_after_s` is frozen: on an event loop its step is cancelled and started again; a
thread cannot be cancelled, so that it is only reported in `problems` and the log. Only `stop` or a
cancellation ends a task.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable

import structlog
from prometheus_client import Counter, Gauge

from shared.errors import Unavailable

RESUME_FIRST_S = 0.1
RESUME_MAX_S = 5.0
# A cancelled step that still runs after this time is cancelled again.
CANCEL_AGAIN_S = 0.2
# A server's error may quote a statement.
ERROR_CHARS_MAX = 300

FAILURES = Counter(
    "starfold_task_failures", "Steps of a background task that raised or froze.", ["task"]
)
LAST_SUCCESS_AGE = Gauge(
    "starfold_task_last_success_age_seconds",
    "Time since a step of a background task last succeeded.",
    ["task"],
)

log = structlog.get_logger()


class TaskFrozen(Exception):
    """A step was cancelled because its task had not succeeded for too long."""


class TaskHealth:
    """The health of one task. A long-running step calls `succeeded` in each of its rounds."""

    def __init__(self, name: str, *, stale_after_s: float, needed: bool) -> None:
        self.name = name
        self.stale_after_s = stale_after_s
        self.needed = needed
        self._error: str | None = None
        self._reported_frozen = False
        self._resume_s = RESUME_FIRST_S
        self.succeeded_at_s = time.monotonic()
        FAILURES.labels(name)
        LAST_SUCCESS_AGE.labels(name).set_function(lambda: self.age_s)

    @property
    def age_s(self) -> float:
        """Time since the last success, or since the start if there was none."""
        return time.monotonic() - self.succeeded_at_s

    @property
    def frozen(self) -> bool:
        return self.age_s > self.stale_after_s

    @property
    def problem(self) -> str | None:
        """A short description of the problem without values; None for a working task."""
        if self._error is not None:
            return f"resumes after {self._error}"
        return f"no success for {self.age_s:.0f} s" if self.frozen else None

    def succeeded(self) -> None:
        self.succeeded_at_s = time.monotonic()
        if self._error is not None or self._reported_frozen:
            log.info("task_recovered", task=self.name)
            self._error = None
            self._reported_frozen = False
            self._resume_s = RESUME_FIRST_S

    def failed(self, error: Exception, *, expected: bool) -> float:
        """Log and count an error; return the delay before the task resumes, in seconds."""
        kind = type(error).__name__
        repeated, self._error = self._error == kind, kind
        FAILURES.labels(self.name).inc()
        if not expected:
            # Log one traceback for an error that repeats.
            log.error("task_failed", task=self.name, error=kind, exc_info=not repeated)
        elif not repeated:
            told = f"{kind}: {' '.join(str(error).split())}"
            log.warning("task_waits", task=self.name, error=told[:ERROR_CHARS_MAX])
        delay_s, self._resume_s = self._resume_s, min(2 * self._resume_s, RESUME_MAX_S)
        return delay_s

    def report_frozen(self) -> None:
        """Log and count that the task is frozen, once until it succeeds again."""
        if self.frozen and self._error is None and not self._reported_frozen:
            self._reported_frozen = True
            FAILURES.labels(self.name).inc()
            log.error("task_frozen", task=self.name, seconds=round(self.age_s, 1))


class Tasks:
    """The background tasks of one process.

    `expected` are the errors of an unreachable server: an outage is logged as one warning, without
    a traceback.
    """

    def __init__(self, *, expected: tuple[type[Exception], ...]) -> None:
        self._expected = expected
        self._health: dict[str, TaskHealth] = {}
        self.draining = False

    def health(self, name: str, *, stale_after_s: float, needed: bool = True) -> TaskHealth:
        """Add a task; readiness depends on it if it is `needed`."""
        added = self._health[name] = TaskHealth(name, stale_after_s=stale_after_s, needed=needed)
        return added

    def drain(self) -> None:
        """Report the process as not ready from now on, since it is about to stop."""
        self.draining = True

    def problems(self, *, needed_only: bool = False) -> dict[str, str]:
        """Return the problem of each task that does not work, by name."""
        found = {}
        for one in self._health.values():
            problem = one.problem
            if problem is not None and (one.needed or not needed_only):
                found[one.name] = problem
        return found

    def run(
        self,
        health: TaskHealth,
        step: Callable[[], object],
        *,
        stop: threading.Event,
        every_s: float = 0.0,
        recover: Callable[[], object] | None = None,
    ) -> None:
        """Repeat the step on the calling thread until `stop` is set.

        `recover` is called after an error, before the task resumes: it drops what may be broken.
        """
        while not stop.is_set():
            try:
                step()
            except Exception as error:  # noqa: BLE001  # Logged and counted; the task resumes.
                delay_s = health.failed(error, expected=isinstance(error, self._expected))
                self._recover(health, recover)
            else:
                health.succeeded()
                delay_s = every_s
            # Threads check one another, so that none can freeze without a line in the log.
            for one in list(self._health.values()):
                one.report_frozen()
            if delay_s:
                stop.wait(delay_s)

    def start(
        self, health: TaskHealth, step: Callable[[], Awaitable[object]], *, every_s: float = 0.0
    ) -> asyncio.Task[None]:
        """Repeat the step on the running event loop until the returned task is cancelled."""
        return asyncio.get_running_loop().create_task(
            self._repeat(health, step, every_s), name=health.name
        )

    async def _repeat(
        self, health: TaskHealth, step: Callable[[], Awaitable[object]], every_s: float
    ) -> None:
        while True:
            try:
                await _run_unless_frozen(health, step)
            except Exception as error:  # noqa: BLE001  # Logged and counted; the task resumes.
                delay_s = health.failed(error, expected=isinstance(error, self._expected))
            else:
                health.succeeded()
                delay_s = every_s
            await asyncio.sleep(delay_s)

    def _recover(self, health: TaskHealth, recover: Callable[[], object] | None) -> None:
        if recover is None:
            return
        try:
            recover()
        except Exception as error:  # noqa: BLE001  # Logged; the task resumes with what it has.
            health.failed(error, expected=isinstance(error, self._expected))


def require_working(tasks: Tasks) -> None:
    """Raise `Unavailable` if the process drains, or a task that readiness depends on fails."""
    if tasks.draining:
        raise Unavailable("the process is about to stop")
    problems = tasks.problems(needed_only=True)
    if problems:
        raise Unavailable(
            "; ".join(f"task {name}: {problem}" for name, problem in problems.items())
        )


async def _run_unless_frozen(health: TaskHealth, step: Callable[[], Awaitable[object]]) -> None:
    """Run a step to its end; cancel it and raise `TaskFrozen` if the task stops succeeding."""
    started_at_s = time.monotonic()
    running = asyncio.ensure_future(step())
    try:
        while not running.done():
            since_s = time.monotonic() - max(started_at_s, health.succeeded_at_s)
            if since_s >= health.stale_after_s:
                raise TaskFrozen(f"no success for {since_s:.1f} s")
            await asyncio.wait({running}, timeout=health.stale_after_s - since_s)
    finally:
        await _cancelled(running)
    running.result()


async def _cancelled(running: asyncio.Future[object]) -> None:
    """Cancel until it has ended: a client library may turn a cancellation into another error."""
    while not running.done():
        running.cancel()
        await asyncio.wait({running}, timeout=CANCEL_AGAIN_S)
    if not running.cancelled():
        running.exception()  # Otherwise asyncio logs that it was never retrieved.
