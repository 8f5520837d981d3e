"""Following the log: a backlog through all projections, against the library's ProjectionRunner."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time

from bench.bench import Bench
from bench.connection import Connection
from bench.findings import Finding, at_least, ratios
from bench.seed import RATINGS_A_BATCH, batch_body, fresh_ratings, send_batch

EVENTS = 10_000
RUNNER_EVENTS = 1_000
RUNNER_WITHIN_S = 90.0


def run(bench: Bench) -> list[Finding]:
    followed: list[float] = []
    by_runner: list[float] = []
    for number in range(bench.rounds):
        followed.append(_followed(bench, number))
        by_runner.append(_by_runner(bench))
    return [
        ratios(
            "follow",
            "following the log, all projections",
            followed,
            by_runner,
            against="ProjectionRunner",
            goal=at_least(15),
            note=f"a backlog of about {EVENTS:,} events, for the runner {RUNNER_EVENTS:,}",
        )
    ]


def _followed(bench: Bench, number: int) -> float:
    """Send ratings while the projector's process is stopped, then resume it."""
    stack = bench.stack
    stack.wait_caught_up()
    head = stack.wiring.reader.head()
    ratings = fresh_ratings(bench.seeded, random.Random(100 + number), EVENTS)
    with (
        Connection(stack.command_port, stack.service_key) as connection,
        stack.paused_projector() as resume,
    ):
        for start in range(0, EVENTS, RATINGS_A_BATCH):
            batch = ratings[start : start + RATINGS_A_BATCH]
            send_batch(connection, batch_body(bench.seeded, batch))
        # Fewer than were sent: repeating the current rating records nothing.
        backlog = stack.wiring.reader.head() - head
        assert stack.lowest_position() == head, "the projector did not pause"
        started = time.perf_counter()
        resume()
        stack.wait_caught_up()
    return backlog / (time.perf_counter() - started)


def _by_runner(bench: Bench) -> float:
    finished = subprocess.run(
        [sys.executable, "-m", "bench.peers.runner", str(RUNNER_EVENTS)],
        env={**os.environ, **bench.stack.peer_environment()},
        stdout=subprocess.PIPE,
        timeout=RUNNER_WITHIN_S,
        check=True,
    )
    return RUNNER_EVENTS / float(finished.stdout)
