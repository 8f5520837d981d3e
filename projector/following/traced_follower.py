"""A follower that records a span for each trace whose events it applies."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from projector.documents.store import PartitionStore
from projector.following.followed_generation import FollowedGeneration, Slice
from projector.following.follower import Follower
from projector.log.reader import LogReader
from projector.projections import LogEvent
from shared.log.codec import trace_of

if TYPE_CHECKING:
    from shared.tracing.tracer import Tracer


class TracedFollower(Follower):
    """The spans are children of the commits: from the fetch of a pass to the end of its write.

    Events of one trace that a pass applies to one partition share a span.
    """

    def __init__(self, reader: LogReader, store: PartitionStore, tracer: Tracer) -> None:
        super().__init__(reader, store)
        self._tracer = tracer
        self._began_at_ns = 0

    def _fold_group(self, group: Sequence[FollowedGeneration], advance_idle: bool) -> int:
        self._began_at_ns = time.time_ns()
        return super()._fold_group(group, advance_idle)

    def _applied(self, slices: Sequence[Slice]) -> None:
        super()._applied(slices)
        for one in slices:
            generation = one.followed.generation
            for trace, events in Counter(map(_trace, one.events)).items():
                if trace is not None:
                    self._tracer.record(
                        f"apply {generation.projection}",
                        parent=trace,
                        started_at_ns=self._began_at_ns,
                        attributes={
                            "starfold.projection": generation.projection,
                            "starfold.generation": generation.number,
                            "starfold.partition": one.partition.keys.partition,
                            "starfold.position": one.last.position,
                            "starfold.events": events,
                        },
                    )


def _trace(event: LogEvent) -> bytes | None:
    try:
        return trace_of(event.state)
    except msgspec.DecodeError:
        return None  # Damaged metadata does not matter to projections.
