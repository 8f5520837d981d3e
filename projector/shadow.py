"""A partition folded anew from the log and held whole in memory: what its stored documents must be.

It holds for each key what must stand there: a string document, or the members of a sorted set, the
fields of a hash or the entries of a stream, each by its name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from uuid import UUID

from projector.documents import STREAM_ENTRIES_MAX, Key, Operation, WorkingSet
from projector.fold import PartitionFold
from projector.kinds import CATALOGUE, CHANGED_MOVIES, PARKED_ENTITIES
from projector.partition_store import Parts, Slice, Type
from projector.projections import LogEvent, Projection
from shared.errors import LogDiverged
from shared.ids import NO_VERSION, START, Position, StreamId
from shared.read_model import Checkpoint, Parked, PartitionKeys

# Of a sorted set, so many members are read at once.
SLICE_MEMBERS = 5_000


# Keys without an id hold members of many entities.
SHARED: dict[str, Type] = {
    CATALOGUE: "zset",
    CHANGED_MOVIES: "stream",
    PARKED_ENTITIES: "hash",
}


class ShadowFold(PartitionFold):
    """Parks as a projector does; it is for the audit to say so."""

    def _report(self, parked: Parked) -> None:
        """Nothing: what is parked is part of the truth that is compared."""


class Shadow:
    """One partition; `entity` restricts it to the events of one movie or user."""

    def __init__(self, definition: Projection, keys: PartitionKeys, entity: UUID | None) -> None:
        self.keys = keys
        self.definition = definition
        self._entity = entity
        self._working_set = WorkingSet(complete=True)
        self._fold = ShadowFold(definition, keys, self._working_set, {}).fold
        self._standing: tuple[Position, StreamId | None, int] = (START, None, NO_VERSION)

    @property
    def position(self) -> Position:
        return self._standing[0]

    def fold(self, events: Sequence[LogEvent]) -> None:
        """Take the next events of the log, whichever partition they concern."""
        definition, partition = self.definition, self.keys.partition
        for logged in events:
            if definition.partition(logged.event) == partition and (
                self._entity is None or definition.entity(logged.event) == self._entity
            ):
                self._fold(logged)
        if events:
            last = events[-1]
            self._standing = (last.position, last.stream_id, last.version)

    def require_same_log(self, checkpoint: Checkpoint) -> None:
        """Raise `LogDiverged` unless the checkpoint names the event that this stands at."""
        position, stream_id, version = self._standing
        if position > START and (checkpoint.stream_id, checkpoint.version) != (stream_id, version):
            raise LogDiverged(
                f"{self.keys.prefix} has applied version {checkpoint.version} of stream"
                f" {checkpoint.stream_id} at position {checkpoint.position}, which is not in"
                " the log"
            )

    def holds(self, key: Key) -> bool:
        """Whether anything must stand there."""
        return self.type(key) != "absent" and any(map(self.wanted, self.slices(key)))

    def all_keys(self) -> list[Key]:
        held = self._working_set
        keys = [*held.dirty, *held.members, *held.fields, *held.entries]
        return [key for key in keys if self.type(key) != "absent"]

    def type(self, key: Key) -> Type:
        """What the key must be; keys of many entities are what they are even when empty."""
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

    def slices(self, key: Key) -> Iterator[Slice]:
        """The whole key in pieces that may be read at once."""
        type_ = self.type(key)
        members = self._working_set.members.get(key, {})
        if type_ != "zset" or len(members) <= SLICE_MEMBERS:
            yield Slice(key, type_)
            return
        ranks = sorted({rank for rank in members.values() if rank is not None})
        bounds = [None, *ranks[SLICE_MEMBERS::SLICE_MEMBERS], None]
        for low, high in pairwise(bounds):
            yield Slice(key, type_, low, high)

    def size(self, part: Slice) -> int:
        """About how many members it has."""
        return min(len(self._working_set.members.get(part.key, ())) or 1, SLICE_MEMBERS)

    def wanted(self, part: Slice) -> Parts:
        """What must stand there."""
        held = self._working_set
        match part.type:
            case "string":
                kind, _ = held.dirty[part.key]
                return {b"": kind.encode(held.documents[part.key])}
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
                return {one.arguments[1]: one.arguments[3] for one in self.entries(part.key)}
            case "absent":
                return {}

    def entries(self, key: Key) -> list[Operation]:
        """Of a stream, the operations that add its entries."""
        return self._working_set.entries.get(key, [])[-STREAM_ENTRIES_MAX:]
