"""A partition folded from scratch and held in memory: the documents that Redis should hold.

For each key it holds the expected string document, sorted-set members, hash fields or stream
entries, by name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise
from uuid import UUID

from projector.documents.key_ranges import KeyRange, Parts, Type
from projector.documents.place import Place, place_of
from projector.documents.working_set import STREAM_ENTRIES_MAX, Entry, Key, WorkingSet
from projector.following.fold import PartitionFold
from projector.projections import LogEvent, Projection
from shared.errors import LogDiverged
from shared.ids import START, Position
from shared.read_model.checkpoints import Checkpoint
from shared.read_model.documents import Parked
from shared.read_model.keys import PartitionKeys
from shared.read_model.kinds import (
    CATALOGUE,
    CHANGE_ORDER,
    CHANGED_MOVIES,
    LEFT,
    PARKED_ENTITIES,
)

# Members of a sorted set that are read at once.
RANGE_MEMBERS = 5_000


# Keys without an id hold members of many entities.
SHARED: dict[str, Type] = {
    CATALOGUE: "zset",
    LEFT: "zset",
    CHANGE_ORDER: "zset",
    CHANGED_MOVIES: "stream",
    PARKED_ENTITIES: "hash",
}


class ShadowFold(PartitionFold):
    """Park faulty entities as the projector does, but leave reporting to the audit."""

    def _report(self, parked: Parked, event: LogEvent) -> None:
        """Report nothing: parked entities are part of the expected state."""


class Shadow:
    """The fold of one partition; `entities` restrict it to the events of some movies or users."""

    def __init__(
        self, definition: Projection, keys: PartitionKeys, entities: Collection[UUID] | None
    ) -> None:
        self.keys = keys
        self.definition = definition
        self._entities = entities
        self._working_set = WorkingSet(complete=True)
        self._fold = ShadowFold(definition, keys, self._working_set, {}).fold
        self._last: Place | None = None

    @property
    def position(self) -> Position:
        return START if self._last is None else self._last.position

    def fold(self, share: Sequence[LogEvent], last: Place) -> None:
        """Apply the next events that concern the partition, up to `last`."""
        for logged in share:
            if self._entities is None or self.definition.entity(logged.event) in self._entities:
                self._fold(logged)
        self._last = last

    def require_same_log(self, checkpoint: Checkpoint) -> None:
        """Raise `LogDiverged` unless the checkpoint names the last folded event."""
        last = self._last
        if last is not None and not last.is_of_same_event(place_of(checkpoint)):
            raise LogDiverged(
                f"{self.keys.prefix} has applied version {checkpoint.version} of stream"
                f" {checkpoint.stream_id} at position {checkpoint.position}, which is not in"
                " the log"
            )

    def holds(self, key: Key) -> bool:
        """Whether the fold has anything under the key."""
        return self.type(key) != "absent" and any(map(self.wanted, self.ranges(key)))

    def all_keys(self) -> list[Key]:
        held = self._working_set
        keys = [*held.dirty, *held.members, *held.fields, *held.entries]
        return [key for key in keys if self.type(key) != "absent"]

    def type(self, key: Key) -> Type:
        """Return the type that the key must have; keys of many entities keep theirs when empty."""
        held = self._working_set
        if key in held.dirty:
            return "string"
        if any(rank is not None for rank in held.members.get(key, {}).values()):
            return "zset"
        if any(value is not None for value in held.fields.get(key, {}).values()):
            return "hash"
        if held.entries.get(key):
            return "stream"
        return "absent" if key[1] else SHARED.get(key[0], "absent")

    def ranges(self, key: Key) -> Iterator[KeyRange]:
        """Yield the whole key in ranges that are small enough to be read at once."""
        type_ = self.type(key)
        members = self._working_set.members.get(key, {})
        if type_ != "zset" or len(members) <= RANGE_MEMBERS:
            yield KeyRange(key, type_)
            return
        ranks = sorted({rank for rank in members.values() if rank is not None})
        bounds = [None, *ranks[RANGE_MEMBERS::RANGE_MEMBERS], None]
        for low, high in pairwise(bounds):
            yield KeyRange(key, type_, low, high)

    def size(self, part: KeyRange) -> int:
        """Return the approximate number of members in the range."""
        held = self._working_set
        parts = held.members.get(part.key) or held.fields.get(part.key) or ()
        return min(len(parts) or 1, RANGE_MEMBERS)

    def wanted(self, part: KeyRange) -> Parts:
        """Return the expected parts of the range."""
        held = self._working_set
        match part.type:
            case "string":
                return {b"": held.dirty[part.key].encode(held.documents[part.key])}
            case "zset":
                return {
                    member: rank
                    for member, rank in held.members.get(part.key, {}).items()
                    if rank is not None
                    and (part.low is None or rank >= part.low)
                    and (part.high is None or rank < part.high)
                }
            case "hash":
                fields = held.fields.get(part.key, {}).items()
                return {field: value for field, value in fields if value is not None}
            case "stream":
                return {entry: value for entry, _, value in self.entries(part.key)}
            case "absent":
                return {}

    def entries(self, key: Key) -> list[Entry]:
        """Return the entries that a stream must have."""
        return self._working_set.entries.get(key, [])[-STREAM_ENTRIES_MAX:]
