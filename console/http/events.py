"""The event browser: pages, one event, one stream, an export; personal data is masked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from command_api.bodies.fields import RatedAt, Reason
from command_api.bodies.json_body import JsonBody
from console.access import OPERATORS_ONLY
from console.acts.conditions import ActParameters
from console.acts.executor import ActExecutor
from console.events.browser import EXPORTED_AT_ONCE, EventBrowser, EventPage
from console.events.selection import Selection
from console.http.answers import json_lines_answer, json_lines_kind, unstored
from console.worker_thread import WiredThread
from ops.acts.log import Record
from projector.wiring import Wiring
from shared.ids import POSITION_MAX, Position, StreamId
from shared.log.sealing import KeyWrap
from shared.web.answer import Answer, AnswerKind, json_answer
from shared.web.operation import Parameters, Request, operation
from shared.web.parameter_types import WHOLE, CanonicalUuid, Limit

LIMIT_DEFAULT = 50
REVEAL = "event reveal"
REVEAL_BYTES_MAX = 4 * 1024

_lines = msgspec.json.Encoder().encode_lines


Whole = Annotated[int, Field(ge=1, le=POSITION_MAX - 1), WHOLE]
Cursor = Annotated[Whole | None, Field(description="`next_cursor` of the previous page")]


class EventAnswer(BaseModel):
    """An event; a personal field is `sealed`, or `erased` with its person."""

    position: int
    type: str
    stream_id: UUID
    version: int
    event_id: UUID | None
    recorded_at: datetime | None
    actor: Annotated[UUID | None, Field(description="The user or the service key")]
    correlation_id: Annotated[UUID | None, Field(description="The request")]
    causation_id: Annotated[UUID | None, Field(description="The command")]
    stored_schema_version: int | None
    schema_version: Annotated[int | None, Field(description="Of `fields`: this release's")]
    fields: dict[str, Any] | None
    stored_fields: Annotated[
        dict[str, Any] | None, Field(description="As stored, if that is an older schema version")
    ]
    unreadable: Annotated[str | None, Field(description="Why this release cannot read it")]


class EventsAnswer(BaseModel):
    """Newest first. A page may be short or empty although another one follows."""

    items: list[EventAnswer]
    next_cursor: str | None
    indexed_to: Annotated[
        int | None, Field(description="The end of the event index; null without one")
    ]


class LinksAnswer(BaseModel):
    """Positions; the last two lists are null without the event index."""

    previous_in_stream: int | None
    next_in_stream: int | None
    same_request: list[int] | None
    same_command: list[int] | None


class OneEventAnswer(BaseModel):
    event: EventAnswer
    links: LinksAnswer


class RevealBody(BaseModel):
    """Why the operator has to see personal data."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason


class RevealAnswer(BaseModel):
    """The personal fields, but no password hash; none of an erased person."""

    position: int
    fields: dict[str, str]
    act_id: Annotated[UUID, Field(description="The act in the audit log")]


class Selected(Parameters):
    """Which events; all conditions together."""

    type: Annotated[str | None, Field(max_length=100, pattern="^[A-Za-z0-9]+$")] = None
    stream: CanonicalUuid | None = None
    position_min: Whole | None = None
    position_max: Whole | None = None
    since: Annotated[RatedAt | None, Field(description="The earliest time")] = None
    until: Annotated[RatedAt | None, Field(description="The time before which")] = None
    user: CanonicalUuid | None = None
    movie: CanonicalUuid | None = None
    actor: CanonicalUuid | None = None
    correlation: Annotated[CanonicalUuid | None, Field(description="The id of a request")] = None

    @property
    def selection(self) -> Selection:
        return Selection(
            topic=self.type,
            stream=None if self.stream is None else StreamId(self.stream),
            position_min=None if self.position_min is None else Position(self.position_min),
            position_max=None if self.position_max is None else Position(self.position_max),
            since=self.since,
            until=self.until,
            user_id=self.user,
            movie_id=self.movie,
            actor=self.actor,
            correlation=self.correlation,
        )


class SelectedPage(Selected):
    cursor: Cursor = None
    limit: Limit = LIMIT_DEFAULT


class NamedEvent(Parameters):
    position: Whole


class Revealed(NamedEvent, ActParameters):
    """One event, revealed once for each Idempotency-Key."""


class NamedStream(Parameters):
    stream_id: CanonicalUuid
    cursor: Cursor = None
    limit: Limit = LIMIT_DEFAULT


