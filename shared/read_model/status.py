"""The progress of each projection, as operators see it in a terminal, over HTTP and in Prometheus.

The projector writes it to Redis about once a second, as the key `sf:status`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from shared.ids import Position

STATUS_KEY = "sf:status"


class BuildStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The progress of a build: the events that its shares have read, and have to read, together.

    The rate and the time left are None at the first sample, and the time without any progress.
    """

    events: int
    events_wanted: int
    events_per_s: float | None
    left_s: float | None


class GenerationStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The status of one generation that is built or kept up to date.

    `checkpoint` is the position of the partition furthest behind. `lag_events` counts the positions
    from there to the head of the log, `lag_s` is the age of the first event that is not applied
    yet; `events_per_s` is the speed of the checkpoint since the last sample, None at the first.
    `parked` counts entities; `stopped` is the reason why the generation is not followed; `build` is
    the progress of one that is being built.
    """

    projection: str
    generation: int
    state: str
    definition: int
    audit: str
    checkpoint: Position | None
    lag_events: int | None
    lag_s: float | None
    events_per_s: float | None
    parked: int
    stopped: str | None
    build: BuildStatus | None = None


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The status of all generations; `head` is the last position of the log at the time `at`."""

    at: datetime
    head: Position
    generations: list[GenerationStatus]


class BuildState(BaseModel):
    """The progress of a build, of all its shares together."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra=lambda schema: schema.pop("additionalProperties")
    )

    events: Annotated[int, Field(description="Read so far")]
    events_wanted: Annotated[int, Field(description="To be read in all")]
    events_per_s: Annotated[float | None, Field(description="Null at the first sample")]
    left_s: Annotated[float | None, Field(description="Null while nothing moves")]


class GenerationState(BaseModel):
    """The progress of one generation of a read model."""

    model_config = BuildState.model_config

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
    build: Annotated[BuildState | None, Field(description="Null unless it is being built")] = None
