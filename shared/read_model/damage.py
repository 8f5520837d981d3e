"""Reports of damaged values, from the query API to the projector: the Redis set `sf:damaged`.

The query API adds an entity that it cannot serve, and reads nothing from the set; the projector
removes each report and rebuilds the entity from the log. An entry is text,
`<projection>:<generation>:<partition>:<entity's id in hex>`, without an id if the damage is in a
key that the whole partition shares (its checkpoint, or a key of no entity).
"""

from __future__ import annotations

import re
from typing import NamedTuple
from uuid import UUID

DAMAGED_KEY = "sf:damaged"
# Readers add nothing to a larger set: the projector is behind, or all of Redis is damaged.
REPORTED_MAX = 1_000

_ENTRY = re.compile(rb"([a-z]{1,32}):([0-9]{1,18}):([0-9]{1,9}):([0-9a-f]{32})?")


class DamageReport(NamedTuple):
    """A report; `entity` is None for a key that the whole partition shares."""

    projection: str
    generation: int
    partition: int
    entity: UUID | None

    def encoded(self) -> bytes:
        entity = "" if self.entity is None else self.entity.hex
        return f"{self.projection}:{self.generation}:{self.partition}:{entity}".encode()


def decoded_report(entry: bytes) -> DamageReport | None:
    """Return the report in a set's entry, None for an invalid entry."""
    matched = _ENTRY.fullmatch(entry)
    if matched is None:
        return None
    projection, generation, partition, entity = matched.groups()
    return DamageReport(
        projection.decode(),
        int(generation),
        int(partition),
        None if entity is None else UUID(entity.decode()),
    )
