"""The supervisor: starts children in order, keeps them alive, stops them in the opposite order."""

from __future__ import annotations

import contextlib
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
# While every child runs, signals say what happens: this is the backstop.
LOOK_EVERY_S = 1.0

log = structlog.get_logger()


class Stopped(Exception):
    """A signal asked for the end."""


class Supervisor:
    """Holds children until a signal comes. One thread, no event loop."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._children: list[Child] = []
        self._stopping = False
        self._waiting = False
        self._woken: int | None = None

    def handle_signals(self) -> None:
        """Note a signal that asks for the end, and wake up when a child ends."""
        self._woken, writable = os.pipe()
        for end in (self._woken, writable):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(writable)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in ending_signals():
            signal.signal(number, self._on_signal)

    def end_leftovers(self) -> None:
        """End what an earlier supervisor of this home left running."""
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

    def wait_ready(self, children: Sequence[Child], within_s: float = READY_WITHIN_S) -> None:
        """Wait until all are ready; raises `Stopped`, and `OperatorError` after the given time."""
        give_up_at = time.monotonic() + within_s
        waiting = list(children)
        self._waiting = True
        while waiting:
            self.watch()
            if (waiting[0].running or waiting[0].done) and waiting[0].spec.ready():
                waiting.pop(0)
            elif time.monotonic() > give_up_at:
                raise OperatorError(
                    f"{waiting[0].spec.name} was not ready within {within_s:.0f} s:"
                    f" {waiting[0].why_not_ready()}"
                )
        self._waiting = False

    def watch(self) -> None:
        """Look after every child once; raises `Stopped` when a signal came."""
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
        """Wait for a signal, for the given time at most."""
        readable, _, _ = select.select(
            [] if self._woken is None else [self._woken], [], [], seconds
        )
        for descriptor in readable:
            os.read(descriptor, 1024)

    def stop(self, order: Sequence[Sequence[str]]) -> None:
        """Stop the children by name, group after group; what is in no group first."""
        named = {name for group in order for name in group}
        stop_all([child for child in self._children if child.spec.name not in named])
        for group in order:
            stop_all([child for child in self._children if child.spec.name in group])
        self._home.children_file.unlink(missing_ok=True)
        log.info("stopped")

    def _remember(self) -> None:
        """Keep pids with start times, so that the next supervisor knows what is its own.

        Without room on the disk the note stays as it was: it is needed only after a kill.
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
