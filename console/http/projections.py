"""Projections and their generations."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field

from console.access import OPERATORS_ONLY
from console.http.answers import unstored
from console.worker_thread import WiredThread
from projector.status import Sampler
from projector.wiring import Wiring
from shared.read_model.status import Status
from shared.web.answer import Answer, AnswerKind, json_answer
from shared.web.operation import Parameters, Request, operation


class GenerationState(BaseModel):
    """The progress of one generation of a read model."""

    projection: str
    generation: int
    state: str
    definition: int
    audit: str
    checkpoint: Annotated[int | None, Field(description="Of the partition furthest behind")]
    lag_events: int | None
    lag_s: float | None
    events_per_s: float | None
    parked: Annotated[int, Field(description="Movies or users whose event could not be applied")]
    stopped: Annotated[str | None, Field(description="Why the projector does not follow it")]


class ProjectionsState(BaseModel):
    at: datetime
    head: Annotated[int, Field(description="The last position of the log at that time")]
    generations: list[GenerationState]


class Projections:
    def __init__(self, reads: WiredThread) -> None:
        self._reads = reads
        self._sampler: Sampler | None = None

    @operation(
        "GET",
        "/v1/operator/projections",
        tag="projections",
        access=OPERATORS_ONLY,
        answers={200: AnswerKind("Every generation", ProjectionsState, ("Cache-Control",))},
    )
    async def list_projections(self, _request: Request[Parameters, None]) -> Answer:
        """List every generation: state, checkpoint, lag, rate, parked entities, stop reason."""
        now = await self._reads.run(self._sample)
        return unstored(json_answer(now))

    def _sample(self, wiring: Wiring) -> Status:
        if self._sampler is None:
            self._sampler = Sampler(wiring)
        return self._sampler.sample()
