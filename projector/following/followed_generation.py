"""A generation that is followed: this projector's partitions, and how new events change them.

The generation first compares its checkpoints with the log. If the log holds no event, or another
one, at a checkpoint, it is not the log that was applied (a restored backup, a failover that lost
events), and the generation stops. It also stops at an event that it may need and this release
cannot read, and when too many entities are parked. A stopped generation retries periodically.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import structlog

from projector.documents.calls import Call
from projector.documents.place import Place
from projector.following.partition import Partition
from projector.generations.table import Generation
from projector.projections import DEFINITIONS, LogEvent, Projection, Unreadable
from shared.errors import EventUnreadable, LogDiverged, StarfoldError, TooManyParked
from shared.ids import START, Position

RETRY_STOPPED_EVERY_S = 5.0

log = structlog.get_logger()


class Slice(NamedTuple):
    """The events of a pass that concern one partition.

    `last` is the place of the pass's last event.
    """

    followed: FollowedGeneration
    partition: Partition
    events: Sequence[LogEvent]
    last: Place

    def until(self, position: Position) -> Slice:
        """Return the slice without the events after a position."""
        return self._replace(events=[one for one in self.events if one.position <= position])


class FollowedGeneration:
    """One generation: this projector's partitions that have a checkpoint, at least one.

    `stopped` holds the reason why it does not follow, None while it does.
    """

    def __init__(self, generation: Generation) -> None:
        self.generation = generation
        self.definition: Projection = DEFINITIONS[generation.projection]
        self.partitions: list[Partition] = []
        self.stopped: str | None = None
        self._retry_at = 0.0

    def hold(self, checkpoints: Mapping[int, bytes]) -> None:
        """Follow exactly these partitions from now on, the new ones from the given checkpoints."""
        held = {one.keys.partition: one for one in self.partitions}
        self.partitions = [
            held.get(number) or Partition(self.definition, self.generation.keys(number), stored)
            for number, stored in checkpoints.items()
        ]

    @property
    def is_due(self) -> bool:
        """Whether it takes part in the next pass."""
        return self.stopped is None or time.monotonic() >= self._retry_at

    @property
    def lowest(self) -> Position:
        """The position after which some partition still has events to fold."""
        return min(partition.reached.position for partition in self.partitions)

    @property
    def lags(self) -> bool:
        """Whether some partition is ahead of its stored checkpoint."""
        return any(partition.lags for partition in self.partitions)

    def slices(
        self, events: Sequence[LogEvent], *, reached_end: bool, advance_idle: bool
    ) -> list[Slice]:
        """Return the slice of the events for each partition; none if the generation stops.

        `reached_end` says that the log has no later event. With `advance_idle`, partitions without
        events also have a slice, which is empty.
        """
        try:
            self._require_same_log(events, reached_end=reached_end)
        except LogDiverged as error:
            self._give_up(error)
            return []
        readable = self.definition.readable(events)
        if readable < len(events):
            unreadable = events[readable].event
            assert isinstance(unreadable, Unreadable)
            self._stop(EventUnreadable(unreadable.reason))
        elif self.stopped is not None:
            self.stopped = None
            self._log().info("generation_resumed")
        return self._slices(events[:readable], advance_idle=advance_idle)

    def fold(self, slices: Sequence[Slice]) -> list[tuple[Slice, Call]]:
        """Return the calls for the slices, in order; none if the generation stops at one."""
        try:
            return [
                (one, call) for one in slices for call in one.partition.fold(one.events, one.last)
            ]
        except TooManyParked as error:
            self._give_up(error)
            return []

    def _slices(self, events: Sequence[LogEvent], *, advance_idle: bool) -> list[Slice]:
        if not events:
            return []
        last = events[-1].place
        by_partition = self.definition.by_partition(events)
        slices = []
        for partition in self.partitions:
            reached = partition.reached.position
            own = by_partition.get(partition.keys.partition, [])
            if own and own[0].position <= reached:
                own = [event for event in own if event.position > reached]
            behind = partition.checkpoint.position < last.position
            if own or (advance_idle and behind):
                slices.append(Slice(self, partition, own, last))
            elif reached < last.position:
                partition.pass_over(last)
        return slices

    def _require_same_log(self, events: Sequence[LogEvent], *, reached_end: bool) -> None:
        """Raise `LogDiverged` if the log has another event, or none, where a partition stands."""
        last = events[-1].position if events else START
        for partition in self.partitions:
            position = partition.reached.position
            if position > START and (position <= last or reached_end):
                index = bisect_left(events, position, key=_position)
                current = events[index] if index < len(events) else None
                partition.require_same_log(current)

    def _give_up(self, reason: StarfoldError) -> None:
        """Stop, and drop what was folded but not written."""
        for partition in self.partitions:
            partition.reset(partition.stored)
        self._stop(reason)

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


def _position(event: LogEvent) -> Position:
    return event.position
