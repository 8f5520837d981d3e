"""Measured points that the simulation must reproduce before it extrapolates."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from bench.load import percentile
from bench.simulate.constants import SLOWER_DAY
from bench.simulate.machine import Machine, Simulation, Then
from bench.simulate.model import CommandApi, Load, Log, Projector, QueryApi, Redis

CORES = 2
WARM_UP_S = 0.5
SECONDS = 2.0
WRITERS, READERS = 64, 32
PROBE_PAUSE_S = 0.005
# Each point is reproduced to this share of it.
TOLERANCE = 0.2
SEED = 17


class Point(NamedTuple):
    """A figure of docs/benchmarks.md; `unlike` says why the simulation does not reproduce it."""

    what: str
    measured: float
    unit: str
    day: str
    simulate: Callable[[], float]
    unlike: str = ""

    def compared(self) -> Compared:
        return Compared(self, self.simulate())


class Compared(NamedTuple):
    """A point and its simulated figure."""

    point: Point
    simulated: float

    @property
    def ratio(self) -> float:
        return self.simulated / self.point.measured

    def within(self, share: float) -> bool:
        return abs(self.ratio - 1) <= share


class Single:
    """Everything on the two cores of one machine, as the benchmark runs it."""

    def __init__(self, slower: float, *, follows: bool = True) -> None:
        self.simulation = Simulation()
        self.machine = Machine(self.simulation, CORES, slower)
        log, redis = Log(self.machine), Redis(self.machine)
        self.command = CommandApi(self.machine, log)
        projector = Projector(self.simulation, self.machine, log, redis) if follows else None
        self.query = QueryApi(self.simulation, self.machine, redis, projector)
        self.load = Load(self.simulation, self.machine, SEED)

    def put(self, then: Then) -> None:
        self.command.rate(lambda _position: then())

    def per_second(self) -> float:
        self.simulation.run(WARM_UP_S)
        before = len(self.load.latencies)
        self.simulation.run(WARM_UP_S + SECONDS)
        return (len(self.load.latencies) - before) / SECONDS


def put(slower: float, *, follows: bool) -> float:
    one = Single(slower, follows=follows)
    one.load.closed(WRITERS, one.put)
    return one.per_second()


def put_latency_ms(slower: float, per_second: float, quantile: float) -> float:
    one = Single(slower)
    one.load.open(per_second, one.put)
    one.per_second()
    return 1_000 * percentile(sorted(one.load.latencies), quantile)


def read(slower: float, kind: str) -> float:
    one = Single(slower, follows=False)
    one.load.closed(READERS, partial(one.query.read, kind))
    return one.per_second()


def visible_ms(slower: float, per_second: float, quantile: float) -> float:
    """From a rating's answer to the answer of a read at its position."""
    one = Single(slower)
    one.load.open(per_second, one.put)
    latencies: list[float] = []

    def probe(then: Then) -> None:
        def rated(position: int) -> None:
            answered_at = one.simulation.now

            def seen() -> None:
                latencies.append(one.simulation.now - answered_at)
                then()

            one.query.read("movie", seen, position)

        one.command.rate(rated)

    Load(one.simulation, one.machine, SEED + 1).probe(PROBE_PAUSE_S, probe)
    one.per_second()
    return 1_000 * percentile(sorted(latencies), quantile)


HALF_LOAD = 2_917
NEW, OLD = "one definition per route", "measured"
POINTS = (
    Point("`PUT`, 64 clients", 10_404, "/s", NEW, partial(put, 1.0, follows=True)),
    Point("the same, projector paused", 13_274, "/s", NEW, partial(put, 1.0, follows=False)),
    Point("the same, projector paused", 10_000, "/s", OLD, partial(put, SLOWER_DAY, follows=False)),
    Point("`GET` a movie, 32 clients", 15_441, "/s", OLD, partial(read, SLOWER_DAY, "movie")),
    Point("a profile", 14_604, "/s", OLD, partial(read, SLOWER_DAY, "profile")),
    Point("a page of 20 ratings", 6_912, "/s", OLD, partial(read, SLOWER_DAY, "ratings")),
    Point("visible, p50", 4.2, "ms", OLD, partial(visible_ms, SLOWER_DAY, HALF_LOAD, 0.5)),
    Point(
        "`PUT`, 64 clients",
        5_833,
        "/s",
        OLD,
        partial(put, SLOWER_DAY, follows=True),
        "0.65 of the no-op in that run; the same release reached 0.79 in the next, this one 0.87",
    ),
    Point(
        "`PUT` at half load, p99",
        9.9,
        "ms",
        NEW,
        partial(put_latency_ms, 1.0, 5_202, 0.99),
        "checkpoints, collections of garbage and upkeep, which make the tail, are not simulated",
    ),
    Point(
        "visible, p99",
        14,
        "ms",
        OLD,
        partial(visible_ms, SLOWER_DAY, HALF_LOAD, 0.99),
        "the same",
    ),
    Point(
        "a search page",
        6_319,
        "/s",
        OLD,
        partial(read, SLOWER_DAY, "search"),
        "the row mixes words with ranges of years, the constant is of words",
    ),
)
