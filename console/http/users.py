"""Users without their personal data: role, sessions, erasure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, Field

from command_api.bodies.fields import EMAIL_CHARS_MAX
from command_api.bodies.json_body import JsonBody
from command_api.bodies.models import RoleBody
from command_api.deciding.credentials import canonical_email
from command_api.identity.accounts import Accounts
from console.access import OPERATORS_ONLY
from console.acts.conditions import ActParameters, Subject, tagged
from console.acts.executor import ActExecutor, refusals
from console.acts.subjects import sessions_subject, sessions_version, user_subject, user_version
from console.command_client import CommandClient
from console.http.answers import unstored
from console.settings import BODY_BYTES_MAX
from console.worker_thread import WiredThread
from ops.acts import users as acts
from ops.acts.log import Record
from projector.wiring import Wiring
from shared.errors import Conflict, NotFound
from shared.ids import UserId
from shared.log.events import Role
from shared.web.answer import Answer, AnswerKind, json_answer
from shared.web.operation import Parameters, Request, operation
from shared.web.parameter_types import CanonicalUuid
from starfold_client import Starfold


class OperatorsUser(BaseModel):
    """A user without personal data, which only the event browser reveals, for a reason."""

    user_id: UUID
    role: Annotated[Role | None, Field(description="Null for an erased user")]
    erased: bool
    created_at: datetime
    erased_at: datetime | None
    version: Annotated[str, Field(description="For `If-Match`")]


class UserSessionState(BaseModel):
    """An open session; `last_used_at` is the time of its last refresh."""

    session_id: UUID
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime


class UserSessionsAnswer(BaseModel):
    """Last used first, at most 100."""

    items: list[UserSessionState]
    version: Annotated[str, Field(description="For `If-Match`; a new session changes it")]


class UserActAnswer(BaseModel):
    act_id: Annotated[UUID, Field(description="The act in the audit log")]


class SearchedUser(Parameters):
    email: Annotated[
        str,
        Field(min_length=3, max_length=EMAIL_CHARS_MAX, description="The whole e-mail address"),
    ]


class SeenUser(Parameters):
    user_id: CanonicalUuid


class UserAct(SeenUser, ActParameters):
    """An act on one user."""


USER = {200: AnswerKind("The user", OperatorsUser, ("Cache-Control", "ETag"))}
DONE = {200: AnswerKind("It is done", UserActAnswer, ("Cache-Control",))}


class Users:
    def __init__(
        self,
        reads: WiredThread,
        executor: ActExecutor,
        commands: CommandClient,
        accounts: Accounts,
    ) -> None:
        self._reads = reads
        self._acts = executor
        self._commands = commands
        self._accounts = accounts

    @operation(
        "GET",
        "/v1/operator/users",
        tag="users",
        access=OPERATORS_ONLY,
        parameters=SearchedUser,
        answers=USER | {404: AnswerKind("No user has the address.")},
    )
    async def find_user(self, request: Request[SearchedUser, None]) -> Answer:
        """Return the user who has exactly this e-mail address."""
        owner = await self._accounts.owner_of(canonical_email(request.parameters.email))
        if owner is None:
            raise NotFound("no user has this address")
        return await self._user(owner)

    @operation(
        "GET",
        "/v1/operator/users/{user_id}",
        tag="users",
        access=OPERATORS_ONLY,
        parameters=SeenUser,
        answers=USER,
    )
    async def get_user(self, request: Request[SeenUser, None]) -> Answer:
        """Return a user's role, and whether they were erased."""
        return await self._user(UserId(request.parameters.user_id))

    @operation(
        "GET",
        "/v1/operator/users/{user_id}/sessions",
        tag="users",
        access=OPERATORS_ONLY,
        parameters=SeenUser,
        answers={
            200: AnswerKind("The sessions", UserSessionsAnswer, ("Cache-Control", "ETag")),
        },
    )
    async def list_user_sessions(self, request: Request[SeenUser, None]) -> Answer:
        """Return a user's open sessions, last used first."""
        user_id = UserId(request.parameters.user_id)

        def read(wiring: Wiring) -> list[acts.UserSession]:
            with refusals(), wiring.events.connections.get_connection() as connection:
                acts.user_state(connection, user_id)
                return acts.open_sessions(connection, user_id)

        sessions = await self._reads.run(read)
        version = sessions_version(sessions)
        items = [one._asdict() for one in sessions]
        return tagged(unstored(json_answer({"items": items, "version": version})), version)

    @operation(
        "PUT",
        "/v1/operator/users/{user_id}/role",
        tag="users",
        access=OPERATORS_ONLY,
        parameters=UserAct,
        body=JsonBody(RoleBody, BODY_BYTES_MAX),
        answers=DONE,
    )
    async def change_user_role(self, request: Request[UserAct, RoleBody]) -> Answer:
        """Give a user another role; a service key needs the scope `roles` too."""
        user_id, role = UserId(request.parameters.user_id), request.body.role
        return await self._perform(
            request,
            acts.CHANGE_ROLE,
            lambda client: acts.change_role(client, user_id, role),
            user_subject(user_id),
            role=role,
        )

    @operation(
        "DELETE",
        "/v1/operator/users/{user_id}/sessions",
        tag="users",
        access=OPERATORS_ONLY,
        parameters=UserAct,
        answers=DONE,
    )
    async def end_user_sessions(self, request: Request[UserAct, None]) -> Answer:
        """End all sessions of a user, with their tokens."""
        user_id = UserId(request.parameters.user_id)
        return await self._perform(
            request,
            acts.END_SESSIONS,
            lambda client: acts.end_sessions(client, user_id),
            sessions_subject(user_id),
        )

    @operation(
        "DELETE",
        "/v1/operator/users/{user_id}",
        tag="users",
        access=OPERATORS_ONLY,
        parameters=UserAct,
        answers=DONE | {409: AnswerKind("The user is the caller.")},
    )
    async def erase_user(self, request: Request[UserAct, None]) -> Answer:
        """Erase a user for good; a service key needs the scope `erasure` too.

        Personal data becomes unreadable, scores stay in the averages.
        """
        user_id = UserId(request.parameters.user_id)
        if user_id == request.caller.principal.actor:
            raise Conflict("operators erase their own account as members do, on the public pages")
        return await self._perform(
            request,
            acts.ERASE,
            lambda client: acts.erase(client, user_id),
            user_subject(user_id),
        )

    async def _user(self, user_id: UserId) -> Answer:
        def read(wiring: Wiring) -> acts.UserState:
            with refusals(), wiring.events.connections.get_connection() as connection:
                return acts.user_state(connection, user_id)

        state = await self._reads.run(read)
        version = user_version(state)
        return tagged(unstored(json_answer({**state._asdict(), "version": version})), version)

    async def _perform(
        self,
        request: Request[UserAct, Any],
        act: str,
        function: Callable[[Starfold], None],
        subject: Subject,
        **parameters: object,
    ) -> Answer:
        def forward(_wiring: Wiring, _record: Record) -> None:
            with self._commands.of(request) as client:
                function(client)

        asked = {"user_id": str(request.parameters.user_id), **parameters}
        done = await self._acts.perform(request, act, asked, forward, subject=subject)
        return unstored(json_answer({"act_id": done.act_id}))
