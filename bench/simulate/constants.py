"""What the simulated parts cost: measured figures, each with its source.

Most are of the day of docs/benchmarks.md, "With one definition per route"; the figures of its
section "Measured" are of a slower day.
"""

from __future__ import annotations

from typing import NamedTuple

DAY = "benchmarks.md, With one definition per route"
# By the no-op POST, which nothing but the machine changes: 11,960/s on the day of the constants
# (twice 5,202/s, at 0.87 of it), 9,013/s on that of "Measured".
SLOWER_DAY = 1.33


class Constant(NamedTuple):
    """A cost in microseconds, and where it was measured."""

    us: float
    source: str


CONSTANTS = {
    "command_request": Constant(28, f"{DAY}: `PUT` 70.8, less its commit, two thirds"),
    "command_answer": Constant(13.8, "the same, one third"),
    "command_batch": Constant(300, "decision 17: 29 a command in batches of 32, less the rows"),
    "command_row": Constant(19.6, f"{DAY}: a row of a batch"),
    "append": Constant(
        204, "prototype: 32 events in 800, less half of command_batch for its client"
    ),
    "append_row": Constant(
        13.9, "prototype: 32 events in 800, 1,000 in 14,286 (40,000/s and 70,000/s)"
    ),
    "pass": Constant(1_010, "commit 89dda23: 52 each of 30 events, 18.5 of 5,000"),
    "pass_row": Constant(18.3, "the same"),
    "write": Constant(600, "the same: Redis 29 each of 30, 9 of 5,000"),
    "write_row": Constant(8.9, "the same"),
    "movie": Constant(43.5, f"{DAY}: processor time"),
    "profile": Constant(47.7, "the same"),
    "ratings": Constant(103, "the same"),
    "search": Constant(66.5, "the same"),
    "index_row": Constant(12.7, "benchmarks.md: 3.8 % of a core at 3,000 ratings a second"),
    "redis_movie": Constant(2.5, "benchmarks.md, Cost: Redis's share of such a read"),
    "redis_profile": Constant(8.7, "the same"),
    "redis_ratings": Constant(26, "the same"),
    "redis_search": Constant(0.7, "the same"),
    "client": Constant(9, "benchmarks.md: 14 % of a core at 15,441 reads a second"),
}
