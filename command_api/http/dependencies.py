"""What a request reaches of the command API: made once in `app.py`, handed to the routes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, NamedTuple

from fastapi import Depends, Request
from starlette.types import Scope

from command_api.bulk.room import BatchRoom
from command_api.commit.dispatcher import Dispatcher
from command_api.commit.shared_look_up import SharedLookUp
from command_api.deciding.principal import Anyone, Member, Principal, Service, require_member
from command_api.identity.accounts import Accounts
from command_api.identity.authentication import Authentication
from command_api.identity.callers import Callers
from command_api.identity.limits import LogInLimits, RateLimits
from command_api.identity.passwords import Passwords
from command_api.identity.refusal_pace import RefusalPace
from command_api.identity.sessions import Sessions
from command_api.privacy.erasure_ledger import ErasureLedger
from command_api.privacy.export import Export
from command_api.settings import CommandSettings
from shared.errors import NotAuthenticated
from shared.ids import Position
from shared.log.event_store import EventStore
from shared.process.tasks import Tasks
from shared.web.tokens import TokenIssuer


class Wiring(NamedTuple):
    """The parts that routes use; `now` is a UTC clock of whole milliseconds."""

    dispatcher: Dispatcher
    authentication: Authentication
    callers: Callers
    accounts: Accounts
    passwords: Passwords
    token_issuer: TokenIssuer
    sessions: Sessions
    export: Export
    erasure_ledger: ErasureLedger | None
    rate_limits: RateLimits
    log_in_limits: LogInLimits
    refusal_pace: RefusalPace
    batch_room: BatchRoom
    settings: CommandSettings
    store: EventStore
    head: SharedLookUp[Position]
    reservation_secret: bytes
    tasks: Tasks
    now: Callable[[], datetime]

    async def principal(self, scope: Scope, authorization: str | None) -> Principal:
        """The caller, whose rate limit is charged; for a credential not believed the address's."""
        try:
            principal = await self.authentication.principal(authorization, scope)
        except NotAuthenticated:
            self.rate_limits.charge(scope, Anyone())
            raise
        self.rate_limits.charge(scope, principal)
        return principal

    async def member(self, scope: Scope, authorization: str | None) -> Member:
        """Return the calling user; raise `NotAuthenticated` without a credential, `Forbidden` for a
        service.
        """
        principal = await self.principal(scope, authorization)
        if isinstance(principal, Service):
            await self.callers.require(principal, frozenset())
        return require_member(principal)


async def wiring_of(request: Request) -> Wiring:
    wiring = request.app.state.wiring
    assert isinstance(wiring, Wiring)
    return wiring


async def principal_of(request: Request) -> Principal:
    """The caller; asked once a request."""
    principal: Principal | None = getattr(request.state, "principal", None)
    if principal is None:
        wiring = await wiring_of(request)
        principal = await wiring.principal(request.scope, request.headers.get("authorization"))
        request.state.principal = principal
    return principal


async def visitor_of(request: Request) -> Anyone:
    """Somebody who may send a credential that has expired: only the address is of interest."""
    visitor = Anyone()
    (await wiring_of(request)).rate_limits.charge(request.scope, visitor)
    return visitor


async def member_of(request: Request) -> Member:
    return require_member(await principal_of(request))


Wired = Annotated[Wiring, Depends(wiring_of)]
Caller = Annotated[Principal, Depends(principal_of)]
Visitor = Annotated[Anyone, Depends(visitor_of)]
CallingMember = Annotated[Member, Depends(member_of)]
