"""A generation that is followed: its partitions, and what a batch of the log makes of them.

Its checkpoints are held against the log first: if another event stands at one of them, or none,
the log is not the one that was applied (a restored backup, a fail-over that lost its tail), and the
generation stops. It stops too at an event that it may need and that this release cannot read, and
where too many entities are parked. A stopped generation is tried again now and then.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

import structlog

from projector.documents.calls import Call
from projector.documents.place import Place
from projector.documents.store import ABSENT
from projector.following.partition import Partition
from projector.generations.table import Generation
from projector.projections import DEFINITIONS, LogEvent, Projection, Unreadable
from shared.errors import EventUnreadable, LogDiverged, StarfoldError, TooManyParked
from shared.ids import START, Position

RETRY_STOPPED_EVERY_S = 5.0

log = structlog.get_logger()


class Share(NamedTuple):
    """What of a batch concerns one partition; `last` is the place of the batch's last event."""

    followed: Followed
    partition: Partition
    events: Sequence[LogEvent]
    last: Place


class Followed:
    """One generation: its partitions that have a checkpoint, at least one.

    `stopped` says why it does not follow, None while it does.
    """

    def __init__(self, generation: Generation, stored: Sequence[bytes]) -> None:
        self.generation = generation
        self.definition: Projection = DEFINITIONS[generation.projection]
        self.partitions = [
            Partition(self.definition, keys, checkpoint)
            for keys, checkpoint in zip(generation.all_keys, stored, strict=True)
            if checkpoint != ABSENT
        ]
        self.stopped: str | None = None
        self._retry_at = 0.0

    def has(self, stored: Sequence[bytes]) -> bool:
        """Whether just the partitions with a checkpoint are followed."""
        present = [number for number, one in enumerate(stored) if one != ABSENT]
        return present == [one.keys.partition for one in self.partitions]

    @property
    def is_due(self) -> bool:
        """Whether it takes part in the next pass."""
        return self.stopped is None or time.monotonic() >= self._retry_at

    @property
    def lowest(self) -> Position:
        """Events after this are still to be folded into some partition."""
        return min(partition.reached.position for partition in self.partitions)

    @property
    def lags(self) -> bool:
        """Whether some partition has come further than its checkpoint says."""
        return any(partition.lags for partition in self.partitions)

    def shares(
        self, events: Sequence[LogEvent], *, reached_end: bool, advance_idle: bool
    ) -> list[Share]:
        """What of a batch concerns each partition; nothing if the generation stops at it.

        `reached_end` says that the log has no event after these. With `advance_idle` partitions
        that no event concerns have a share too, which is empty.
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
        return self._shares(events[:readable], advance_idle=advance_idle)

    def fold(self, shares: Sequence[Share]) -> list[tuple[Share, Call]]:
        """The calls for its shares, in order; none if the generation stops at one."""
        try:
            return [
                (share, call)
                for share in shares
                for call in share.partition.fold(share.events, share.last)
            ]
        except TooManyParked as error:
            self._give_up(error)
            return []

    def _shares(self, events: Sequence[LogEvent], *, advance_idle: bool) -> list[Share]:
        if not events:
            return []
        last = events[-1].place
        by_partition = self.definition.shares(events)
        shares = []
        for partition in self.partitions:
            reached = partition.reached.position
            own = by_partition.get(partition.keys.partition, [])
            if own and own[0].position <= reached:
                own = [event for event in own if event.position > reached]
            behind = partition.checkpoint.position < last.position
            if own or (advance_idle and behind):
                shares.append(Share(self, partition, own, last))
            elif reached < last.position:
                partition.pass_over(last)
        return shares

    def _require_same_log(self, events: Sequence[LogEvent], *, reached_end: bool) -> None:
        """Raise `LogDiverged` if another event, or none, stands where a partition has come to."""
        last = events[-1].position if events else START
        for partition in self.partitions:
            position = partition.reached.position
            if position > START and (position <= last or reached_end):
                index = bisect_left(events, position, key=_position)
                standing = events[index] if index < len(events) else None
                partition.require_same_log(standing)

    def _give_up(self, reason: StarfoldError) -> None:
        """Stop, and forget what was folded and is not written."""
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
