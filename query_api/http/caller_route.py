"""Route that authorizes its caller: the query API's authorization table and its enforcement."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Literal

from fastapi import Request, Response
from fastapi.routing import APIRoute

from query_api.http.dependencies import Wiring, wanted_position, wiring_of
from shared.errors import Forbidden, InvalidInput, NotAuthenticated
from shared.ids import START, Position
from shared.web.tokens import Claims, bearer_token

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
Access = Literal["anyone", "members", "operators"]

# The query API's authorization. All routes are GET.
ROUTES: Mapping[str, Access] = {
    "/v1/movies": "anyone",
    "/v1/movies/{movie_id}": "anyone",
    "/v1/movies/{movie_id}/stats": "anyone",
    "/v1/movies/{movie_id}/history": "anyone",
    "/v1/movies/{movie_id}/ratings": "anyone",
    "/v1/users/me": "members",
    "/v1/users/{user_id}": "anyone",
    "/v1/users/{user_id}/ratings": "anyone",
    "/v1/users/{user_id}/ratings/{movie_id}": "anyone",
    "/v1/stream": "anyone",
    "/v1/projections": "operators",
}


class CallerRoute(APIRoute):
    """Refuse a caller before any parameter is validated.

    A request without a credential costs nothing more. For one with a credential, the check of the
    token and the route's own read share a round trip to Redis, and the answer waits for both.
    """

    def get_route_handler(self) -> Handler:
        access = ROUTES.get(self.path)
        if access is None:
            raise LookupError(f"{self.path} has no entry in query_api/http/caller_route.py")
        handle = super().get_route_handler()

        async def handle_for_caller(request: Request) -> Response:
            authorization = request.headers.get("authorization")
            wiring = await wiring_of(request)
            if authorization is None:
                wiring.limits.require(request.scope)
                if access != "anyone":
                    raise NotAuthenticated("send an access token as `Authorization: Bearer TOKEN`")
                return await handle(request)
            claims = _verified(wiring, request, authorization)
            check = asyncio.create_task(wiring.access.current(claims, _wanted(request)))
            check.add_done_callback(_retrieved)
            try:
                if access == "operators" or claims.service:
                    _require(access, await check)
                request.state.caller = claims
                return await _answered(handle, request, check)
            finally:
                check.cancel()

        return handle_for_caller


def _verified(wiring: Wiring, request: Request, authorization: str) -> Claims:
    """The claims of a token, whose subject is charged; of one that is not believed the address."""
    wiring.limits.require_room(request.scope)
    try:
        claims = wiring.verifier.verify(bearer_token(authorization))
    except NotAuthenticated:
        wiring.limits.charge_rejected(request.scope)
        raise
    wiring.limits.require_caller(claims)
    return claims


async def _answered(handle: Handler, request: Request, check: asyncio.Task[Claims]) -> Response:
    """Return or raise the route's answer, unless the check refuses the token."""
    try:
        response = await handle(request)
    except Exception:
        await check  # Raises, in place of that error, for a caller who was shut out.
        raise
    await check
    return response


def _retrieved(check: asyncio.Task[Claims]) -> None:
    """Retrieve the exception of a check that nobody awaits, because the client has left."""
    if not check.cancelled():
        check.exception()


def _require(access: Access, claims: Claims) -> None:
    if access == "members" and claims.service:
        raise Forbidden("this needs a user's access token")
    # Releases before this one issued tokens of keys that said so.
    if access == "operators" and (claims.service or claims.role != "operator"):
        raise Forbidden("this is for operators")


def _wanted(request: Request) -> Position:
    """Return the position in `Starfold-At-Least`; the route itself reports a malformed one."""
    try:
        return wanted_position(request)
    except InvalidInput:
        return START
