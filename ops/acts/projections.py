"""Find a projection's definition and generations."""

from __future__ import annotations

from ops.errors import OperatorError
from projector.generations.table import Generation, Generations
from projector.projections import DEFINITIONS, Projection
from projector.wiring import Wiring


class NoSuch(OperatorError):
    """There is no projection, generation, entity, key or user of that name."""


def definition_of(projection: str) -> Projection:
    """Return the projection's definition; raise `NoSuch` if there is none."""
    if projection not in DEFINITIONS:
        raise NoSuch(f"there is no projection {projection!r}; there are {', '.join(DEFINITIONS)}")
    return DEFINITIONS[projection]


def generation_of(wiring: Wiring, projection: str, number: int | None) -> Generation:
    """Return the live generation, or the one with this number; raise `NoSuch`."""
    definition_of(projection)
    for one in wiring.generations.all():
        if one.projection == projection and (
            one.state == "active" if number is None else one.number == number
        ):
            return one
    which = "live generation" if number is None else f"generation {number}"
    raise NoSuch(f"there is no {which} of {projection}")


def known_generation(generations: Generations, projection: str, number: int) -> Generation:
    """Return a generation, even a purged one; raise `NoSuch`."""
    definition_of(projection)
    generation = generations.get(projection, number)
    if generation is None:
        raise NoSuch(f"there is no generation {number} of {projection}")
    return generation
