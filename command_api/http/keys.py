"""Service keys, as operators create and revoke them."""

from __future__ import annotations

from command_api.bodies.answers import NewKeyAnswer
from command_api.bodies.json_body import JsonBody
from command_api.bodies.models import ACCOUNT_BYTES_MAX, KeyBody
from command_api.commit.pending_command import Outcome
from command_api.deciding.principal import Principal, Service
from command_api.http.commands import DONE, answer
from command_api.identity.access import KEY_MAKERS
from command_api.identity.service_keys import Revoker, ServiceKeys
from shared.errors import Forbidden
from shared.web.answer import Answer, AnswerKind, json_answer
from shared.web.operation import Parameters, Request, operation
from shared.web.parameter_types import CanonicalUuid


class NamedKey(Parameters):
    key_id: CanonicalUuid


class Keys:
    def __init__(self, keys: ServiceKeys) -> None:
        self._keys = keys

    @operation(
        "POST",
        "/v1/keys",
        tag="keys",
        access=KEY_MAKERS,
        body=JsonBody(KeyBody, ACCOUNT_BYTES_MAX),
        answers={
            201: AnswerKind("The key, which is shown once", NewKeyAnswer, ("Cache-Control",)),
            403: AnswerKind("A service gives no scope that it lacks."),
        },
    )
    async def create_key(self, request: Request[Parameters, KeyBody]) -> Answer:
        """Create a service key (operators, and service keys with the scope `operate`).

        A service key gives only scopes that it has itself. The answer alone has the key: there is
        no Idempotency-Key, because nothing of the key may be kept for a repeat.
        """
        name, scopes = request.body.name, request.body.scopes
        principal: Principal = request.caller.principal
        if isinstance(principal, Service) and not principal.scopes.issuperset(scopes):
            raise Forbidden("a service key gives only scopes that it has", pointer="/scopes")
        created = await self._keys.create(name, scopes)
        return json_answer(created._asdict(), 201).with_field(b"cache-control", "no-store")

    @operation(
        "DELETE",
        "/v1/keys/{key_id}",
        tag="keys",
        access=KEY_MAKERS,
        parameters=NamedKey,
        answers=DONE,
    )
    async def revoke_key(self, request: Request[NamedKey, None]) -> Answer:
        """Revoke a service key within a second; its sessions and their tokens end.

        Operators, and service keys with the scope `operate`. 204 for a revoked one too.
        """
        key_id, principal = request.parameters.key_id, request.caller.principal
        revoker = Revoker(principal.actor, request.request_id)
        position = await self._keys.revoke(key_id, revoker)
        return answer(Outcome("changed", key_id, position))
