"""A replay of `movies` by one process, against fetching and decoding the log alone."""

from __future__ import annotations

import time

from bench.bench import Bench
from bench.findings import Finding, at_least, ratios
from projector.building.builder import Builder
from projector.building.upkeep import purge
from projector.log.reader import FETCH_EVENTS, LogReader
from projector.projections import DEFINITIONS
from projector.wiring import Wiring
from shared.ids import Position
from shared.read_model.keys import MOVIES


def run(bench: Bench) -> list[Finding]:
    wiring = bench.stack.wiring
    bench.stack.wait_caught_up()
    read: list[float] = []
    replayed: list[float] = []
    for _ in range(bench.rounds):
        read.append(_read(wiring.reader))
        replayed.append(_replayed(wiring))
    note = f"a log of {wiring.reader.head():,} events, most of them ratings"
    ratio = ratios(
        "replay",
        "replay of movies, one process",
        replayed,
        read,
        against="fetch and decode",
        goal=at_least(0.2),
        note=note,
    )
    rate = Finding(
        row="replay",
        what="the same",
        unit="events/s",
        figures=replayed,
        goal=at_least(50_000),
    )
    return [ratio, rate]


def _read(reader: LogReader) -> float:
    """Return events a second."""
    started = time.perf_counter()
    position, count = Position(1), 0
    while events := reader.fetch(position, FETCH_EVENTS):
        count += len(events)
        position = Position(events[-1].position + 1)
    return count / (time.perf_counter() - started)


def _replayed(wiring: Wiring) -> float:
    """Return events a second, from ordering the build to its last write."""
    generation = wiring.generations.create(
        DEFINITIONS[MOVIES], "replay", shares=1, switch_when_ready=False
    )
    started = time.perf_counter()
    built = Builder(wiring.reader, wiring.store, wiring.generations).build(
        MOVIES, generation.number, 0
    )
    seconds = time.perf_counter() - started
    assert built
    purge(wiring.generations, wiring.store, generation)
    return wiring.reader.head() / seconds
