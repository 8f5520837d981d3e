"""What the simulated processes do on many cores, at the speed of the slower day.

Medians only: the simulation does not reproduce the tails of latency.
"""

from __future__ import annotations

import random
from itertools import cycle
from typing import NamedTuple

from bench.load import percentile
from bench.simulate.constants import SLOWER_DAY
from bench.simulate.machine import Machine, Simulation, Then
from bench.simulate.model import INDEX_EVERY_S, CommandApi, Load, Log, Projector, QueryApi, Redis

WRITES, READS = 20_000, 100_000
# A hundred reads by kind.
MIXTURE = {"movie": 50, "profile": 20, "ratings": 20, "search": 10}
WARM_UP_S, SECONDS = 0.2, 0.3
# Enough that no process waits for a core.
CORES = 256
CLIENTS_AN_API = 64
PROGRAMS = 8
PRIMARIES = 3
SEED = 23


class Written(NamedTuple):
    """Writes of several command APIs on one log, and what they took."""

    per_second: float
    p50_ms: float
    rows_a_batch: float
    lock: float
    busiest_api: float


class Site:
    """One log, its command APIs and its projectors, each on a core of its own."""

    def __init__(self, apis: int, projectors: int = 0) -> None:
        self.simulation = Simulation()
        self.machine = Machine(self.simulation, CORES, SLOWER_DAY)
        self.clients = Machine(self.simulation, CORES)
        self.log = Log(self.machine)
        self.apis = [CommandApi(self.machine, self.log) for _ in range(apis)]
        self.redis = [Redis(self.machine) for _ in range(projectors)]
        self.projectors = [
            Projector(self.simulation, self.machine, self.log, redis, 1 / projectors)
            for redis in self.redis
        ]

    def run(self, load: Load) -> tuple[float, float]:
        """Return the answers a second after the warm-up, and their p50 in milliseconds."""
        self.simulation.run(WARM_UP_S)
        before = len(load.latencies)
        self.simulation.run(WARM_UP_S + SECONDS)
        latencies = sorted(load.latencies[before:])
        return len(latencies) / SECONDS, 1_000 * percentile(latencies, 0.5)

    def share(self, busy_s: float) -> float:
        return busy_s / (WARM_UP_S + SECONDS)


def written(apis: int, per_second: float | None) -> Written:
    """At a rate, or without one as many as the clients of each API get through."""
    site = Site(apis)
    load = Load(site.simulation, site.clients, SEED)
    turns = cycle(site.apis)

    def put(then: Then) -> None:
        next(turns).rate(lambda _position: then())

    if per_second is None:
        load.closed(apis * CLIENTS_AN_API, put)
    else:
        load.open(per_second, put)
    rate, p50_ms = site.run(load)
    return Written(
        rate,
        p50_ms,
        site.log.head / sum(api.batches for api in site.apis),
        site.share(site.log.held_s),
        max(site.share(api.process.busy_s) for api in site.apis),
    )


def followed(projectors: int, per_second: float) -> tuple[float, float, float]:
    """Return the shares of a core of the busiest projector and Redis, and the p50 until applied."""
    site = Site(apis=4, projectors=projectors)
    load = Load(site.simulation, site.clients, SEED)
    turns = cycle(site.apis)
    late: list[tuple[int, float]] = []
    latencies: list[float] = []

    def put(then: Then) -> None:
        def rated(position: int) -> None:
            late.append((position, site.simulation.now))
            then()

        next(turns).rate(rated)

    def applied() -> None:
        reached = min(one.applied for one in site.projectors)
        latencies.extend(site.simulation.now - since for at, since in late if at <= reached)
        late[:] = [one for one in late if one[0] > reached]

    for projector in site.projectors:
        projector.on_applied.append(applied)
    load.open(per_second, put)
    site.run(load)
    return (
        max(site.share(one.process.busy_s) for one in site.projectors),
        max(site.share(one.process.busy_s) for one in site.redis),
        1_000 * percentile(sorted(latencies), 0.5),
    )


def served(apis: int) -> tuple[float, float, float]:
    """Return the p50 of reads, and the shares of a core of the busiest query API and Redis.

    Beside them the ratings are written and followed, and each index takes in every one.
    """
    site = Site(apis=4, projectors=1)
    writing = Load(site.simulation, site.clients, SEED)
    turns = cycle(site.apis)
    writing.open(WRITES, lambda then: next(turns).rate(lambda _position: then()))
    redis = [Redis(site.machine) for _ in range(PRIMARIES)]
    # Their indexes do not take in the ratings all at once.
    queries = [
        QueryApi(
            site.simulation,
            site.machine,
            redis[number % PRIMARIES],
            site.projectors[0],
            INDEX_EVERY_S * (number + 1) / apis,
        )
        for number in range(apis)
    ]
    kinds, weights = list(MIXTURE), list(MIXTURE.values())
    drawn, asked = random.Random(SEED), cycle(queries)
    latencies: list[float] = []
    # As many programs as it takes: the clients are no part of what is measured.
    for _ in range(PROGRAMS):
        load = Load(site.simulation, site.clients, SEED)
        load.latencies = latencies
        load.open(
            READS / PROGRAMS, lambda then: next(asked).read(drawn.choices(kinds, weights)[0], then)
        )
    _, p50_ms = site.run(load)
    return (
        p50_ms,
        max(site.share(one.process.busy_s) for one in queries),
        max(site.share(one.process.busy_s) for one in redis),
    )


def tables() -> list[list[list[str]]]:
    """Return the extrapolated tables: a heading and rows each."""
    return [_ceiling(), _writing(), _following(), _reading()]


def _ceiling() -> list[list[str]]:
    rows = [["command APIs, 64 clients each", "ratings/s", "rows a batch", "append lock held"]]
    for apis in (1, 2, 4, 8, 16):
        one = written(apis, None)
        rows.append(
            [str(apis), f"{one.per_second:,.0f}", f"{one.rows_a_batch:.0f}", f"{one.lock:.0%}"]
        )
    return rows


def _writing() -> list[list[str]]:
    rows = [
        [f"command APIs at {WRITES:,} ratings/s", "p50", "rows a batch", "core of each"],
    ]
    for apis in (3, 4, 6, 8):
        one = written(apis, WRITES)
        figures = f"{one.p50_ms:.1f} ms", f"{one.rows_a_batch:.1f}", f"{one.busiest_api:.0%}"
        rows.append([str(apis), *figures])
    return rows


def _following() -> list[list[str]]:
    rows = [[f"projectors at {WRITES:,} ratings/s", "core of each", "Redis of each", "p50 applied"]]
    for projectors in (1, 2, 4):
        own, redis, p50_ms = followed(projectors, WRITES)
        rows.append([str(projectors), f"{own:.0%}", f"{redis:.0%}", f"{p50_ms:.1f} ms"])
    return rows


def _reading() -> list[list[str]]:
    heading = f"query APIs at {READS:,} reads/s", "p50", "core of each", f"Redis of {PRIMARIES}"
    rows = [list(heading)]
    for apis in (12, 16, 20, 24):
        p50_ms, own, redis = served(apis)
        rows.append([str(apis), f"{p50_ms:.1f} ms", f"{own:.0%}", f"{redis:.0%}"])
    return rows
