"""Generations of read models: their states, the switch between them, and their deletion."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from command_api.bodies.json_body import JsonBody
from console.access import OPERATORS_ONLY
from console.acts.conditions import ActParameters
from console.acts.executor import ActExecutor
from console.acts.subjects import generation_subject, projection_subject
from console.http.answers import unstored
from console.http.projections.replays import replay_path
from console.http.projections.states import Measured, ProjectionName, ProjectionsState
from console.worker_thread import WiredThread
from ops.acts.log import Record
from ops.acts.replays import Replays as ReplayActs
from ops.jobs import JobQueue
from projector.wiring import Wiring
from shared.web.answer import Answer, AnswerKind, json_answer
from shared.web.operation import Parameters, Request, operation
from shared.web.parameter_types import WHOLE

NUMBER_MAX = 2**31 - 1
BODY_BYTES_MAX = 4 * 1024

Number = Annotated[int, Field(ge=1, le=NUMBER_MAX)]


class NamedProjection(ActParameters):
    projection: ProjectionName


class NamedGeneration(ActParameters):
    projection: ProjectionName
    number: Annotated[Number, WHOLE]


class SwitchBody(BaseModel):
    """The generation that is to become the live one, a newer one or the one before."""

    model_config = ConfigDict(extra="forbid")

    generation: Number
    audit: Annotated[
        bool, Field(description="Whether one that was never live has to pass an audit first")
    ] = True


class SwitchAnswer(BaseModel):
    """`active`, or another state until a projector switches."""

    act_id: UUID
    projection: str
    generation: int
    state: str


class PurgeAnswer(BaseModel):
    act_id: UUID
    keys: Annotated[int, Field(description="Deleted keys")]


class Generations:
    def __init__(
        self, reads: WiredThread, acts: ActExecutor, jobs: JobQueue, measured: Measured
    ) -> None:
        self._reads = reads
        self._acts = acts
        self._jobs = jobs
        self._measured = measured

    @operation(
        "GET",
        "/v1/operator/projections",
        tag="projections",
        access=OPERATORS_ONLY,
        answers={200: AnswerKind("Every generation", ProjectionsState, ("Cache-Control",))},
    )
    async def list_projections(self, _request: Request[Parameters, None]) -> Answer:
        """List every generation: state, checkpoint, lag, rate, build, parked, stop reason."""
        return unstored(json_answer(await self._reads.run(self._measured.all)))

    @operation(
        "POST",
        "/v1/operator/projections/{projection}/switch",
        tag="projections",
        access=OPERATORS_ONLY,
        parameters=NamedProjection,
        body=JsonBody(SwitchBody, BODY_BYTES_MAX),
        answers={
            200: AnswerKind("The generation is live", SwitchAnswer, ("Cache-Control",)),
            202: AnswerKind(
                "A projector switches once it can", SwitchAnswer, ("Cache-Control", "Location")
            ),
            409: AnswerKind("It can never become live, or no worker runs."),
        },
    )
    async def switch_projection(self, request: Request[NamedProjection, SwitchBody]) -> Answer:
        """Make a generation the live one, forward or back, now or once it is ready."""
        name, number = request.parameters.projection, request.body.generation
        audit = request.body.audit

        def switch(wiring: Wiring, record: Record) -> None:
            acts = ReplayActs(wiring, self._jobs)
            acts.order_switch(name, number, audit=audit)
            record.result = {"state": acts.get(name, number).state}

        asked = {"projection": name, "generation": number, "audit": audit}
        done = await self._acts.perform(
            request, "switch", asked, switch, subject=projection_subject(name)
        )
        state: str = done.result["state"]
        found = {"act_id": done.act_id, "projection": name, "generation": number, "state": state}
        if state == "active":
            return unstored(json_answer(found))
        return unstored(json_answer(found, 202)).with_field(b"location", replay_path(name, number))

    @operation(
        "DELETE",
        "/v1/operator/projections/{projection}/generations/{number}",
        tag="projections",
        access=OPERATORS_ONLY,
        parameters=NamedGeneration,
        answers={
            200: AnswerKind("It is deleted", PurgeAnswer, ("Cache-Control",)),
            409: AnswerKind("It is live, or deleted already."),
        },
    )
    async def purge_generation(self, request: Request[NamedGeneration, None]) -> Answer:
        """Delete a generation that is not live; a build of it gives up."""
        name, number = request.parameters.projection, request.parameters.number

        def purge(wiring: Wiring, record: Record) -> None:
            record.result = {"keys": ReplayActs(wiring, self._jobs).purge(name, number)}

        asked = {"projection": name, "generation": number}
        done = await self._acts.perform(
            request, "purge", asked, purge, subject=generation_subject(name, number)
        )
        return unstored(json_answer({"act_id": done.act_id, "keys": done.result["keys"]}))
