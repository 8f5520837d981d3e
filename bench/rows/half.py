"""`PUT` a rating at half of full load, alone and while a bulk import runs."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from bench.bench import Bench, Loaded, cores, measure
from bench.connection import Connection
from bench.findings import Finding, at_most
from bench.load import Load
from bench.load import run as run_load
from bench.seed import RATINGS_A_BATCH, batch_body, fresh_ratings, rate_requests, send_batch

CLIENTS = 64
SECONDS = 6.0
FULL_LOAD_SECONDS = 3.0
REQUESTS = 25_000
DRAW = 3_000
# Encoded beforehand and more than one round sends: a repeated row changes nothing and costs less.
BATCHES_A_ROUND = 60


def run(bench: Bench) -> list[Finding]:
    stack = bench.stack
    full = run_load(_load(bench, DRAW, None, FULL_LOAD_SECONDS)).per_second
    stack.wait_caught_up()
    alone: list[Loaded] = []
    beside: list[Loaded] = []
    imported: list[float] = []
    for number in range(bench.rounds):
        alone.append(measure(stack, _load(bench, DRAW + 2 * number + 1, 0.5 * full)))
        stack.wait_caught_up()
        bodies = _bodies(bench, number)
        with _importing(bench, bodies, imported):
            beside.append(measure(stack, _load(bench, DRAW + 2 * number + 2, 0.5 * full)))
        stack.wait_caught_up()
    rows = sum(imported) / len(imported)
    note = f"at {full / 2:,.0f}/s, half of {full:,.0f}/s"
    return [
        _finding("PUT at half load, p99", alone, 25.0, note),
        _finding("the same beside a bulk import", beside, 50.0, f"{note}; {rows:,.0f} rows/s"),
    ]


def _finding(what: str, loaded: Sequence[Loaded], goal_ms: float, note: str) -> Finding:
    reached = [one.answers.per_second for one in loaded]
    return Finding(
        row="half",
        what=what,
        unit="ms",
        figures=[one.answers.p99_ms for one in loaded],
        goal=at_most(goal_ms),
        measured=f"{min(reached):,.0f}/s to {max(reached):,.0f}/s",
        note=f"{note}; p50 {max(one.answers.p50_ms for one in loaded):.1f} ms; {cores(loaded)}",
    )


def _load(bench: Bench, draw: int, per_second: float | None, seconds: float = SECONDS) -> Load:
    return Load(
        port=bench.stack.command_port,
        requests=rate_requests(bench.seeded, "PUT", "/v1", count=REQUESTS, draw=draw),
        clients=CLIENTS,
        seconds=seconds,
        per_second=per_second,
    )


def _bodies(bench: Bench, number: int) -> list[bytes]:
    drawn = random.Random(DRAW + number)
    ratings = fresh_ratings(bench.seeded, drawn, BATCHES_A_ROUND * RATINGS_A_BATCH)
    return [
        batch_body(bench.seeded, ratings[start : start + RATINGS_A_BATCH])
        for start in range(0, len(ratings), RATINGS_A_BATCH)
    ]


@contextmanager
def _importing(bench: Bench, bodies: Sequence[bytes], imported: list[float]) -> Iterator[None]:
    """Send one bulk request after the other until the end, and record rows a second."""
    over = threading.Event()

    def send() -> None:
        started, rows = time.perf_counter(), 0
        with Connection(bench.stack.command_port, bench.stack.service_key) as connection:
            while not over.is_set():
                send_batch(connection, bodies[rows // RATINGS_A_BATCH % len(bodies)])
                rows += RATINGS_A_BATCH
        imported.append(rows / (time.perf_counter() - started))

    thread = threading.Thread(target=send, name="import")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
