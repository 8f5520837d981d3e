"""Fold events into one partition, and park the entity of an event that cannot be applied.

A parked entity's documents stay as they were before that event, and readers see them marked as
stale. The fold skips its later events; `starfold parked retry` folds them all once the cause is
fixed. All other entities keep updating. `apply` raises before it changes anything, so nothing has
to be undone. The fold never skips an erasure: it deletes what it cannot change. Nor does it skip an
event that ends access tokens.

If a stored document is at fault instead of the event (damaged or missing), the fold parks the
entity as damaged, and the healer rebuilds it from the log.
"""

from __future__ import annotations

import traceback
from pathlib import Path
from uuid import UUID

import structlog

from projector.documents.working_set import WorkingSet
from projector.projections import LogEvent, Projection
from shared.errors import DocumentUnusable, ProjectionFault, TooManyParked
from shared.log.codec import origin_of
from shared.log.events import UserErased
from shared.read_model.documents import Parked
from shared.read_model.keys import PartitionKeys
from shared.read_model.kinds import PARKED_ENTITIES, PARKED_MARK

# A partition with more parked entities has a problem other than a few bad events.
PARKED_MAX = 100

log = structlog.get_logger()


class PartitionFold:
    """Fold events into `working_set`; skip the `parked` entities."""

    def __init__(
        self,
        definition: Projection,
        keys: PartitionKeys,
        working_set: WorkingSet,
        parked: dict[UUID, Parked],
    ) -> None:
        self.working_set = working_set
        self.parked = parked
        self._definition = definition
        self._keys = keys
        self._apply = definition.apply

    def fold(self, event: LogEvent) -> None:
        """Apply one event that concerns this partition, or park its entity.

        Raises `TooManyParked`; the caller must then discard the working set.
        """
        kind = type(event.event)
        parked = self.parked and self._definition.entity(event.event) in self.parked
        erasure = kind is UserErased
        always = kind in self._definition.always
        if parked and not erasure and not always:
            return
        fault: Exception
        # Unreadable personal data does not matter to a projection that uses none.
        if event.fault is not None and self._definition.personal and not always:
            fault = ProjectionFault(event.fault)
        else:
            try:
                self._apply(self.working_set, event)
            except Exception as error:  # noqa: BLE001  # Parks the entity and reports the error.
                fault = error
            else:
                return
        if erasure:
            self._definition.erase(self.working_set, event.event)
        if not parked:
            self._park(event, fault)

    def _park(self, event: LogEvent, fault: Exception) -> None:
        entity = self._definition.entity(event.event)
        assert entity is not None
        topic = type(event.event).__name__
        parked = Parked(
            entity=entity,
            position=event.position,
            topic=topic,
            error=_described(fault),
            damaged=isinstance(fault, DocumentUnusable) and not self.working_set.complete,
        )
        if not parked.damaged and self._parked_for_good >= PARKED_MAX:
            raise TooManyParked(
                f"{self._keys.prefix} has {PARKED_MAX} parked entities already; the next one is"
                f" {entity} for {topic} at position {event.position}: {parked.error}"
            )
        self.parked[entity] = parked
        mark(self.working_set, parked)
        self._report(parked, event)

    @property
    def _parked_for_good(self) -> int:
        return sum(not one.damaged for one in self.parked.values())

    def _report(self, parked: Parked, event: LogEvent) -> None:
        log.error(
            "entity_damaged" if parked.damaged else "entity_parked",
            projection=self._keys.projection,
            generation=self._keys.generation,
            entity=str(parked.entity),
            position=parked.position,
            topic=parked.topic,
            error=parked.error,
            **origin_of(event.state),
        )


def mark(working_set: WorkingSet, parked: Parked) -> None:
    """Mark an entity as parked: beside its documents for readers, in the index for operators."""
    working_set.put(PARKED_MARK, parked.entity.hex, parked)
    encoded = PARKED_MARK.encode(parked)
    working_set.set_field(PARKED_ENTITIES, "", parked.entity.bytes, encoded)


def _described(fault: Exception) -> str:
    """Describe an error without quoting the event: messages of other code may contain its data."""
    if isinstance(fault, ProjectionFault):
        return str(fault)
    frame = traceback.extract_tb(fault.__traceback__)[-1]
    return f"{type(fault).__name__} at {Path(frame.filename).name}:{frame.lineno}"
