"""Route that looks at the credential before anything else of a request."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from command_api.access import Access, access_to
from command_api.handling import EVERYBODY
from command_api.wiring import principal_of, wiring_of
from shared.errors import Forbidden, NotAuthenticated, Rejected, TooManyRequests

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class CallerRoute(APIRoute):
    """Answers 401 and 403 before the body is read or a value of it is validated.

    Whether the session, the user and the role are still what the credential says is known only to
    the database. A command's own batch checks it, so that most requests cost no further round trip;
    whatever else would refuse the request waits for that check.
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
            # What the credential says is believed only while it is good at all.
            await (await wiring_of(request)).callers.require(principal, EVERYBODY)
            raise
        if access.checked_first:
            await _require_current(request, access)
            return await handle(request)
        try:
            response = await handle(request)
        except (NotAuthenticated, TooManyRequests):
            raise
        except (RequestValidationError, HTTPException, Rejected):
            await _require_current(request, access)
            raise
        if response.status_code >= HTTPStatus.BAD_REQUEST:
            await _require_current(request, access)
        return response

    return handle_checked


async def _require_current(request: Request, access: Access) -> None:
    """Ask the database about the caller."""
    principal = await principal_of(request)
    roles = access.roles_for(principal, request.path_params.get("user_id"))
    await (await wiring_of(request)).callers.require(principal, roles)
