"""Service keys: the list, a new one, and its end."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, Field

from command_api.bodies.json_body import JsonBody
from command_api.bodies.models import KeyBody
from console.access import OPERATORS_ONLY
from console.acts.conditions import ActParameters
from console.acts.executor import ActExecutor
from console.acts.subjects import key_subject, key_version
from console.command_client import CommandClient
from console.http.answers import unstored
from console.settings import BODY_BYTES_MAX
from console.worker_thread import WiredThread
from ops.acts import keys as acts
from ops.acts.log import Record
from projector.wiring import Wiring
from shared.web.answer import Answer, AnswerKind, json_answer
from shared.web.operation import Parameters, Request, operation
from shared.web.parameter_types import CanonicalUuid

SHOWN_BEFORE = (
    "This key was created by an earlier request with the same Idempotency-Key, whose answer alone"
    " showed it. If it is lost, revoke it and create another one."
)


class KeyState(BaseModel):
    """A service key without its secret, which nobody can show."""

    key_id: UUID
    name: str
    scopes: list[str]
    created_at: datetime
    last_used_at: Annotated[datetime | None, Field(description="To the minute")]
    revoked_at: datetime | None
    version: Annotated[str, Field(description="For `If-Match`")]


class KeysAnswer(BaseModel):
    """Every key, revoked or not, oldest first."""

    items: list[KeyState]


class CreatedKeyAnswer(BaseModel):
    """A new key. `api_key` is null in the answer to a repeat, and `note` says why."""

    act_id: UUID
    key_id: UUID
    api_key: str | None
    note: str | None


class RevokedKeyAnswer(BaseModel):
    act_id: Annotated[UUID, Field(description="The act in the audit log")]


class RevokedKey(ActParameters):
    key_id: CanonicalUuid


class Keys:
    def __init__(self, reads: WiredThread, executor: ActExecutor, commands: CommandClient) -> None:
        self._reads = reads
        self._acts = executor
        self._commands = commands

    @operation(
        "GET",
        "/v1/operator/keys",
        tag="keys",
        access=OPERATORS_ONLY,
        answers={200: AnswerKind("The keys", KeysAnswer, ("Cache-Control",))},
    )
    async def list_keys(self, _request: Request[Parameters, None]) -> Answer:
        """List the service keys with their scopes and last use."""
        return unstored(json_answer({"items": await self._reads.run(_all)}))

    @operation(
        "POST",
        "/v1/operator/keys",
        tag="keys",
        access=OPERATORS_ONLY,
        parameters=ActParameters,
        body=JsonBody(KeyBody, BODY_BYTES_MAX),
        answers={
            201: AnswerKind("The key, which is shown once", CreatedKeyAnswer, ("Cache-Control",)),
            200: AnswerKind("A repeat, without the key", CreatedKeyAnswer, ("Cache-Control",)),
            403: AnswerKind("A service gives no scope that it lacks."),
        },
    )
    async def create_key(self, request: Request[ActParameters, KeyBody]) -> Answer:
        """Create a service key; this answer alone shows it, and nothing keeps it.

        A repeat with the same Idempotency-Key creates no other key and does not show the first one.
        """
        name, scopes = request.body.name, request.body.scopes

        def create(_wiring: Wiring, record: Record) -> str:
            with self._commands.of(request) as client:
                created = client.create_key(name, scopes)
            record.result = {"key_id": str(created.key_id)}
            return created.api_key

        done = await self._acts.perform(request, acts.CREATE, acts.creation(name, scopes), create)
        found: dict[str, Any] = {"act_id": done.act_id, **done.result, "api_key": done.value}
        found["note"] = SHOWN_BEFORE if done.value is None else None
        return unstored(json_answer(found, 200 if done.value is None else 201))

    @operation(
        "DELETE",
        "/v1/operator/keys/{key_id}",
        tag="keys",
        access=OPERATORS_ONLY,
        parameters=RevokedKey,
        answers={200: AnswerKind("It is revoked", RevokedKeyAnswer, ("Cache-Control",))},
    )
    async def revoke_key(self, request: Request[RevokedKey, None]) -> Answer:
        """Revoke a service key within a second; its sessions and their tokens end."""
        key_id = request.parameters.key_id

        def revoke(_wiring: Wiring, _record: Record) -> None:
            with self._commands.of(request) as client:
                client.revoke_key(key_id)

        asked = {"key_id": str(key_id)}
        done = await self._acts.perform(
            request, acts.REVOKE, asked, revoke, subject=key_subject(key_id)
        )
        return unstored(json_answer({"act_id": done.act_id}))


def _all(wiring: Wiring) -> list[dict[str, Any]]:
    with wiring.events.connections.get_connection() as connection:
        found = acts.all_keys(connection)
    return [{**one._asdict(), "version": key_version(one)} for one in found]
