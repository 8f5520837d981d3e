"""From commit to visible at half load: a write is answered, then a read at its position is."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor

import msgspec

from bench import catalogue
from bench.bench import Bench
from bench.connection import Connection
from bench.findings import Finding, at_most
from bench.load import Load, percentile
from bench.load import run as run_load
from bench.seed import rate_requests

CLIENTS = 64
SECONDS = 5.0
FULL_LOAD_SECONDS = 2.0
REQUESTS = 15_000
PAUSE_S = 0.005
# The probes begin once the load has settled.
SETTLED_AFTER_S = 1.0


def run(bench: Bench) -> list[Finding]:
    p50s: list[float] = []
    p99s: list[float] = []
    probes = 0
    half = 0.5 * run_load(_load(bench, 1_000, FULL_LOAD_SECONDS, None)).per_second
    bench.stack.wait_caught_up()
    for number in range(bench.rounds):
        latencies = _probed(bench, number, half)
        probes += len(latencies)
        p50s.append(1_000 * percentile(latencies, 0.5))
        p99s.append(1_000 * percentile(latencies, 0.99))
        bench.stack.wait_caught_up()
    note = f"beside {half:,.0f} ratings a second, half of what it takes; {probes:,} writes"
    return [
        Finding(
            row="visible",
            what=f"commit to visible, {name}",
            unit="ms",
            figures=figures,
            goal=at_most(goal),
            measured="answer to PUT until answer to GET",
            note=note,
        )
        for name, figures, goal in (("p50", p50s, 10.0), ("p99", p99s, 50.0))
    ]


def _load(bench: Bench, draw: int, seconds: float, per_second: float | None) -> Load:
    return Load(
        port=bench.stack.command_port,
        requests=rate_requests(bench.seeded, "PUT", "/v1", count=REQUESTS, draw=draw),
        clients=CLIENTS,
        seconds=seconds,
        per_second=per_second,
    )


def _probed(bench: Bench, number: int, per_second: float) -> list[float]:
    """Return the sorted seconds from a write's answer to the answer of a read at its position."""
    load = _load(bench, 1_001 + number, SECONDS + SETTLED_AFTER_S, per_second)
    with ThreadPoolExecutor(1) as pool:
        loaded = pool.submit(run_load, load)
        time.sleep(load.warm_up_s + SETTLED_AFTER_S)
        latencies = _probe(bench, number, time.monotonic() + SECONDS)
        loaded.result()
    return sorted(latencies)


def _probe(bench: Bench, number: int, until: float) -> list[float]:
    drawn = random.Random(2_000 + number)
    user = drawn.randrange(catalogue.USERS)
    latencies = []
    with (
        Connection(bench.stack.command_port, bench.seeded.tokens[user]) as command,
        Connection(bench.stack.query_port) as query,
    ):
        while time.monotonic() < until:
            movie_id = bench.seeded.movie_ids[drawn.randrange(catalogue.FILMS)]
            body = msgspec.json.encode({"score": drawn.randint(1, 10) / 2})
            written = command.send("PUT", f"/v1/movies/{movie_id}/rating", body)
            answered_at = time.perf_counter()
            query.send("GET", f"/v1/movies/{movie_id}", at_least=written.position)
            latencies.append(time.perf_counter() - answered_at)
            time.sleep(PAUSE_S)
    return latencies
