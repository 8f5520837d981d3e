"""Keys and channels of the read models in Redis, and the partition of an entity."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple
from uuid import UUID

PARTITIONS = 16
GENERATIONS_KEY = "sf:generations"
LOG_KEY = "sf:log"
SCRUBBED_KEY = "sf:scrubbed"
APPLIED_CHANNEL = "sf:applied"
GENERATIONS_CHANNEL = "sf:generations"

MOVIES = "movies"
PROFILES = "profiles"
CHANGES = "changes"

# Keys of a partition that are no documents: its checkpoint, and the marker of its builder while it
# is rebuilt in place.
CHECKPOINT = "checkpoint"
REBUILDING = "rebuilding"


class PartitionKeys(NamedTuple):
    """Builds the keys of one partition of one generation of a projection."""

    projection: str
    generation: int
    partition: int

    @property
    def prefix(self) -> str:
        return _prefix(self.projection, self.generation, self.partition)

    @property
    def checkpoint(self) -> str:
        return self.prefix + CHECKPOINT

    def document(self, kind: str, suffix: str = "") -> str:
        return self.prefix + document_name(kind, suffix)


@lru_cache(maxsize=4_096)
def _prefix(projection: str, generation: int, partition: int) -> str:
    return f"sf:{{{projection}:{generation}:{partition}}}:"


def document_name(kind: str, suffix: str = "") -> str:
    """Return the part of a document's key after the prefix."""
    return f"{kind}:{suffix}" if suffix else kind


def partition_of(entity: UUID, partitions: int = PARTITIONS) -> int:
    """Return the partition of an entity; the last bits of every kind of id in use are random."""
    return entity.int % partitions
