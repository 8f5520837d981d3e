"""Shapes and examples of the answers for operators, used only for documentation."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from query_api.http.shapes import Shape
from shared.read_model.status import GenerationState


class Projections(Shape):
    at: datetime
    head: Annotated[int, Field(description="The last position of the log at that time")]
    generations: list[GenerationState]

    EXAMPLE: ClassVar[dict[str, Any]] = {
        "at": "2026-01-31T12:00:00Z",
        "head": 1042,
        "generations": [
            {
                "projection": "movies",
                "generation": 2,
                "state": "active",
                "definition": 2,
                "audit": "passed",
                "checkpoint": 1040,
                "lag_events": 2,
                "lag_s": 0.004,
                "events_per_s": 310.5,
                "parked": 0,
                "stopped": "log-diverged",
                "build": None,
            }
        ],
    }


class Health(Shape):
    status: Literal["alive"]

    EXAMPLE: ClassVar[dict[str, Any]] = {"status": "alive"}


class ActiveGenerations(Shape):
    movies: int
    profiles: int
    changes: int


class Readiness(Shape):
    status: Literal["ready"]
    generations: ActiveGenerations
    index_position: int

    EXAMPLE: ClassVar[dict[str, Any]] = {
        "status": "ready",
        "generations": {"movies": 2, "profiles": 1, "changes": 1},
        "index_position": 1042,
    }
