"""The lag of a projection over time."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field

from console.access import OPERATORS_ONLY
from console.http.answers import unstored
from console.lag import SPANS, LagHistory, SpanName
from console.worker_thread import WiredThread
from projector.projections import DEFINITIONS
from shared.errors import NotFound
from shared.web.answer import Answer, AnswerKind, json_answer
from shared.web.operation import Parameters, Request, operation


class LagPointAnswer(BaseModel):
    """The highest lag that was measured in an interval."""

    at: Annotated[datetime, Field(description="The interval's start")]
    lag_events: int
    lag_s: Annotated[float, Field(description="Age of the first event that was not applied")]


class LagAnswer(BaseModel):
    """Oldest first; an interval in which no console measured is missing."""

    projection: str
    span_s: int
    every_s: Annotated[int, Field(description="The length of an interval")]
    points: list[LagPointAnswer]


class LagAsked(Parameters):
    projection: Annotated[str, Field(pattern="^[a-z_]{1,50}$")]
    span: Annotated[SpanName, Field(description="The time until now")] = "15m"


class Lag:
    def __init__(self, reads: WiredThread) -> None:
        self._reads = reads

    @operation(
        "GET",
        "/v1/operator/projections/{projection}/lag",
        tag="projections",
        access=OPERATORS_ONLY,
        parameters=LagAsked,
        answers={200: AnswerKind("The lag over time", LagAnswer, ("Cache-Control",))},
    )
    async def get_lag(self, request: Request[LagAsked, None]) -> Answer:
        """Return how far a projection was behind the log, as consoles measured it over time."""
        projection, name = request.parameters.projection, request.parameters.span
        if projection not in DEFINITIONS:
            raise NotFound(f"there is no projection {projection}")
        points = await self._reads.run(
            lambda wiring: LagHistory(wiring.events.connections).points(projection, name)
        )
        span = SPANS[name]
        found = {
            "projection": projection,
            "span_s": span.length_s,
            "every_s": span.every_s,
            "points": [point._asdict() for point in points],
        }
        return unstored(json_answer(found))
