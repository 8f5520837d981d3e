"""Starfold's processes and their clients, as far as their costs and their waiting go.

A command API commits one batch at a time and gathers the next one meanwhile; appends hold one lock;
a projector follows in passes; a query API has one round trip to Redis on its way and gathers the
reads that come meanwhile. Networks and disks take no time beyond the measured costs.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

from bench.simulate.constants import CONSTANTS
from bench.simulate.machine import Lock, Machine, Process, Simulation, Then
from shared.read_model.keys import PARTITIONS

GATHER_S = 0.003
SMALL_PASS_EVENTS = 250
INDEX_EVERY_S = 0.1
BATCH_ROWS_MAX = 1_000

US = {name: constant.us for name, constant in CONSTANTS.items()}


class Log:
    """The events of one log: how many there are, and the lock that orders them."""

    def __init__(self, postgres: Machine) -> None:
        self.postgres = postgres
        self.lock = Lock()
        self.head = 0
        self.held_s = 0.0
        self.on_append: list[Then] = []

    def append(self, rows: int, then: Callable[[int], None]) -> None:
        server = Process(self.postgres)

        def commit() -> None:
            server.work(US["append"] + rows * US["append_row"], committed)

        def committed() -> None:
            self.head += rows
            self.held_s += server.busy_s
            self.lock.release()
            for tell in self.on_append:
                tell()
            then(self.head)

        self.lock.acquire(commit)


class CommandApi:
    def __init__(self, machine: Machine, log: Log) -> None:
        self.process = Process(machine)
        self._log = log
        self._queue: list[Callable[[int], None]] = []
        self._commits = False
        self.batches = 0

    def rate(self, then: Callable[[int], None]) -> None:
        """Answer a rating with its position."""
        self.process.work(US["command_request"], lambda: self._enqueue(then))

    def _enqueue(self, then: Callable[[int], None]) -> None:
        self._queue.append(then)
        if not self._commits:
            self._commits = True
            self.process.work(0, self._decide)

    def _decide(self) -> None:
        batch, self._queue = self._queue[:BATCH_ROWS_MAX], self._queue[BATCH_ROWS_MAX:]
        self.batches += 1
        cost_us = US["command_batch"] + len(batch) * US["command_row"]
        self.process.work(cost_us, lambda: self._append(batch))

    def _append(self, batch: list[Callable[[int], None]]) -> None:
        def appended(position: int) -> None:
            for then in batch:
                self.process.work(US["command_answer"], partial(then, position))
            if self._queue:
                self.process.work(0, self._decide)
            else:
                self._commits = False

        self._log.append(len(batch), appended)


class Redis:
    def __init__(self, machine: Machine) -> None:
        self.process = Process(machine)


class Projector:
    """Follows one log with `share` of its events."""

    def __init__(
        self, simulation: Simulation, machine: Machine, log: Log, redis: Redis, share: float = 1.0
    ) -> None:
        self.process = Process(machine)
        self.applied = 0
        self._simulation, self._log, self._redis, self._share = simulation, log, redis, share
        self._waits = True
        self.on_applied: list[Then] = []
        log.on_append.append(self._on_append)

    def _on_append(self) -> None:
        if self._waits:
            self._waits = False
            self.process.work(0, self._pass)

    def _pass(self) -> None:
        head = self._log.head
        events = head - self.applied
        if not events:
            self._waits = True
            return
        rows = events * self._share

        def written() -> None:
            self.applied = head
            for tell in self.on_applied:
                tell()
            pause_s = GATHER_S if events < SMALL_PASS_EVENTS else 0.0
            self._simulation.after(pause_s, lambda: self.process.work(0, self._pass))

        def write() -> None:
            self._redis.process.work(US["write"] + rows * US["write_row"], written)

        self.process.work(US["pass"] + rows * US["pass_row"], write)


class QueryApi:
    """Its reads of a key share round trips; `projector` feeds its index."""

    def __init__(
        self,
        simulation: Simulation,
        machine: Machine,
        redis: Redis,
        projector: Projector | None,
        first_index_s: float = INDEX_EVERY_S,
    ) -> None:
        self.process = Process(machine)
        self._simulation, self._redis, self._projector = simulation, redis, projector
        self._gathered: list[tuple[str, Then]] = []
        self._reads = False
        self._late: list[tuple[int, str, Then]] = []
        if projector is not None:
            self._indexed = 0
            simulation.after(first_index_s, self._index)
            projector.on_applied.append(self._on_applied)

    def read(self, kind: str, then: Then, at_least: int = 0) -> None:
        """Answer a read once the position is applied."""

        def parsed() -> None:
            if self._projector is not None and self._projector.applied < at_least:
                self._late.append((at_least, kind, then))
            else:
                self._gather(kind, then)

        self.process.work(US[kind] / 2, parsed)

    def _gather(self, kind: str, then: Then) -> None:
        self._gathered.append((kind, then))
        if not self._reads:
            self._reads = True
            self.process.work(0, self._round_trip)

    def _round_trip(self) -> None:
        batch, self._gathered = self._gathered, []

        def answered() -> None:
            for kind, then in batch:
                self.process.work(US[kind] / 2, then)
            if self._gathered:
                self.process.work(0, self._round_trip)
            else:
                self._reads = False

        self._redis.process.work(sum(US[f"redis_{kind}"] for kind, _ in batch), answered)

    def _on_applied(self) -> None:
        assert self._projector is not None
        reached = [one for one in self._late if one[0] <= self._projector.applied]
        self._late = [one for one in self._late if one[0] > self._projector.applied]
        for _, kind, then in reached:
            self._gather(kind, then)

    def _index(self) -> None:
        """Take the new ratings into the index, one partition after the other."""
        assert self._projector is not None
        rows, self._indexed = self._projector.applied - self._indexed, self._projector.applied
        piece_us = rows * US["index_row"] / PARTITIONS

        def piece(left: int) -> None:
            if left:
                self.process.work(piece_us, lambda: piece(left - 1))
            else:
                self._simulation.after(INDEX_EVERY_S, self._index)

        piece(PARTITIONS)


class Load:
    """Clients in one program: closed, each with one request on its way, or at a rate."""

    def __init__(self, simulation: Simulation, machine: Machine, seed: int) -> None:
        self._simulation = simulation
        self._program = Process(machine)
        self._random = random.Random(seed)
        self.latencies: list[float] = []

    def closed(self, clients: int, send: Callable[[Then], None]) -> None:
        for _ in range(clients):
            # Clients do not begin at one moment.
            self._simulation.after(self._random.random() * 0.01, lambda: self._again(send))

    def open(self, per_s: float, send: Callable[[Then], None]) -> None:
        def arrive() -> None:
            self._request(send, lambda: None)
            self._simulation.after(self._random.expovariate(per_s), arrive)

        arrive()

    def probe(self, pause_s: float, send: Callable[[Then], None]) -> None:
        """One client that pauses between two requests."""

        def again() -> None:
            self._request(send, lambda: self._simulation.after(pause_s, again))

        again()

    def _again(self, send: Callable[[Then], None]) -> None:
        self._request(send, lambda: self._again(send))

    def _request(self, send: Callable[[Then], None], then: Then) -> None:
        began_s = self._simulation.now

        def answered() -> None:
            self.latencies.append(self._simulation.now - began_s)
            then()

        half_us = US["client"] / 2
        self._program.work(half_us, lambda: send(lambda: self._program.work(half_us, answered)))
