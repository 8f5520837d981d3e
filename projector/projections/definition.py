"""Definition of a projection: a pure fold, its version, and its distribution over partitions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID
from zlib import crc32

import msgspec

from projector.documents.place import Place
from projector.documents.working_set import Documents, Key
from shared.ids import MovieId, Position, StreamId, Version
from shared.log.events import EVENT_TYPES, Event
from shared.read_model.keys import partition_of

KNOWN_TOPICS = frozenset(event_type.__name__ for event_type in EVENT_TYPES)


class LogEvent(msgspec.Struct, frozen=True, gc=False):
    """An event at its place in the log, with its `state` as it is stored.

    `fault` is the reason why it cannot be applied as stored.
    """

    position: Position
    stream_id: StreamId
    version: Version
    event: Event
    state: bytes = b""
    fault: str | None = None

    @property
    def place(self) -> Place:
        return Place(self.position, self.stream_id, self.version, crc32(self.state))


class Unreadable(Event, frozen=True, kw_only=True):
    """Placeholder for an event that this release cannot decode."""

    topic: str
    reason: str


class UndecodedRating(Event, frozen=True, kw_only=True):
    """Placeholder for a rating that concerns no partition of interest, with the bytes of its movie.

    A projection whose only partition needs no more of a rating than its movie folds it.
    """

    movie: bytes

    @property
    def movie_id(self) -> MovieId:
        return MovieId(UUID(bytes=self.movie))


def _holds_nothing_personal(_documents: Documents, _event: Event) -> None:
    """Do nothing: the projection holds no personal data."""


class Projection(NamedTuple):
    """A projection's definition; any change of its output requires a new `version` and a replay.

    `entities` maps event types to the field that names the entity concerned; other types do not
    concern the projection. `reads` returns the documents that `apply` will read. `apply` raises
    before it changes anything, so that an event is applied whole or not at all. `personal` says
    whether it uses personal data; for other projections nothing is opened. `erase` replaces `apply`
    where that fails on a `UserErased`: it deletes all of the person's documents. Events of the
    types `always` are applied even while their entity is parked, and need nothing opened.
    """

    name: str
    version: int
    partitions: int
    entities: Mapping[type[Event], str]
    reads: Callable[[Event], tuple[Key, ...]]
    apply: Callable[[Documents, LogEvent], None]
    personal: bool
    erase: Callable[[Documents, Event], None] = _holds_nothing_personal
    always: frozenset[type[Event]] = frozenset()

    def entity(self, event: Event) -> UUID | None:
        """Return the entity that an event concerns; None if it does not concern the projection."""
        field = self.entities.get(type(event))
        if field is None:
            return None
        entity: UUID = getattr(event, field)
        return entity

    def readable(self, events: Sequence[LogEvent]) -> int:
        """Count the events before the first unreadable one that may concern the projection."""
        for index, logged in enumerate(events):
            event = logged.event
            if type(event) is Unreadable and self._may_need(event.topic):
                return index
        return len(events)

    def by_partition(self, events: Iterable[LogEvent]) -> dict[int, list[LogEvent]]:
        """Return the events that concern each partition, in their order."""
        entities, partitions = self.entities, self.partitions
        by_partition: dict[int, list[LogEvent]] = {}
        for logged in events:
            field = entities.get(type(logged.event))
            if field is not None:
                number = 0
                if partitions > 1:
                    number = partition_of(getattr(logged.event, field), partitions)
                own = by_partition.get(number)
                if own is None:
                    by_partition[number] = [logged]
                else:
                    own.append(logged)
        return by_partition

    def _may_need(self, topic: str) -> bool:
        if topic not in KNOWN_TOPICS:
            return True
        return any(topic == event_type.__name__ for event_type in self.entities)
