"""Entities whose events could not be applied: list, retry and discard them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple
from uuid import UUID

from ops.acts.projections import NoSuch, generation_of
from ops.errors import OperatorError
from projector.audit.auditor import Audit
from projector.generations.table import Generation
from projector.projections import DEFINITIONS
from projector.wiring import Wiring
from shared.errors import StarfoldError
from shared.read_model.documents import Parked


class ParkedEntity(NamedTuple):
    """An entity that is parked in a generation."""

    generation: Generation
    parked: Parked

    @property
    def state(self) -> str:
        if self.parked.discarded:
            return "discarded"
        return "damaged" if self.parked.damaged else "parked"


def all_parked(wiring: Wiring) -> list[ParkedEntity]:
    """Return the parked entities of every generation that is kept up to date."""
    return [
        ParkedEntity(generation, one)
        for generation in _followed(wiring)
        for one in _parked(wiring, generation)
    ]


def parked_entity(wiring: Wiring, projection: str, entity: UUID) -> Parked:
    """Return the entity as it is parked in the live generation; raise `NoSuch`."""
    for one in _parked(wiring, generation_of(wiring, projection, None)):
        if one.entity == entity:
            return one
    raise NoSuch(f"{entity} is not parked in {projection}")


def retry(
    wiring: Wiring,
    projection: str,
    entity: UUID,
    *,
    on_progress: Callable[[int], None] = lambda _events: None,
) -> list[Parked]:
    """Fold a parked entity's events again; return how it is still parked, if it is.

    This happens in every generation of the projection, so that a switch back shows the same.
    """
    parked_entity(wiring, projection, entity)
    alone = DEFINITIONS[projection].partitions > 1
    left: list[Parked] = []
    for generation in _followed(wiring):
        own = {one.entity for one in _parked(wiring, generation)}
        if generation.projection == projection and entity in own:
            audit = Audit(wiring.reader, wiring.store, on_progress=on_progress)
            try:
                audit.discard(generation, entity, discarded=False)
                audit.verify(generation, entities=[entity] if alone else None, repair=True)
            except StarfoldError as error:
                raise OperatorError(str(error)) from None
            left += [one for one in _parked(wiring, generation) if one.entity == entity]
    return left


def retry_all(
    wiring: Wiring, *, on_progress: Callable[[int], None] = lambda _events: None
) -> dict[str, int]:
    """Retry every entity that is parked, and not discarded; return how many, and how many stay."""
    wanted = {
        (one.generation.projection, one.parked.entity)
        for one in all_parked(wiring)
        if one.generation.state == "active" and not one.parked.discarded
    }
    left = 0
    for projection, entity in sorted(wanted):
        on_progress(0)
        try:
            left += bool(retry(wiring, projection, entity, on_progress=on_progress))
        except NoSuch:  # The projector has rebuilt it meanwhile.
            continue
    return {"retried": len(wanted), "still_parked": left}


def discard(wiring: Wiring, projection: str, entity: UUID) -> None:
    """Accept an entity as it was before the event, marked as stale; a replay tries again."""
    parked_entity(wiring, projection, entity)
    for generation in _followed(wiring):
        own = {one.entity for one in _parked(wiring, generation)}
        if generation.projection == projection and entity in own:
            Audit(wiring.reader, wiring.store).discard(generation, entity)


def _followed(wiring: Wiring) -> list[Generation]:
    return [
        one
        for one in wiring.generations.all()
        if one.state != "building"
        and one.projection in DEFINITIONS
        and one.definition_version == DEFINITIONS[one.projection].version
    ]


def _parked(wiring: Wiring, generation: Generation) -> list[Parked]:
    return [one for entities in wiring.store.parked(generation.all_keys) for one in entities]
