"""Processor time of each program: for a rating, acknowledged and projected, and for reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from bench.bench import Bench
from bench.findings import Finding, at_most
from bench.load import Load, request
from bench.load import run as run_load
from bench.rows import get
from bench.seed import rate_requests
from bench.stack import Stack

CLIENTS = 64
SECONDS = 3.0
REQUESTS = 25_000
DRAW = 5_000
# Programs of the system itself; the others send the load, or wait.
PROGRAMS = ("command_api", "query_api", "projector", "postgres", "valkey-server")
READS = {"movie": "a movie", "profile": "a profile", "ratings": "20 ratings", "search": "a search"}

Cost = Mapping[str, float]


def run(bench: Bench) -> list[Finding]:
    stack = bench.stack
    asked = get.paths(bench)
    ratings: list[Cost] = []
    reads: dict[str, list[Cost]] = {name: [] for name in READS}
    for number in range(bench.rounds):
        requests = rate_requests(bench.seeded, "PUT", "/v1", count=REQUESTS, draw=DRAW + number)
        ratings.append(_cost(stack, _load(stack.command_port, requests)))
        for name, costs in reads.items():
            paths = [request("GET", path) for path in asked[name]]
            costs.append(_cost(stack, _load(stack.query_port, paths)))
    return [
        _finding("a rating, acknowledged and projected", ratings, 180.0),
        *(_finding(f"a read of {what}", reads[name]) for name, what in READS.items()),
    ]


def _load(port: int, requests: Sequence[bytes]) -> Load:
    return Load(port=port, requests=requests, clients=CLIENTS, seconds=SECONDS)


def _cost(stack: Stack, load: Load) -> Cost:
    """Return each program's microseconds a request, until the projector has caught up too."""
    before = stack.core_seconds()
    answers = run_load(load)
    stack.wait_caught_up()
    after = stack.core_seconds()
    requests = answers.per_second * (load.seconds + load.warm_up_s)
    return {
        program: 1e6 * (after.get(program, 0.0) - before.get(program, 0.0)) / requests
        for program in PROGRAMS
    }


def _finding(what: str, costs: list[Cost], goal_us: float | None = None) -> Finding:
    parts = {program: median(cost[program] for cost in costs) for program in PROGRAMS}
    return Finding(
        row="cost",
        what=what,
        unit="us",
        figures=[sum(cost.values()) for cost in costs],
        goal=None if goal_us is None else at_most(goal_us),
        note=", ".join(f"{program} {one:.0f}" for program, one in parts.items() if one >= 0.5),
    )
