"""Turn commands into answers, in the same way for every operation of the command API."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, Field

from command_api.bodies.idempotency_key import key_text
from command_api.commit.dispatcher import Dispatcher
from command_api.commit.idempotency import request_key
from command_api.commit.pending_command import Outcome
from command_api.deciding.principal import Principal
from command_api.deciding.use_cases import Command
from shared.process.clock import utc_now
from shared.versions import Condition, condition_of
from shared.web.answer import Answer, AnswerKind, empty_answer, json_answer
from shared.web.operation import Header, Parameters, Request
from shared.web.problems import POSITION_HEADER

Answers = dict[int, AnswerKind]

_POSITION = POSITION_HEADER.lower().encode()


class Conditional(Parameters):
    """Parameters of an operation that is executed only on the version that the caller has seen."""

    if_match: Annotated[
        str | None,
        Header("If-Match"),
        Field(
            description="The `ETag` of a read or of a command, a list of them, or `*`: the "
            "resource must still have that version. Only the part before the hyphen counts.",
            json_schema_extra={
                "pattern": r'^(\*|(W/)?"[!#-~]*"( *, *(W/)?"[!#-~]*")*)$',
            },
            examples=['"3"'],
        ),
    ] = None

    @property
    def condition(self) -> Condition | None:
        """The parsed condition; raises `MalformedHeader`."""
        return None if self.if_match is None else condition_of(self.if_match)


class Commands:
    """Sends the commands of requests to the dispatcher."""

    def __init__(self, dispatcher: Dispatcher, secret: bytes) -> None:
        self._dispatcher = dispatcher
        self._secret = secret

    def now(self) -> datetime:
        return utc_now()

    async def send(
        self, command: Command, request: Request[Any, Any], principal: Principal | None = None
    ) -> Outcome:
        """Commit an interactive command, by default in the name of the request's caller."""
        return await self._dispatcher.dispatch(
            command, principal or request.caller.principal, request_id=request.request_id
        )

    async def send_once(
        self,
        command: Command,
        request: Request[Any, Any],
        *,
        owner: UUID | None = None,
        content: bytes | None = None,
    ) -> Outcome:
        """Commit an interactive command, once for each Idempotency-Key of its caller.

        `owner` owns the key of an anonymous caller; `content` is the part that a repeat must match,
        by default the whole body.
        """
        principal: Principal = request.caller.principal
        given, owner = request.parameters.idempotency_key, owner or principal.actor
        key = None
        if given is not None and owner is not None:
            method, if_match = request.operation.method, request.field(b"if-match") or ""
            if content is None:
                content = b"" if request.operation.body is None else request.content
            named = (method, request.path, if_match)
            key = request_key(key_text(given), named, content, owner, self._secret)
        return await self._dispatcher.dispatch(
            command, principal, request_id=request.request_id, key=key
        )


def answer(outcome: Outcome, value: object = None, status: int = HTTPStatus.OK) -> Answer:
    """Answer a command with its position; 204 without a value."""
    return stated(empty_answer() if value is None else json_answer(value, status), outcome)


def stated(made: Answer, outcome: Outcome) -> Answer:
    """Return the answer with the command's position, and the tag of the changed resource."""
    made.fields.append((_POSITION, b"%d" % outcome.position))
    version = None if outcome.version is None else outcome.version()
    if version is not None:
        made.fields.append((b"etag", b'"%s"' % version.encode()))
    return made


def creation(outcome: Outcome, value: object, path: str) -> Answer:
    """Answer a creation: 201 with the query API's path of the resource, 200 for a repeat."""
    if outcome.status == "unchanged":
        return answer(outcome, value)
    made = answer(outcome, value, HTTPStatus.CREATED)
    made.fields.append((b"location", path.encode()))
    return made


def answered(
    description: str, model: type[BaseModel] | None = None, headers: tuple[str, ...] = ()
) -> AnswerKind:
    """Document an answer that has a position."""
    return AnswerKind(description, model, (POSITION_HEADER, *headers))


DONE: Answers = {204: answered("Done")}
CHANGED: Answers = {204: answered("Done", headers=("ETag",))}
STALE: Answers = {412: AnswerKind("`If-Match` does not name the current version.")}
