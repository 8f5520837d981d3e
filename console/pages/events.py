"""The event browser."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from console.pages.api import OperatorsApi
from console.pages.conditions import ConditionedList
from pages.application import Site
from pages.sessions import Visitor

CONDITIONS = {
    "type": "Type",
    "user": "User",
    "movie": "Movie",
    "stream": "Stream",
    "actor": "Actor",
    "correlation": "Request",
    "position_min": "From position",
    "position_max": "To position",
    "since": "Since",
    "until": "Until",
}


class EventPages:
    """Lists of events, and one event."""

    def __init__(self, site: Site, api: OperatorsApi) -> None:
        self._site = site
        self._api = api
        self._list = ConditionedList(site, api, "/events", CONDITIONS)

    def routes(self) -> Sequence[Route]:
        page = self._site.page
        return [
            page("/events", self.events),
            page("/events/export", self._list.export),
            page("/events/{position:int}", self.event),
        ]

    async def events(self, request: Request, visitor: Visitor) -> Response:
        return await self._list.page("events.html", request, visitor)

    async def event(self, request: Request, visitor: Visitor) -> Response:
        position: int = request.path_params["position"]
        found = await self._api.get(visitor, f"/events/{position}")
        return self._site.renderer.page("event.html", visitor=visitor, **found)
