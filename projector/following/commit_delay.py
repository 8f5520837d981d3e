"""How long after their commit the events of the log are applied."""

from __future__ import annotations

import time
from collections.abc import Iterable

import msgspec
from prometheus_client import Histogram

from projector.following.followed_generation import Slice
from shared.log.codec import recorded_at_of

COMMIT_TO_APPLIED = Histogram(
    "starfold_projection_commit_to_applied_seconds",
    "Time from an event's record to its application: the first of each pass and partition.",
    ["projection"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)


def observe_delays(slices: Iterable[Slice]) -> None:
    """Observe the delay of each slice's first event, which has waited longest.

    Only active generations count. One observation for each event would cost the pass more than
    applying it. The time of an event is that of its command, just before the commit.
    """
    now = time.time()
    for one in slices:
        generation = one.followed.generation
        if one.events and generation.state == "active":
            try:
                recorded_at = recorded_at_of(one.events[0].state)
            except msgspec.DecodeError:
                continue  # Damaged metadata does not matter to projections.
            delay_s = max(now - recorded_at.timestamp(), 0.0)
            COMMIT_TO_APPLIED.labels(generation.projection).observe(delay_s)
