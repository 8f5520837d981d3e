"""What a projection is: a pure fold, its version, and how it is spread over partitions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from uuid import UUID

from projector.documents import Documents
from projector.kinds import Kind
from shared.events import Event
from shared.ids import Position, Version
from shared.read_model import partition_of


class Folding(NamedTuple):
    """An event as a projection sees it."""

    position: Position
    version: Version
    event: Event


class Projection(NamedTuple):
    """A definition. Any change of what it writes is a new `version` and needs a replay.

    `entities` names, by event type, the field that says which entity the event concerns; types that
    are not in it do not concern the projection. `reads` are the documents that `apply` will read.
    """

    name: str
    version: int
    partitions: int
    entities: Mapping[type[Event], str]
    reads: Callable[[Event], tuple[tuple[Kind[Any], str], ...]]
    apply: Callable[[Documents, Folding], None]

    def partition(self, event: Event) -> int | None:
        """The partition that an event concerns, None if it concerns none."""
        field = self.entities.get(type(event))
        if field is None:
            return None
        entity: UUID = getattr(event, field)
        return partition_of(entity, self.partitions)
