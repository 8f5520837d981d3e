"""Parked entities: movies and users whose events could not be applied."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from command_api.bodies.fields import Reason
from command_api.bodies.json_body import JsonBody
from console.access import OPERATORS_ONLY
from console.acts.conditions import ActParameters
from console.acts.executor import ActExecutor, LongAct
from console.acts.subjects import parked_subject, parked_version
from console.http.answers import unstored
from console.http.projections.states import NAME_CHARS_MAX
from console.worker_thread import WiredThread
from ops.acts import parked as acts
from ops.acts.log import Record
from ops.acts.parked import ParkedEntity
from projector.wiring import Wiring
from shared.errors import NotFound
from shared.web.answer import Answer, AnswerKind, json_answer
from shared.web.operation import Parameters, Request, operation

BODY_BYTES_MAX = 4 * 1024
# Events that wait are counted up to this number.
WAITING_MAX = 10_000

_PARKED = re.compile(r"([a-z]+)-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")


class ParkedState(BaseModel):
    """An entity that keeps its documents as they were before an event."""

    parked_id: str
    projection: str
    entity: Annotated[UUID, Field(description="The movie or user")]
    generations: Annotated[list[int], Field(description="In which it is parked")]
    state: Annotated[str, Field(description="`parked`, `damaged` or `discarded`")]
    position: Annotated[int, Field(description="Of the event that could not be applied")]
    event: str
    error: str
    since: Annotated[datetime | None, Field(description="The time of that event")]
    waiting_events: Annotated[
        int | None,
        Field(description="From that event on, at most 10,000; null without the event index"),
    ]
    version: Annotated[str, Field(description="For `If-Match`")]


class ParkedList(BaseModel):
    items: list[ParkedState]


class NamedParked(ActParameters):
    parked_id: Annotated[
        str,
        Field(
            min_length=1, max_length=NAME_CHARS_MAX, description="A projection and an entity's id"
        ),
    ]


class DiscardBody(BaseModel):
    """Why it is discarded, for the audit log."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason


class BegunAct(BaseModel):
    act_id: UUID


class DiscardAnswer(BaseModel):
    act_id: UUID


BEGUN = {202: AnswerKind("It has begun", BegunAct, ("Cache-Control", "Location"))}


class ParkedEntities:
    def __init__(self, reads: WiredThread, executor: ActExecutor) -> None:
        self._reads = reads
        self._acts = executor

    @operation(
        "GET",
        "/v1/operator/parked",
        tag="projections",
        access=OPERATORS_ONLY,
        answers={200: AnswerKind("Every parked entity", ParkedList, ("Cache-Control",))},
    )
    async def list_parked(self, _request: Request[Parameters, None]) -> Answer:
        """List the parked entities of every generation that is kept up to date."""
        return unstored(json_answer({"items": await self._reads.run(_all)}))

    @operation(
        "POST",
        "/v1/operator/parked/retry",
        tag="projections",
        access=OPERATORS_ONLY,
        parameters=ActParameters,
        answers=BEGUN,
    )
    async def retry_all_parked(self, request: Request[ActParameters, None]) -> Answer:
        """Fold the events of every entity that is parked, and not discarded, again."""

        def retry(wiring: Wiring, act: LongAct, _prepared: None) -> None:
            act.record.result = acts.retry_all(wiring, on_progress=act.require_running)

        return _begun(
            await self._acts.begin(request, "retry", {"all": True}, lambda _: None, retry)
        )

    @operation(
        "POST",
        "/v1/operator/parked/{parked_id}/retry",
        tag="projections",
        access=OPERATORS_ONLY,
        parameters=NamedParked,
        answers=BEGUN,
    )
    async def retry_parked(self, request: Request[NamedParked, None]) -> Answer:
        """Fold an entity's events again; the act's result has how often it is `still_parked`."""
        name, entity = _named(request.parameters.parked_id)

        def prepare(wiring: Wiring) -> None:
            acts.parked_entity(wiring, name, entity)

        def retry(wiring: Wiring, act: LongAct, _prepared: None) -> None:
            left = acts.retry(wiring, name, entity, on_progress=act.require_running)
            act.record.result = {"still_parked": len(left)}

        asked = {"projection": name, "entity": str(entity)}
        subject = parked_subject(name, entity)
        return _begun(
            await self._acts.begin(request, "retry", asked, prepare, retry, subject=subject)
        )

    @operation(
        "POST",
        "/v1/operator/parked/{parked_id}/discard",
        tag="projections",
        access=OPERATORS_ONLY,
        parameters=NamedParked,
        body=JsonBody(DiscardBody, BODY_BYTES_MAX),
        answers={
            200: AnswerKind("It stays as it was", DiscardAnswer, ("Cache-Control",)),
            409: AnswerKind("Its partition changes too often: try again."),
        },
    )
    async def discard_parked(self, request: Request[NamedParked, DiscardBody]) -> Answer:
        """Accept an entity as it was before the event, marked as stale; a replay tries again."""
        name, entity = _named(request.parameters.parked_id)

        def discard(wiring: Wiring, _record: Record) -> None:
            acts.discard(wiring, name, entity)

        asked = {"projection": name, "entity": str(entity), "reason": request.body.reason}
        done = await self._acts.perform(
            request, "discard", asked, discard, subject=parked_subject(name, entity)
        )
        return unstored(json_answer({"act_id": done.act_id}))


def _all(wiring: Wiring) -> list[dict[str, Any]]:
    found = sorted(acts.all_parked(wiring), key=_order)
    return [
        _state(wiring, projection, entity, list(marks))
        for (projection, entity), marks in groupby(found, key=lambda one: _order(one)[:2])
    ]


def _order(one: ParkedEntity) -> tuple[str, UUID, bool, int]:
    """Sort by entity, the live generation's mark first."""
    generation = one.generation
    return generation.projection, one.parked.entity, generation.state != "active", generation.number


def _state(
    wiring: Wiring, projection: str, entity: UUID, marks: Sequence[ParkedEntity]
) -> dict[str, Any]:
    first = marks[0]
    position = first.parked.position
    return {
        "parked_id": f"{projection}-{entity}",
        "projection": projection,
        "entity": entity,
        "generations": sorted(one.generation.number for one in marks),
        "state": first.state,
        "position": position,
        "event": first.parked.topic,
        "error": first.parked.error,
        "since": wiring.reader.recorded_at(position),
        "waiting_events": wiring.event_index.events_of(entity, position, WAITING_MAX),
        "version": parked_version(marks),
    }


def _begun(act_id: UUID) -> Answer:
    return unstored(json_answer({"act_id": act_id}, 202)).with_field(
        b"location", f"/v1/operator/acts/{act_id}"
    )


def _named(parked: str) -> tuple[str, UUID]:
    """Return the projection and the entity that an id names; raise `NotFound`."""
    found = _PARKED.fullmatch(parked)
    if found is None:
        raise NotFound(f"nothing is parked as {parked}")
    return found[1], UUID(found[2])
