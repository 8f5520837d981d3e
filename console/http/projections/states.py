"""The states of generations, as operators see them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
from pydantic import BaseModel, Field

from console.acts.subjects import generation_version, projection_version
from projector.generations.table import Generation
from projector.projections import DEFINITIONS
from projector.status import Sampler, absent_status
from projector.wiring import Wiring
from shared.read_model.status import GenerationState, GenerationStatus, Status

NAME_CHARS_MAX = 100

ProjectionName = Annotated[str, Field(min_length=1, max_length=NAME_CHARS_MAX)]


class ShownGeneration(GenerationState):
    """A generation, and what a request to change it needs."""

    reason: Annotated[str, Field(description="Why it was built")]
    switch_when_ready: Annotated[bool, Field(description="Whether it is to become the live one")]
    version: Annotated[str, Field(description="For `If-Match`")]


class ProjectionState(BaseModel):
    """A projection of this release."""

    projection: str
    definition: Annotated[int, Field(description="The version of this release's definition")]
    version: Annotated[str, Field(description="For `If-Match`: of all its generations")]


class ProjectionsState(BaseModel):
    at: datetime
    head: Annotated[int, Field(description="The last position of the log at that time")]
    projections: list[ProjectionState]
    generations: list[ShownGeneration]


class Measured:
    """Samples of every generation, for one thread; rates refer to the sample before."""

    def __init__(self) -> None:
        self._sampler: Sampler | None = None

    def all(self, wiring: Wiring) -> dict[str, Any]:
        """Return the fields of a `ProjectionsState`."""
        # Read before the sample: a version that is older than what it comes with is refused.
        generations = wiring.generations.all()
        now = self._sample(wiring)
        known = {(one.projection, one.number): one for one in generations}
        return {
            "at": now.at,
            "head": now.head,
            "projections": [
                {
                    "projection": one.name,
                    "definition": one.version,
                    "version": projection_version(generations, one.name),
                }
                for one in DEFINITIONS.values()
            ],
            "generations": [
                state_of(known[one.projection, one.generation], one)
                for one in now.generations
                if (one.projection, one.generation) in known
            ],
        }

    def one(self, wiring: Wiring, generation: Generation) -> dict[str, Any]:
        """Return the fields of a `ShownGeneration`, of a purged one too."""
        for status in self._sample(wiring).generations:
            if (status.projection, status.generation) == (
                generation.projection,
                generation.number,
            ):
                return state_of(generation, status)
        return state_of(generation, absent_status(generation))

    def _sample(self, wiring: Wiring) -> Status:
        if self._sampler is None:
            self._sampler = Sampler(wiring)
        return self._sampler.sample()


def state_of(generation: Generation, status: GenerationStatus) -> dict[str, Any]:
    """Return the fields of a `ShownGeneration`."""
    return {
        **msgspec.to_builtins(status),
        "reason": generation.reason,
        "switch_when_ready": generation.switch_when_ready,
        "version": generation_version(generation),
    }
