"""The common parts of all rows: the stack, its data set, and loads with their costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bench.load import Answers, Load, run
from bench.seed import Seeded
from bench.stack import Stack

# Programs that used less of a core than this are not listed.
SHARE_SHOWN_MIN = 0.05


class Bench(NamedTuple):
    """The stack and its data; `rounds` is the number of measurements of each kind.

    `size` is the share of MovieLens 32M's size that the row `imports` makes up.
    """

    stack: Stack
    seeded: Seeded
    rounds: int
    size: float


class Loaded(NamedTuple):
    """Answers, and the share of a core that each program used meanwhile."""

    answers: Answers
    core_shares: Mapping[str, float]


def measure(stack: Stack, load: Load) -> Loaded:
    before = stack.core_seconds()
    answers = run(load)
    after = stack.core_seconds()
    seconds = load.seconds + load.warm_up_s
    shares = {name: (used - before.get(name, 0.0)) / seconds for name, used in after.items()}
    return Loaded(answers, {**shares, "load": answers.core_share})


def rates(measured: Sequence[Loaded]) -> list[float]:
    return [one.answers.per_second for one in measured]


def cores(measured: Sequence[Loaded]) -> str:
    """Format the mean shares of a core, the busiest program first."""
    totals: dict[str, float] = {}
    for one in measured:
        for name, share in one.core_shares.items():
            totals[name] = totals.get(name, 0.0) + share / len(measured)
    busy = sorted(totals.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {share:.0%}" for name, share in busy if share >= SHARE_SHOWN_MIN)


def latency(measured: Sequence[Loaded]) -> str:
    """Format the latencies of the round with the median rate."""
    ordered = sorted(measured, key=lambda one: one.answers.per_second)
    middle = ordered[len(ordered) // 2].answers
    return f"p50 {middle.p50_ms:.0f} ms, p99 {middle.p99_ms:.0f} ms"
