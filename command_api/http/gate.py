"""Gate of the command API: check who may send what, and how much of it."""

from __future__ import annotations

from typing import Any

from starlette.types import Scope

from command_api.deciding.principal import Anyone, Member, Principal
from command_api.deciding.use_cases import ALL_ROLES
from command_api.identity.access import Access
from command_api.identity.authentication import Authentication
from command_api.identity.callers import Callers
from command_api.identity.limits import Charge, RateLimits
from shared.errors import Forbidden, NotAuthenticated, Rejected, TooManyRequests
from shared.web.addresses import address_of
from shared.web.answer import REFUSED_FROM, Answer, Fields
from shared.web.application import Respond
from shared.web.operation import Request
from shared.web.problems import InvalidFields, Refused, TooLarge


class Caller:
    """The sender of a request, and its cost so far.

    `is_doubted` makes the gate look the caller up before it answers a bulk request with a refused
    row.
    """

    __slots__ = ("_charge", "_fields", "_limits", "address", "is_doubted", "principal")

    def __init__(
        self, principal: Principal, address: str, limits: RateLimits, fields: Fields
    ) -> None:
        self.principal = principal
        self.address = address
        self.is_doubted = False
        self._limits = limits
        # The header fields of any answer.
        self._fields = fields

    def charge(self, body_bytes: int) -> None:
        """Charge the request; raise `TooManyRequests`."""
        self._take(self._limits.charge(self.address, self.principal, body_bytes))

    def charge_rows(self, rows: int, body_bytes: int) -> None:
        """Charge the cost of rows and bytes beyond what was charged."""
        before = self._charge
        after = self._limits.charge_more(
            self.address, self.principal, before, rows=rows, body_bytes=body_bytes
        )
        if after is not before:
            self._take(after)

    @property
    def member(self) -> Member:
        """The caller of an operation for members only."""
        assert isinstance(self.principal, Member)
        return self.principal

    def _take(self, charge: Charge) -> None:
        self._charge = charge
        self._fields[:] = charge.fields
        charge.require()


class CommandGate:
    """Answers 401 and 403 before the body is read or validated.

    Only the database knows whether the credential's session, user and role are still current. A
    command's own batch checks that, so that an accepted request costs no further round trip; the
    gate checks it before a request is refused for another reason.
    """

    def __init__(
        self, authentication: Authentication, limits: RateLimits, callers: Callers
    ) -> None:
        self._authentication = authentication
        self._limits = limits
        self._callers = callers

    def charge_address(self, scope: Scope, fields: Fields) -> None:
        charge = self._limits.charge(address_of(scope), Anyone(), 0)
        fields += charge.fields
        charge.require()

    async def __call__(self, request: Request[Any, Any], respond: Respond) -> Answer:
        access: Access | None = request.operation.access
        if access is None:
            return await respond(request)
        # Authenticate the caller and charge their rate limit (the address's if the credential is
        # rejected).
        caller = Caller(Anyone(), address_of(request.scope), self._limits, request.answer_fields)
        request.caller = caller
        if access.credential_ignored:
            caller.charge(request.body_bytes_stated)
            return await respond(request)
        try:
            caller.principal = await self._authentication.principal(
                request.field(b"authorization"), caller.address
            )
        except NotAuthenticated:
            caller.charge(request.body_bytes_stated)
            raise
        caller.charge(request.body_bytes_stated)
        try:
            access.require(caller.principal)
        except Forbidden:
            # A credential that is no longer valid is a 401, whatever its scopes or role.
            await self._callers.require(caller.principal, ALL_ROLES)
            raise
        if access.checked_first:
            await self._require_current(request, access)
            return await respond(request)
        if access.checked_lately:
            await self._require_current(request, access, lately=True)
        try:
            answer = await respond(request)
        except (NotAuthenticated, TooLarge, TooManyRequests):
            raise
        except (InvalidFields, Refused, Rejected):
            await self._require_current(request, access)
            raise
        if answer.status >= REFUSED_FROM or caller.is_doubted:
            await self._require_current(request, access)
        return answer

    async def _require_current(
        self, request: Request[Any, Any], access: Access, *, lately: bool = False
    ) -> None:
        """Raise unless the database confirms the caller's credential, now or recently."""
        principal = request.caller.principal
        roles = access.roles_for(principal, request.path_values.get("user_id"))
        require = self._callers.require_lately if lately else self._callers.require
        await require(principal, roles)
