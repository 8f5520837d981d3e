"""A progress bar on a terminal; elsewhere, periodic log lines."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType
from typing import Self

import structlog
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress

LINE_EVERY_S = 5.0

log = structlog.get_logger()


class Progress:
    """Counts units of work towards a total, with rate and time left; thread-safe."""

    def __init__(self, label: str, total: int) -> None:
        self._label = label
        self._total = total
        self._count = 0
        self._started_at = time.monotonic()
        self._line_at = self._started_at + LINE_EVERY_S
        self._bar: RichProgress | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            self._bar = RichProgress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]:,.0f}/s"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._task = self._bar.add_task(self._label, total=self._total, rate=0.0)
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    @property
    def rate(self) -> float:
        """Units a second since the start."""
        return self._count / max(time.monotonic() - self._started_at, 1e-6)

    def advance(self, units: int) -> None:
        with self._lock:
            self._reach(self._count + units)

    def reach(self, count: int) -> None:
        with self._lock:
            self._reach(count)

    def _reach(self, count: int) -> None:
        self._count = count
        if self._bar is not None:
            self._bar.update(self._task, completed=count, rate=self.rate)
        elif time.monotonic() >= self._line_at:
            self._line_at = time.monotonic() + LINE_EVERY_S
            log.info(
                "progress", of=self._label, done=count, total=self._total, rate=round(self.rate)
            )
