"""The audit log of operators' acts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field

from command_api.bodies.fields import RatedAt, printable
from console.access import OPERATORS_ONLY
from console.http.answers import json_lines_answer, json_lines_kind, unstored
from console.worker_thread import WiredThread
from ops.acts.log import PAGE_MAX, Act, ActLog, ActSelection, State, Via
from shared.errors import NotFound
from shared.web.answer import Answer, AnswerKind, json_answer
from shared.web.operation import Parameters, Request, operation
from shared.web.parameter_types import CanonicalUuid, Limit

LIMIT_DEFAULT = 50
NAME_CHARS_MAX = 100

Name = Annotated[str, Field(min_length=1, max_length=NAME_CHARS_MAX), AfterValidator(printable)]


class ActAnswer(BaseModel):
    """An act; `interrupted` if its process died before it was closed."""

    act_id: UUID
    at: datetime
    actor: Annotated[str, Field(description="User, service key, or operating system's user")]
    via: Via
    act: str
    parameters: dict[str, Any]
    request_id: UUID | None
    closed_at: datetime | None
    result: dict[str, Any] | None
    state: State


class ActsAnswer(BaseModel):
    """Newest first."""

    items: list[ActAnswer]
    next_cursor: str | None


class SelectedActs(Parameters):
    """Which acts; all conditions together."""

    actor: Annotated[
        Name | None, Field(description="A user's or a key's id, or a system's user")
    ] = None
    act: Annotated[Name | None, Field(description="The name of an act")] = None
    since: Annotated[RatedAt | None, Field(description="The earliest time")] = None
    until: Annotated[RatedAt | None, Field(description="The time before which")] = None

    @property
    def selection(self) -> ActSelection:
        return ActSelection(self.actor, self.act, self.since, self.until)


class ActsPage(SelectedActs):
    cursor: Annotated[
        CanonicalUuid | None, Field(description="`next_cursor` of the previous page")
    ] = None
    limit: Limit = LIMIT_DEFAULT


class NamedAct(Parameters):
    act_id: CanonicalUuid


class Acts:
    def __init__(self, reads: WiredThread, acts: ActLog) -> None:
        self._reads = reads
        self._acts = acts

    @operation(
        "GET",
        "/v1/operator/acts",
        tag="acts",
        access=OPERATORS_ONLY,
        parameters=ActsPage,
        answers={200: AnswerKind("A page of acts", ActsAnswer, ("Cache-Control",))},
    )
    async def list_acts(self, request: Request[ActsPage, None]) -> Answer:
        """List the acts of operators, newest first: by command line, pages and service keys."""
        asked = request.parameters
        page = await self._page(asked.selection, asked.cursor, asked.limit + 1)
        items = page[: asked.limit]
        cursor = items[-1].act_id if len(page) > asked.limit else None
        found = {"items": [one._asdict() for one in items], "next_cursor": cursor}
        return unstored(json_answer(found))

    @operation(
        "GET",
        "/v1/operator/acts/export",
        tag="acts",
        access=OPERATORS_ONLY,
        parameters=SelectedActs,
        answers={200: json_lines_kind("One act a line, newest first", '{"act":"switch"}\n')},
    )
    async def export_acts(self, request: Request[SelectedActs, None]) -> Answer:
        """Return all selected acts as JSON lines, however many, as `starfold acts export` does."""
        selection = request.parameters.selection
        first = await self._page(selection, None, PAGE_MAX)
        return json_lines_answer(self._lines(selection, first), "starfold-acts.jsonl")

    @operation(
        "GET",
        "/v1/operator/acts/{act_id}",
        tag="acts",
        access=OPERATORS_ONLY,
        parameters=NamedAct,
        answers={200: AnswerKind("The act", ActAnswer, ("Cache-Control",))},
    )
    async def get_act(self, request: Request[NamedAct, None]) -> Answer:
        """Return one act; a long one is `running` until it is done or has failed."""
        act_id = request.parameters.act_id
        act: Act | None = await self._reads.run(lambda _: self._acts.get(act_id))
        if act is None:
            raise NotFound(f"there is no act {act_id}")
        return unstored(json_answer(act._asdict()))

    async def _lines(self, selection: ActSelection, page: list[Act]) -> AsyncIterator[bytes]:
        while page:
            yield b"".join(one.json_line for one in page)
            page = await self._page(selection, page[-1].act_id, PAGE_MAX)

    async def _page(self, selection: ActSelection, before: UUID | None, limit: int) -> list[Act]:
        return await self._reads.run(
            lambda _: self._acts.page(selection, before=before, limit=limit)
        )
