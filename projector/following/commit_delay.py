"""How long after their commit the events of the log are applied."""

from __future__ import annotations

import time
from collections.abc import Iterable

import msgspec
from prometheus_client import Histogram

from projector.following.followed_generation import Slice
from projector.projections import LogEvent
from shared.log.codec import recorded_at_of

COMMIT_TO_APPLIED = Histogram(
    "starfold_projection_commit_to_applied_seconds",
    "Time from an event's record to its application: the first of each pass.",
    ["projection"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)


def observe_delays(slices: Iterable[Slice]) -> None:
    """Observe, for each projection, the delay of the first event, which has waited longest.

    Only active generations count. One observation for each partition would cost a pass of few
    events a tenth of what applying them costs. The time of an event is that of its command, just
    before the commit.
    """
    first: dict[str, LogEvent] = {}
    for one in slices:
        generation = one.followed.generation
        if one.events and generation.state == "active":
            earliest = first.setdefault(generation.projection, one.events[0])
            if one.events[0].position < earliest.position:
                first[generation.projection] = one.events[0]
    now = time.time()
    for projection, event in first.items():
        try:
            recorded_at = recorded_at_of(event.state)
        except msgspec.DecodeError:
            continue  # Damaged metadata does not matter to projections.
        COMMIT_TO_APPLIED.labels(projection).observe(max(now - recorded_at.timestamp(), 0.0))
