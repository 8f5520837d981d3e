"""Comparing read models with the log: what to compare, the comparison, and its result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from ops.acts.projections import definition_of, generation_of
from ops.errors import OperatorError
from projector.audit.auditor import Audit, Report
from projector.audit.differences import Difference
from projector.building.builder import Builder
from projector.building.upkeep import Upkeep
from projector.generations.table import Generation
from projector.projections import DEFINITIONS
from projector.wiring import Wiring
from shared.errors import StarfoldError
from shared.read_model.keys import MOVIES, PROFILES

SHOWN_MAX = 100


class Comparison(NamedTuple):
    """What is compared: whole projections, or one entity of one.

    `number` is the generation; None stands for the live one.
    """

    projections: Sequence[str]
    number: int | None = None
    entity: UUID | None = None
    repair: bool = False

    @property
    def parameters(self) -> dict[str, Any]:
        """The act's parameters in the audit log."""
        return {
            "projections": list(self.projections),
            "generation": self.number,
            "repair": self.repair,
            "entity": None if self.entity is None else str(self.entity),
        }

    def generations(self, wiring: Wiring) -> list[Generation]:
        """Return the generations to compare; raise `NoSuch`."""
        return [generation_of(wiring, name, self.number) for name in self.projections]


def comparison_of(
    projection: str | None,
    *,
    movie: UUID | None = None,
    user: UUID | None = None,
    number: int | None = None,
    repair: bool = False,
) -> Comparison:
    """Return what is to be compared, by default everything; raise `OperatorError` for nonsense."""
    if movie is not None and user is not None:
        raise OperatorError("give a movie or a user, not both")
    if projection is not None:
        definition_of(projection)
    projections = [projection] if projection else list(DEFINITIONS)
    for named, entity, own in (("movie", movie, MOVIES), ("user", user, PROFILES)):
        if entity is not None:
            if projection not in (None, own):
                raise OperatorError(f"{projection} cannot be compared for one {named}, {own} can")
            projections = [own]
    if number is not None and len(projections) > 1:
        raise OperatorError("a generation belongs to a projection: name the projection too")
    return Comparison(projections, number, movie or user, repair)


def verified(
    wiring: Wiring,
    generation: Generation,
    entity: UUID | None = None,
    *,
    repair: bool,
    on_progress: Callable[[int], None] = lambda _events: None,
) -> Report:
    """Compare a generation with a fresh fold of the log, or one entity of it; with `repair`, mend.

    Raises `OperatorError` if they cannot be compared.
    """
    audit = Audit(wiring.reader, wiring.store, on_progress=on_progress)
    entities = None if entity is None else [entity]
    if repair:
        builder = Builder(wiring.reader, wiring.store, wiring.generations)
        Upkeep(wiring, builder).rebuild_lost_partitions([generation])
    try:
        return audit.verify(generation, entities=entities, repair=repair)
    except StarfoldError as error:
        raise OperatorError(str(error)) from None


def compared(
    wiring: Wiring,
    asked: Comparison,
    generations: Sequence[Generation],
    *,
    on_progress: Callable[[int], None] = lambda _events: None,
) -> dict[str, Any]:
    """Compare the generations one by one; return what the audit log keeps of it."""
    reports = [
        verified(wiring, one, asked.entity, repair=asked.repair, on_progress=on_progress)
        for one in generations
    ]
    return result_of(reports)


def result_of(reports: Sequence[Report]) -> dict[str, Any]:
    """Return what the audit log keeps of a comparison; personal values are hidden in it."""
    found = [(report.generation, one) for report in reports for one in report.differences]
    return {
        "differences": len(found),
        "generations": [
            {
                "projection": report.generation.projection,
                "generation": report.generation.number,
                "position": report.position,
                "keys": report.keys,
                "differences": len(report.differences),
                "parked": len(report.parked),
            }
            for report in reports
        ],
        "shown": [
            {
                "projection": generation.projection,
                "entity": None if one.entity is None else str(one.entity),
                "key": key_text(one),
                "part": one.part,
                "stored": one.stored,
                "from_log": one.wanted,
            }
            for generation, one in found[:SHOWN_MAX]
        ],
    }


def key_text(one: Difference) -> str:
    """Return the stored key of a difference."""
    kind, suffix = one.key
    return f"{kind}:{suffix}" if suffix else kind
