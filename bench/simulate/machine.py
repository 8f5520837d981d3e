"""Processor cores, and processes that take turns on them, in simulated time."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable

# A process with more to do leaves its core to the next one after this time.
SLICE_S = 0.003

Then = Callable[[], None]


class Simulation:
    """A clock and what is to happen; everything else asks it to be called later."""

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Then]] = []
        self._order = itertools.count()

    def after(self, delay_s: float, then: Then) -> None:
        heapq.heappush(self._events, (self.now + delay_s, next(self._order), then))

    def run(self, until_s: float) -> None:
        while self._events and self._events[0][0] <= until_s:
            self.now, _, then = heapq.heappop(self._events)
            then()
        self.now = until_s


class Machine:
    """Cores that serve the processes with work in turn."""

    def __init__(self, simulation: Simulation, cores: int, slower: float = 1.0) -> None:
        self._simulation = simulation
        self._slower = slower
        self._idle = cores
        self._waiting: deque[Process] = deque()

    def wake(self, process: Process) -> None:
        if self._idle:
            self._idle -= 1
            self._serve(process, self._simulation.now)
        else:
            self._waiting.append(process)

    def _serve(self, process: Process, since_s: float) -> None:
        """Do the process's next job, and then another one or another process's."""
        cost_s, then = process.jobs.popleft()
        cost_s *= self._slower
        process.busy_s += cost_s

        def done() -> None:
            then()
            if process.jobs and (not self._waiting or self._simulation.now - since_s < SLICE_S):
                self._serve(process, since_s)
                return
            process.awake = bool(process.jobs)
            if process.awake:
                self._waiting.append(process)
            if self._waiting:
                self._serve(self._waiting.popleft(), self._simulation.now)
            else:
                self._idle += 1

        self._simulation.after(cost_s, done)


class Process:
    """One thread: it does its jobs in order, one at a time, on any core of its machine."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.jobs: deque[tuple[float, Then]] = deque()
        self.awake = False
        self.busy_s = 0.0

    def work(self, cost_us: float, then: Then) -> None:
        self.jobs.append((1e-6 * cost_us, then))
        if not self.awake:
            self.awake = True
            self._machine.wake(self)


class Lock:
    """Held by one at a time, in the order of asking."""

    def __init__(self) -> None:
        self._held = False
        self._queue: deque[Then] = deque()

    def acquire(self, then: Then) -> None:
        if self._held:
            self._queue.append(then)
        else:
            self._held = True
            then()

    def release(self) -> None:
        if self._queue:
            self._queue.popleft()()
        else:
            self._held = False