PAGE = {
    200: AnswerKind("A page of events", EventsAnswer, ("Cache-Control",)),
    409: AnswerKind("The selection needs the event index, and there is none."),
}


class Events:
    def __init__(self, reads: WiredThread, acts: ActExecutor, key_wrap: KeyWrap) -> None:
        self._reads = reads
        self._acts = acts
        self._key_wrap = key_wrap

    @operation(
        "GET",
        "/v1/operator/events",
        tag="events",
        access=OPERATORS_ONLY,
        parameters=SelectedPage,
        answers=PAGE,
    )
    async def list_events(self, request: Request[SelectedPage, None]) -> Answer:
        """List events, newest first: by type, stream and position, and by all else of the index."""
        asked = request.parameters
        return _page(await self._page(asked.selection, asked.cursor, asked.limit))

    @operation(
        "GET",
        "/v1/operator/streams/{stream_id}",
        tag="events",
        access=OPERATORS_ONLY,
        parameters=NamedStream,
        answers={200: PAGE[200]},
    )
    async def list_stream(self, request: Request[NamedStream, None]) -> Answer:
        """List the events of one stream, newest first; none for a stream that does not exist."""
        asked = request.parameters
        selection = Selection(stream=StreamId(asked.stream_id))
        return _page(await self._page(selection, asked.cursor, asked.limit))

    @operation(
        "GET",
        "/v1/operator/events/{position}",
        tag="events",
        access=OPERATORS_ONLY,
        parameters=NamedEvent,
        answers={200: AnswerKind("The event", OneEventAnswer, ("Cache-Control",))},
    )
    async def get_event(self, request: Request[NamedEvent, None]) -> Answer:
        """Return one event and the positions of those in its stream, request and command."""
        position = Position(request.parameters.position)
        event, links = await self._reads.run(lambda wiring: self._of(wiring).event(position))
        return unstored(json_answer({"event": event, "links": links}))

    @operation(
        "POST",
        "/v1/operator/events/{position}/reveal",
        tag="events",
        access=OPERATORS_ONLY,
        parameters=Revealed,
        body=JsonBody(RevealBody, REVEAL_BYTES_MAX),
        answers={
            200: AnswerKind("The personal fields", RevealAnswer, ("Cache-Control",)),
            409: AnswerKind("This release cannot read the event."),
        },
    )
    async def reveal_event(self, request: Request[Revealed, RevealBody]) -> Answer:
        """Return one event's personal fields, but no password hash.

        The audit log has the caller, the event and the reason before anything is read. With an
        Idempotency-Key, a repeat within 24 hours of an act that is done is the same act; every
        other repeat is a further one.
        """
        position = Position(request.parameters.position)
        asked = {"position": position, "reason": request.body.reason}

        def reveal(wiring: Wiring, _record: Record) -> dict[str, str]:
            return self._of(wiring).reveal(position)

        done = await self._acts.perform(request, REVEAL, asked, reveal)
        fields = done.value
        if fields is None:
            fields = await self._reads.run(lambda wiring: self._of(wiring).reveal(position))
        answer = {"position": position, "fields": fields, "act_id": done.act_id}
        return unstored(json_answer(answer))

    @operation(
        "GET",
        "/v1/operator/events/export",
        tag="events",
        access=OPERATORS_ONLY,
        parameters=Selected,
        answers={
            200: json_lines_kind("One event a line, newest first", '{"position":1}\n'),
            409: PAGE[409],
        },
    )
    async def export_events(self, request: Request[Selected, None]) -> Answer:
        """Return all selected events as JSON lines, however many, masked as everywhere."""
        selection = request.parameters.selection
        first = await self._page(selection, None, EXPORTED_AT_ONCE)
        return json_lines_answer(self._lines(selection, first), "starfold-events.jsonl")

    async def _lines(self, selection: Selection, page: EventPage) -> AsyncIterator[bytes]:
        while True:
            yield _lines(page.events)
            if page.next_place is None:
                return
            page = await self._page(selection, page.next_place, EXPORTED_AT_ONCE)

    async def _page(self, selection: Selection, place: int | None, limit: int) -> EventPage:
        return await self._reads.run(
            lambda wiring: self._of(wiring).page(selection, place=place, limit=limit)
        )

    def _of(self, wiring: Wiring) -> EventBrowser:
        return EventBrowser(wiring.events.connections, self._key_wrap)


def _page(page: EventPage) -> Answer:
    cursor = None if page.next_place is None else str(page.next_place)
    return unstored(
        json_answer({"items": page.events, "next_cursor": cursor, "indexed_to": page.indexed_to})
    )
