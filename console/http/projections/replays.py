"""Replays: order one, see how far it is, cancel it."""

from __future__ import annotations

import re
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from command_api.bodies.json_body import JsonBody
from console.access import OPERATORS_ONLY
from console.acts.conditions import ActParameters, tagged
from console.acts.executor import ActExecutor
from console.acts.subjects import generation_subject, projection_subject
from console.http.answers import unstored
from console.http.projections.states import (
    NAME_CHARS_MAX,
    Measured,
    ProjectionName,
    ShownGeneration,
)
from console.worker_thread import WiredThread
from ops.acts.log import Record
from ops.acts.replay_waits import wait_reason
from ops.acts.replays import WORKERS_MAX
from ops.acts.replays import Replays as ReplayActs
from ops.errors import OperatorError
from ops.jobs import JobQueue
from projector.wiring import Wiring
from shared.errors import NotFound
from shared.web.answer import Answer, AnswerKind, json_answer
from shared.web.operation import Parameters, Request, operation

BODY_BYTES_MAX = 4 * 1024

_REPLAY = re.compile(r"([a-z]+)-([1-9][0-9]{0,8})")

ReplayId = Annotated[
    str,
    Field(
        min_length=1,
        max_length=NAME_CHARS_MAX,
        description="A projection and its generation, such as `movies-2`",
    ),
]


class ReplayedProjection(ActParameters):
    projection: ProjectionName


class NamedReplay(Parameters):
    replay_id: ReplayId


class CancelledReplay(ActParameters):
    replay_id: ReplayId


class ReplayBody(BaseModel):
    """How to replay, by default as `starfold replay` does."""

    model_config = ConfigDict(extra="forbid")

    workers: Annotated[int, Field(ge=1, le=WORKERS_MAX, description="Number of parallel jobs")] = 1
    throttle: Annotated[
        float | None, Field(ge=1, description="Maximum events to read a second, by all jobs")
    ] = None
    audit: Annotated[bool, Field(description="Whether it has to pass an audit")] = True
    switch: Annotated[bool, Field(description="Whether to make it live once it is ready")] = True


class OrderedReplay(BaseModel):
    act_id: UUID
    replay_id: str
    projection: str
    generation: int


class ReplayState(BaseModel):
    """A generation, what it waits for, and why it can never become live, if that is so."""

    replay_id: str
    state: ShownGeneration
    waits_for: Annotated[str | None, Field(description="Null for one that is live or was")]
    failure: str | None


class CancelAnswer(BaseModel):
    act_id: UUID
    state: str


class Replays:
    def __init__(
        self, reads: WiredThread, acts: ActExecutor, jobs: JobQueue, measured: Measured
    ) -> None:
        self._reads = reads
        self._acts = acts
        self._jobs = jobs
        self._measured = measured

    @operation(
        "POST",
        "/v1/operator/projections/{projection}/replays",
        tag="projections",
        access=OPERATORS_ONLY,
        parameters=ReplayedProjection,
        body=JsonBody(ReplayBody, BODY_BYTES_MAX),
        answers={
            202: AnswerKind("The replay is ordered", OrderedReplay, ("Cache-Control", "Location")),
            409: AnswerKind("A replay exists already, or no worker runs."),
        },
    )
    async def start_replay(self, request: Request[ReplayedProjection, ReplayBody]) -> Answer:
        """Rebuild a projection's read model from the log beside the live one."""
        name, how = request.parameters.projection, request.body

        def start(wiring: Wiring, record: Record) -> None:
            generation = ReplayActs(wiring, self._jobs).start(
                name,
                shares=how.workers,
                switch=how.switch,
                audit=how.audit,
                events_per_s=how.throttle,
            )
            record.result = {"generation": generation.number}

        asked = {"projection": name, **how.model_dump()}
        done = await self._acts.perform(
            request, "replay", asked, start, subject=projection_subject(name)
        )
        number: int = done.result["generation"]
        found = {
            "act_id": done.act_id,
            "replay_id": replay_id(name, number),
            "projection": name,
            "generation": number,
        }
        return unstored(json_answer(found, 202)).with_field(b"location", replay_path(name, number))

    @operation(
        "GET",
        "/v1/operator/replays/{replay_id}",
        tag="projections",
        access=OPERATORS_ONLY,
        parameters=NamedReplay,
        answers={200: AnswerKind("The replay", ReplayState, ("Cache-Control", "ETag"))},
    )
    async def get_replay(self, request: Request[NamedReplay, None]) -> Answer:
        """Return how far a generation is, what it waits for, and why it failed."""
        name, number = _named(request.parameters.replay_id)
        found = await self._reads.run(lambda wiring: self._state(wiring, name, number))
        return tagged(unstored(json_answer(found)), found["state"]["version"])

    @operation(
        "DELETE",
        "/v1/operator/replays/{replay_id}",
        tag="projections",
        access=OPERATORS_ONLY,
        parameters=CancelledReplay,
        answers={
            200: AnswerKind("What it built is deleted", CancelAnswer, ("Cache-Control",)),
            409: AnswerKind("It is live, or was."),
        },
    )
    async def cancel_replay(self, request: Request[CancelledReplay, None]) -> Answer:
        """Delete what a replay has built, unless it is live already; its jobs give up."""
        name, number = _named(request.parameters.replay_id)

        def cancel(wiring: Wiring, record: Record) -> None:
            acts = ReplayActs(wiring, self._jobs)
            state = acts.cancel(acts.get(name, number)).state
            if state != "purged":
                raise OperatorError(f"generation {number} of {name} is {state} already")
            record.result = {"state": state}

        asked = {"projection": name, "generation": number}
        done = await self._acts.perform(
            request, "cancel", asked, cancel, subject=generation_subject(name, number)
        )
        return unstored(json_answer({"act_id": done.act_id, **done.result}))

    def _state(self, wiring: Wiring, name: str, number: int) -> dict[str, Any]:
        generation = wiring.generations.get(name, number)
        if generation is None:
            raise NotFound(f"there is no replay {replay_id(name, number)}")
        waits_for, failure = None, None
        if generation.state in ("building", "following"):
            waits_for, _ = wait_reason(wiring, generation)
            try:
                ReplayActs(wiring, self._jobs).require_future(generation)
            except OperatorError as error:
                failure = str(error)
        return {
            "replay_id": replay_id(name, number),
            "state": self._measured.one(wiring, generation),
            "waits_for": waits_for,
            "failure": failure,
        }


def replay_id(projection: str, number: int) -> str:
    return f"{projection}-{number}"


def replay_path(projection: str, number: int) -> str:
    return f"/v1/operator/replays/{replay_id(projection, number)}"


def _named(replay: str) -> tuple[str, int]:
    """Return the projection and the generation that an id names; raise `NotFound`."""
    found = _REPLAY.fullmatch(replay)
    if found is None:
        raise NotFound(f"there is no replay {replay}")
    return found[1], int(found[2])
