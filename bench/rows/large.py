"""A log of three million events: the time and memory of a replay and an audit.

The ratings are synthetic (`bench.synthetic`). Every step runs in its own process, as the jobs of
`starfold replay` do, so that its memory can be measured; the projector is stopped.
"""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import psycopg
import structlog

from bench.bench import Bench
from bench.findings import Finding, at_most, ratios
from bench.stack import Stack
from bench.synthetic import append_ratings
from projector.audit.auditor import Audit
from projector.building.builder import Builder
from projector.building.upkeep import purge
from projector.generations.table import Generation
from projector.projections import DEFINITIONS
from projector.settings import ProjectorSettings
from projector.wiring import Wiring, wire
from shared.log.codec import Codec
from shared.log.sealing import KeyWrap
from shared.process.gc_tuning import tune_collector
from shared.read_model.keys import MOVIES

RATINGS = 3_000_000
MEMORY_MAX_BYTES = 1024**3
VERIFIED_MAX_MS = 60_000
PROCESS_STATUS = Path("/proc/self/status")


class _Run(NamedTuple):
    seconds: float
    peak_bytes: int


def run(bench: Bench) -> list[Finding]:
    with bench.stack.paused_projector():
        _append(bench.stack)
        return replayed_and_verified(bench, "large")


def replayed_and_verified(bench: Bench, row: str) -> list[Finding]:
    """Replay and audit `movies` over the log as it is, while the projector is paused."""
    stack = bench.stack
    head = stack.wiring.reader.head()
    one: list[_Run] = []
    two: list[_Run] = []
    verified: list[_Run] = []
    for _ in range(bench.rounds):
        generation = _replayed(stack, one, shares=1)
        verified.append(_apart(_verify, [(stack.projector_settings, generation.number)]))
        purge(stack.wiring.generations, stack.wiring.store, generation)
        generation = _replayed(stack, two, shares=2)
        purge(stack.wiring.generations, stack.wiring.store, generation)
    note = f"{head:,} events, made up"
    return [
        Finding(
            row=row,
            what="replay of movies, memory of the process",
            unit="bytes",
            figures=[one_run.peak_bytes for one_run in one],
            goal=at_most(MEMORY_MAX_BYTES),
            note=note,
        ),
        ratios(
            row,
            "replay of movies by two workers",
            [head / one_run.seconds for one_run in two],
            [head / one_run.seconds for one_run in one],
            against="one worker",
            goal=None,
            note=f"{note}; each worker reads the whole log",
        ),
        Finding(
            row=row,
            what="audit of movies, a million events",
            unit="ms",
            figures=[one_run.seconds * 1_000 / (head / 1_000_000) for one_run in verified],
            goal=at_most(VERIFIED_MAX_MS),
            note=f"{note}; peak {max(one_run.peak_bytes for one_run in verified) / 2**20:.0f} MiB",
        ),
    ]


def _append(stack: Stack) -> None:
    key_wrap = KeyWrap(stack.projector_settings.sealing_key.get_secret_value())
    options = f"-c search_path={stack.projector_settings.database_schema}"
    with psycopg.connect(stack.home.owner_dsn(), autocommit=True, options=options) as connection:
        append_ratings(connection, Codec(), key_wrap, ratings=RATINGS)


def _replayed(stack: Stack, runs: list[_Run], *, shares: int) -> Generation:
    """Build a new generation of `movies` by as many processes as there are shares."""
    generations = stack.wiring.generations
    generation = generations.create(
        DEFINITIONS[MOVIES], "replay", shares=shares, switch_when_ready=False
    )
    jobs = [(stack.projector_settings, generation.number, share) for share in range(shares)]
    runs.append(_apart(_build, jobs))
    found = generations.get(MOVIES, generation.number)
    assert found is not None
    assert found.state == "following"
    return found


def _apart(work: Callable[..., int], jobs: Sequence[tuple[object, ...]]) -> _Run:
    """Run each job in its own process, all at once."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(jobs), mp_context=context) as pool:
        # Imports do not count.
        list(pool.map(time.sleep, [0.1] * len(jobs)))
        started = time.perf_counter()
        peaks = [future.result() for future in [pool.submit(work, *job) for job in jobs]]
        return _Run(time.perf_counter() - started, max(peaks))


def _build(settings: ProjectorSettings, number: int, share: int) -> int:
    with_wiring = _wired(settings)
    builder = Builder(with_wiring.reader, with_wiring.store, with_wiring.generations)
    assert builder.build(MOVIES, number, share)
    return _peak_bytes()


def _verify(settings: ProjectorSettings, number: int) -> int:
    wiring = _wired(settings)
    generation = wiring.generations.get(MOVIES, number)
    assert generation is not None
    report = Audit(wiring.reader, wiring.store).verify(generation)
    assert report.passed
    return _peak_bytes()


def _wired(settings: ProjectorSettings) -> Wiring:
    tune_collector()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    return wire(settings)


def _peak_bytes() -> int:
    """Return this process's peak memory; Linux's getrusage may report the parent's."""
    if not PROCESS_STATUS.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    lines = PROCESS_STATUS.read_text().splitlines()
    (peak,) = (line.split() for line in lines if line.startswith("VmHWM:"))
    return int(peak[1]) * 1024
