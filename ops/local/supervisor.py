"""The supervisor: starts children in order, restarts them, stops them in reverse order."""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import time
from collections.abc import Sequence
from types import FrameType

import msgspec
import psutil
import structlog

from ops.errors import OperatorError
from ops.home.folder import Home, write_private
from ops.local.child import POLL_S, Child, ChildSpec, end_leftovers, stop_all
from ops.local.guardian import ending_signals

READY_WITHIN_S = 60.0
# Backstop: while every child runs, signals report what happens.
LOOK_EVERY_S = 1.0

log = structlog.get_logger()


class Stopped(Exception):
    """Raised after a signal that requests the end."""


class Supervisor:
    """Supervises children until a signal, on one thread without an event loop."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._children: list[Child] = []
        self._stopping = False
        self._waiting = False
        self._woken: int | None = None

    def handle_signals(self) -> None:
        """Record a signal that requests the end, and wake up when a child ends."""
        self._woken, writable = os.pipe()
        for end in (self._woken, writable):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(writable)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in ending_signals():
            signal.signal(number, self._on_signal)

    def end_leftovers(self) -> None:
        """End the processes that an earlier supervisor of this home left running."""
        remembered: list[tuple[int, float]] = []
        if self._home.children_file.exists():
            stored = self._home.children_file.read_bytes()
            remembered = msgspec.json.decode(stored, type=list[tuple[int, float]])
        end_leftovers(remembered)

    def start(self, spec: ChildSpec) -> Child:
        child = Child(spec)
        self._children.append(child)
        child.start()
        self._remember()
        return child

    def wait_ready(
        self, children: Sequence[Child], within_s: float = READY_WITHIN_S, *, patient: bool = False
    ) -> None:
        """Wait until all are ready; raise `Stopped`, or `OperatorError` after the given time.

        A patient one logs what it waits for after that time, and keeps watching.
        """
        give_up_at = time.monotonic() + within_s
        waiting = list(children)
        self._waiting = True
        while waiting:
            self.watch()
            if (waiting[0].running or waiting[0].done) and waiting[0].spec.ready():
                waiting.pop(0)
            elif time.monotonic() > give_up_at:
                late, reason = waiting[0].spec.name, waiting[0].why_not_ready()
                if not patient:
                    raise OperatorError(f"{late} was not ready within {within_s:.0f} s: {reason}")
                log.error("child_not_ready", child=late, within_s=within_s, reason=reason)
                give_up_at = math.inf
        self._waiting = False

    def watch(self) -> None:
        """Check every child once; raise `Stopped` after a signal."""
        if self._stopping:
            raise Stopped
        before = [child.pid for child in self._children]
        for child in self._children:
            child.watch()
        if [child.pid for child in self._children] != before:
            self._remember()
        at_rest = all(child.running or child.done for child in self._children)
        self._wait(POLL_S if self._waiting or not at_rest else LOOK_EVERY_S)

    def _wait(self, seconds: float) -> None:
        """Wait for a signal, up to the given time."""
        readable, _, _ = select.select(
            [] if self._woken is None else [self._woken], [], [], seconds
        )
        for descriptor in readable:
            os.read(descriptor, 1024)

    def end(self, order: Sequence[Sequence[str]]) -> None:
        """Stop the children by name, group by group, and supervise them no more."""
        for group in order:
            stop_all([child for child in self._children if child.spec.name in group])
        named = {name for group in order for name in group}
        self._children = [child for child in self._children if child.spec.name not in named]

    def stop(self, order: Sequence[Sequence[str]]) -> None:
        """Stop the children by name, group by group, after the children in no group."""
        named = {name for group in order for name in group}
        stop_all([child for child in self._children if child.spec.name not in named])
        self.end(order)
        self._home.children_file.unlink(missing_ok=True)
        log.info("stopped")

    def _remember(self) -> None:
        """Store pids with start times, so that the next supervisor can identify its children.

        If the disk is full the file stays as it was: it is needed only after a kill.
        """
        remembered = []
        for child in self._children:
            with contextlib.suppress(psutil.Error):
                if child.pid is not None:
                    remembered.append((child.pid, psutil.Process(child.pid).create_time()))
        try:
            write_private(self._home.children_file, msgspec.json.encode(remembered))
        except OSError as error:
            log.warning(
                "children_not_noted", path=str(self._home.children_file), reason=error.strerror
            )

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True
