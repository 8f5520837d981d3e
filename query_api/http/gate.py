"""Gate of the query API: check who may read what, and how often."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Literal

from starlette.types import Scope

from query_api.read_limits import ReadLimits
from query_api.redis_reads.access import CallerAccess
from query_api.redis_reads.freshness import parse_position
from shared.errors import Forbidden, InvalidInput, NotAuthenticated
from shared.ids import START, Position
from shared.web.answer import Answer, Fields
from shared.web.application import Respond
from shared.web.openapi import ACCESS_TOKEN, Admission
from shared.web.operation import Request
from shared.web.tokens import Claims, TokenVerifier, bearer_token

# Operations for `nobody` need no credential and are not charged: probes and scrapes.
Access = Literal["anyone", "members", "nobody", "operators"]

ADMISSIONS: Mapping[Access, Admission] = {
    "anyone": Admission(({}, {ACCESS_TOKEN: ()}), is_charged=True),
    "members": Admission(({ACCESS_TOKEN: ()},), is_charged=True),
    "nobody": Admission(),
    "operators": Admission(({ACCESS_TOKEN: ("operator",)},), is_charged=True),
}

Read = Request[Any, Any]

# Answers depend on the credential: a private profile, or 401 for an ended token.
_VARY = (b"vary", b"authorization")


class ReadGate:
    """Refuses callers before any parameter is validated.

    A request without a credential causes no extra work. For one with a credential, the check of the
    token and the operation's own read share a round trip to Redis, and the answer waits for both.
    """

    def __init__(self, verifier: TokenVerifier, limits: ReadLimits, access: CallerAccess) -> None:
        self._verifier = verifier
        self._limits = limits
        self._access = access

    def charge_address(self, scope: Scope, fields: Fields) -> None:
        self._limits.require_address(scope, fields)

    async def __call__(self, request: Read, respond: Respond) -> Answer:
        access: Access = request.operation.access
        if access == "nobody":
            return await respond(request)
        request.answer_fields.append(_VARY)
        authorization = request.field(b"authorization")
        if authorization is None:
            self._limits.require_address(request.scope, request.answer_fields)
            if access != "anyone":
                raise NotAuthenticated("send an access token as `Authorization: Bearer TOKEN`")
            return await respond(request)
        claims = self._verified(request, authorization)
        check = asyncio.create_task(self._access.current(claims, _wanted(request)))
        try:
            if access == "operators" or claims.service:
                _require(access, await check)
            request.caller = claims
            return await _answered(request, respond, check)
        finally:
            # Retrieve its exception even if the client has left and nothing awaits it.
            if not check.done():
                check.cancel()
            elif not check.cancelled():
                check.exception()

    def _verified(self, request: Read, authorization: str) -> Claims:
        """Verify a token and charge its subject, or the address if the token is rejected."""
        fields = request.answer_fields
        self._limits.require_room(request.scope, fields)
        try:
            claims = self._verifier.verify(bearer_token(authorization))
        except NotAuthenticated:
            self._limits.charge_rejected(request.scope, fields)
            raise
        self._limits.require_caller(claims, fields)
        return claims


async def _answered(request: Read, respond: Respond, check: asyncio.Task[Claims]) -> Answer:
    """Return or raise the operation's answer, unless the check refuses the token."""
    try:
        answer = await respond(request)
    except Exception:  # Any refusal: a caller whose token has ended must not learn of it.
        await check
        raise
    await check
    return answer


def _require(access: Access, claims: Claims) -> None:
    if access == "members" and claims.service:
        raise Forbidden("this needs a user's access token")
    # Earlier releases issued operator tokens for service keys.
    if access == "operators" and (claims.service or claims.role != "operator"):
        raise Forbidden("this is for operators only")


def _wanted(request: Read) -> Position:
    """Return the position in `Starfold-At-Least`; a malformed one is reported later."""
    try:
        return parse_position(request.field(b"starfold-at-least"))
    except InvalidInput:
        return START
