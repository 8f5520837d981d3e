"""Route that authorizes the caller before it looks at anything else in a request."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from command_api.deciding.use_cases import EVERYBODY
from command_api.http.dependencies import principal_of, wiring_of
from command_api.identity.access import Access, access_to
from shared.errors import Forbidden, NotAuthenticated, Rejected, TooManyRequests

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class CallerRoute(APIRoute):
    """Answer 401 and 403 before the body is read or validated.

    Only the database knows whether the session, the user and the role are still what the credential
    says. A command's own batch checks that, so that an accepted request costs no further round
    trip; a request that is refused for another reason is checked before it is told so.
    """

    def get_route_handler(self) -> Handler:
        access = access_to("".join(self.methods or ()), self.path)
        handle = self.answering()
        return handle if access.credential_ignored else _checked(handle, access)

    def answering(self) -> Handler:
        """The handler behind the check, for subclasses to wrap."""
        return super().get_route_handler()


def _checked(handle: Handler, access: Access) -> Handler:
    async def handle_checked(request: Request) -> Response:
        principal = await principal_of(request)
        try:
            access.require(principal)
        except Forbidden:
            # A credential that is no longer valid is a 401, whatever its scopes or role.
            await (await wiring_of(request)).callers.require(principal, EVERYBODY)
            raise
        if access.checked_first:
            await _require_current(request, access)
            return await handle(request)
        if access.checked_lately:
            await _require_current(request, access, lately=True)
        try:
            response = await handle(request)
        except (NotAuthenticated, TooManyRequests):
            raise
        except (RequestValidationError, HTTPException, Rejected):
            await _require_current(request, access)
            raise
        if response.status_code >= HTTPStatus.BAD_REQUEST or caller_is_doubted(request):
            await _require_current(request, access)
        return response

    return handle_checked


def doubt_caller(request: Request) -> None:
    """Have the caller looked up before the answer to a bulk request, of which a row was refused."""
    request.state.caller_is_doubted = True


def caller_is_doubted(request: Request) -> bool:
    return getattr(request.state, "caller_is_doubted", False)


async def _require_current(request: Request, access: Access, *, lately: bool = False) -> None:
    """Raise unless the database agrees with the caller's credential, now or lately."""
    principal = await principal_of(request)
    roles = access.roles_for(principal, request.path_params.get("user_id"))
    callers = (await wiring_of(request)).callers
    await (callers.require_lately if lately else callers.require)(principal, roles)
