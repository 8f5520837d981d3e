"""A generation that is followed: its partitions, and what a batch of the log makes of them.

Its checkpoints are held against the log first: if another event stands at one of them, or none,
the log is not the one that was applied (a restored backup, a fail-over that lost its tail), and the
generation stops. It stops too at an event that it may need and that this release cannot read, and
where too many entities are parked. A stopped generation is tried again now and then.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import structlog

from projector.generations import Generation
from projector.partition import Partition
from projector.partition_store import ABSENT, Call, PartitionStore
from projector.projections import DEFINITIONS, LogEvent, Projection, Unreadable
from shared.errors import EventUnreadable, LogDiverged, StarfoldError, TooManyParked
from shared.ids import START, Position

RETRY_STOPPED_EVERY_S = 5.0

log = structlog.get_logger()


class Followed:
    """One generation. `stopped` says why it does not follow, None while it does."""

    def __init__(self, generation: Generation, stored: Sequence[bytes]) -> None:
        self.generation = generation
        self.definition: Projection = DEFINITIONS[generation.projection]
        self.partitions = [
            Partition(self.definition, keys, checkpoint)
            for keys, checkpoint in zip(generation.all_keys, stored, strict=True)
        ]
        self.stopped: str | None = None
        self._retry_at = 0.0

    @property
    def is_due(self) -> bool:
        """Whether it takes part in the next pass."""
        return self.stopped is None or time.monotonic() >= self._retry_at

    @property
    def lowest(self) -> Position:
        return min(partition.checkpoint.position for partition in self.partitions)

    def fold(
        self,
        store: PartitionStore,
        events: Sequence[LogEvent],
        *,
        reached_end: bool,
        advance_idle: bool,
    ) -> list[tuple[Partition, Call]]:
        """The calls for each partition that the batch concerns, for the others when it is time.

        `reached_end` says that the log has no event after these.
        """
        try:
            self._require_same_log(events, reached_end=reached_end)
            readable = self.definition.readable(events)
            calls = self._calls(store, events[:readable], advance_idle=advance_idle)
        except (LogDiverged, TooManyParked) as error:
            # What was folded is not written.
            for partition in self.partitions:
                partition.reset(partition.stored)
            self._stop(error)
            return []
        if readable < len(events):
            unreadable = events[readable].event
            assert isinstance(unreadable, Unreadable)
            self._stop(EventUnreadable(unreadable.reason))
        elif self.stopped is not None:
            self.stopped = None
            self._log().info("generation_resumed")
        return calls

    def _calls(
        self, store: PartitionStore, events: Sequence[LogEvent], *, advance_idle: bool
    ) -> list[tuple[Partition, Call]]:
        if not events:
            return []
        shares: dict[int, list[LogEvent]] = {}
        checkpoints = [partition.checkpoint.position for partition in self.partitions]
        for event in events:
            number = self.definition.partition(event.event)
            if number is not None and event.position > checkpoints[number]:
                shares.setdefault(number, []).append(event)
        moved = self._load_missing(store, shares)
        calls: list[tuple[Partition, Call]] = []
        for number, partition in enumerate(self.partitions):
            if number in moved:
                continue
            share = shares.get(number, [])
            behind = partition.checkpoint.position < events[-1].position
            if share or (behind and advance_idle):
                calls += ((partition, call) for call in partition.fold(share, events[-1]))
        return calls

    def _load_missing(
        self, store: PartitionStore, shares: Mapping[int, Sequence[LogEvent]]
    ) -> set[int]:
        """Hold every document that the batch reads, in one round trip.

        Returns the partitions that somebody else has moved on meanwhile: what is stored is not what
        these events are to be folded into. They go on from where they stand, in the next pass.
        """
        fresh = [number for number in shares if self.partitions[number].needs_parked]
        if fresh:
            parked = store.parked(self.partitions[number].keys for number in fresh)
            for number, entities in zip(fresh, parked, strict=True):
                self.partitions[number].hold_parked(entities)
        wanted = {
            number: missing
            for number, share in shares.items()
            if (missing := self.partitions[number].missing(share)) or number in fresh
        }
        if not wanted:
            return set()
        stored = store.documents(
            (self.partitions[number].keys, missing) for number, missing in wanted.items()
        )
        moved = set()
        for (number, missing), (standing, values) in zip(wanted.items(), stored, strict=True):
            partition = self.partitions[number]
            if standing == partition.stored:
                partition.hold(missing, values)
            else:
                moved.add(number)
                if standing != ABSENT:
                    partition.reset(standing)
        return moved

    def _require_same_log(self, events: Sequence[LogEvent], *, reached_end: bool) -> None:
        """Raise `LogDiverged` if another event, or none, stands at one of the checkpoints."""
        last = events[-1].position if events else START
        checked = {partition.checkpoint.position for partition in self.partitions}
        standing = {event.position: event for event in events if event.position in checked}
        for partition in self.partitions:
            position = partition.checkpoint.position
            if position > START and (position <= last or reached_end):
                partition.require_same_log(standing.get(position))

    def _stop(self, reason: StarfoldError) -> None:
        self._retry_at = time.monotonic() + RETRY_STOPPED_EVERY_S
        if self.stopped != str(reason):
            self.stopped = str(reason)
            self._log().error("generation_stopped", error=reason.code, reason=str(reason))

    def _log(self) -> structlog.stdlib.BoundLogger:
        bound: structlog.stdlib.BoundLogger = log.bind(
            projection=self.generation.projection, generation=self.generation.number
        )
        return bound
