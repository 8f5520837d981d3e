"""Routes of batches, which hold memory by the size of their bodies: so many at once, of callers who
are known.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from command_api.principal import Anyone
from command_api.wiring import principal_of, wiring_of
from shared.errors import NotAuthenticated


class BatchRoute(APIRoute):
    """Asks who is calling, and for room, before it has the body read."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_where_there_is_room(request: Request) -> Response:
            if isinstance(await principal_of(request), Anyone):
                raise NotAuthenticated("send an access token or a service key")
            with (await wiring_of(request)).batch_room.entered():
                return await handle(request)

        return handle_where_there_is_room
