"""Verifications: read models compared with a fresh fold of the log, and repaired."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from command_api.bodies.json_body import JsonBody
from console.access import OPERATORS_ONLY
from console.acts.conditions import ActParameters
from console.acts.executor import ActExecutor, LongAct, refusals
from console.http.answers import unstored
from console.http.projections.states import ProjectionName
from console.worker_thread import WiredThread
from ops.acts.comparison import compared, comparison_of
from ops.acts.log import Act, ActSelection, State, Via
from projector.generations.table import Generation
from projector.wiring import Wiring
from shared.errors import NotFound
from shared.web.answer import Answer, AnswerKind, json_answer
from shared.web.operation import Parameters, Request, operation
from shared.web.parameter_types import CanonicalUuid, Limit

VERIFY = "verify"
LIMIT_DEFAULT = 20
NUMBER_MAX = 2**31 - 1
BODY_BYTES_MAX = 4 * 1024


class VerificationBody(BaseModel):
    """What to compare, by default the live generation of every projection."""

    model_config = ConfigDict(extra="forbid")

    projection: ProjectionName | None = None
    generation: Annotated[
        int | None, Field(ge=1, le=NUMBER_MAX, description="By default the live one")
    ] = None
    movie: Annotated[CanonicalUuid | None, Field(description="Only this movie")] = None
    user: Annotated[CanonicalUuid | None, Field(description="Only this user")] = None
    repair: Annotated[bool, Field(description="Whether to repair each difference")] = False


class ComparedGeneration(BaseModel):
    projection: str
    generation: int
    position: Annotated[int, Field(description="The lowest at which a partition was compared")]
    keys: int
    differences: int
    parked: int


class FoundDifference(BaseModel):
    """A document, or a part of one, that is not what the log says; personal values are hidden."""

    projection: str
    entity: Annotated[UUID | None, Field(description="The movie or user")]
    key: str
    part: Annotated[str, Field(description="The fields or the member that differ")]
    stored: str
    from_log: str


class VerificationState(BaseModel):
    """A verification, which is an act of the audit log; its counts are null until it is done."""

    verification_id: UUID
    at: datetime
    closed_at: datetime | None
    actor: str
    via: Via
    state: State
    projections: list[str]
    generation: int | None
    entity: UUID | None
    repair: bool
    error: str | None
    differences: int | None
    generations: list[ComparedGeneration]
    shown: Annotated[list[FoundDifference], Field(description="The first hundred")]


class VerificationsState(BaseModel):
    """Newest first."""

    items: list[VerificationState]
    next_cursor: str | None


class VerificationsPage(Parameters):
    cursor: Annotated[
        CanonicalUuid | None, Field(description="`next_cursor` of the previous page")
    ] = None
    limit: Limit = LIMIT_DEFAULT


class NamedVerification(Parameters):
    verification_id: CanonicalUuid


class Verifications:
    def __init__(self, reads: WiredThread, acts: ActExecutor) -> None:
        self._reads = reads
        self._acts = acts

    @operation(
        "POST",
        "/v1/operator/verifications",
        tag="projections",
        access=OPERATORS_ONLY,
        parameters=ActParameters,
        body=JsonBody(VerificationBody, BODY_BYTES_MAX),
        answers={
            202: AnswerKind(
                "The verification has begun", VerificationState, ("Cache-Control", "Location")
            ),
            404: AnswerKind("What is named does not exist."),
            409: AnswerKind("What is named cannot be compared."),
        },
    )
    async def start_verification(self, request: Request[ActParameters, VerificationBody]) -> Answer:
        """Compare read models with a fresh fold of the log; with `repair`, mend them."""
        body = request.body
        with refusals():
            asked = comparison_of(
                body.projection,
                movie=body.movie,
                user=body.user,
                number=body.generation,
                repair=body.repair,
            )

        def compare(wiring: Wiring, act: LongAct, generations: list[Generation]) -> None:
            act.record.result = compared(
                wiring, asked, generations, on_progress=act.require_running
            )

        act_id = await self._acts.begin(
            request, VERIFY, asked.parameters, asked.generations, compare
        )
        found = _shown(await self._get(act_id))
        return unstored(json_answer(found, 202)).with_field(
            b"location", f"/v1/operator/verifications/{act_id}"
        )

    @operation(
        "GET",
        "/v1/operator/verifications",
        tag="projections",
        access=OPERATORS_ONLY,
        parameters=VerificationsPage,
        answers={200: AnswerKind("A page", VerificationsState, ("Cache-Control",))},
    )
    async def list_verifications(self, request: Request[VerificationsPage, None]) -> Answer:
        """List verifications by the command line, pages and service keys, newest first."""
        cursor, limit = request.parameters.cursor, request.parameters.limit
        log, selection = self._acts.log, ActSelection(act=VERIFY)
        page = await self._reads.run(lambda _: log.page(selection, before=cursor, limit=limit + 1))
        items = page[:limit]
        following = str(items[-1].act_id) if len(page) > limit else None
        shown = [_shown(one) for one in items]
        return unstored(json_answer({"items": shown, "next_cursor": following}))

    @operation(
        "GET",
        "/v1/operator/verifications/{verification_id}",
        tag="projections",
        access=OPERATORS_ONLY,
        parameters=NamedVerification,
        answers={200: AnswerKind("The verification", VerificationState, ("Cache-Control",))},
    )
    async def get_verification(self, request: Request[NamedVerification, None]) -> Answer:
        """Return a verification; it is `running` until it is done or has failed."""
        return unstored(json_answer(_shown(await self._get(request.parameters.verification_id))))

    async def _get(self, act_id: UUID) -> Act:
        act: Act | None = await self._reads.run(lambda _: self._acts.log.get(act_id))
        if act is None or act.act != VERIFY:
            raise NotFound(f"there is no verification {act_id}")
        return act


def _shown(act: Act) -> dict[str, Any]:
    result = act.result or {}
    return {
        "verification_id": act.act_id,
        "at": act.at,
        "closed_at": act.closed_at,
        "actor": act.actor,
        "via": act.via,
        "state": act.state,
        "projections": act.parameters["projections"],
        "generation": act.parameters["generation"],
        "entity": act.parameters["entity"],
        "repair": act.parameters["repair"],
        "error": result.get("error"),
        "differences": result.get("differences"),
        "generations": result.get("generations", []),
        "shown": result.get("shown", []),
    }
