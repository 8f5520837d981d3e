"""`PUT` a rating: against a no-op, the stock recipe and plain CRUD, 64 clients each."""

from __future__ import annotations

from contextlib import nullcontext

from bench.bench import Bench, Loaded, cores, latency, measure, rates
from bench.findings import Finding, at_least, ratios
from bench.load import Load
from bench.seed import rate_requests

CLIENTS = 64
SECONDS = 3.0
# More than any server here answers in a round.
REQUESTS = 25_000


def run(bench: Bench) -> list[Finding]:
    stack = bench.stack
    noop, stock, crud = (stack.start_peer(name) for name in ("noop", "stock", "crud"))
    measured: dict[str, list[Loaded]] = {}
    for round_number in range(bench.rounds):
        for name, port, method, prefix in (
            ("noop", noop, "POST", ""),
            ("whole", stack.command_port, "PUT", "/v1"),
            ("alone", stack.command_port, "PUT", "/v1"),
            ("crud", crud, "PUT", ""),
            ("stock", stock, "PUT", ""),
        ):
            draw = 2 * round_number + (name == "alone")
            requests = rate_requests(bench.seeded, method, prefix, count=REQUESTS, draw=draw)
            load = Load(port=port, requests=requests, clients=CLIENTS, seconds=SECONDS)
            with stack.paused_projector() if name == "alone" else nullcontext():
                measured.setdefault(name, []).append(measure(stack, load))
            stack.wait_caught_up()
    return _findings(measured)


def _findings(measured: dict[str, list[Loaded]]) -> list[Finding]:
    rate = {name: rates(loaded) for name, loaded in measured.items()}
    findings = []
    for name, what in (
        ("whole", "PUT a rating, 64 clients"),
        ("alone", "the same, projector paused"),
    ):
        for other, against, goal in (
            ("noop", "no-op POST", 0.6),
            ("stock", "stock recipe", 10.0),
            ("crud", "plain CRUD", 2.0),
        ):
            note = f"{latency(measured[name])}; {cores(measured[name])}"
            findings.append(
                ratios(
                    "put",
                    what,
                    rate[name],
                    rate[other],
                    against=against,
                    goal=at_least(goal),
                    note=note if other == "noop" else cores(measured[other]),
                )
            )
    return findings
