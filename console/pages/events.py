"""The event browser."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from console.pages.api import OperatorsApi
from console.pages.conditions import conditions_of
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

    def routes(self) -> Sequence[Route]:
        page = self._site.page
        return [
            page("/events", self.events),
            page("/events/export", self.export),
            page("/events/{position:int}", self.event),
        ]

    async def events(self, request: Request, visitor: Visitor) -> Response:
        """The conditions are in the address, so that a search can be passed on."""
        asked = conditions_of(request, CONDITIONS)
        cursor = request.query_params.get("cursor", "")
        found = await self._api.get(visitor, "/events", **asked, cursor=cursor)
        following = found["next_cursor"]
        return self._site.renderer.page(
            "events.html",
            visitor=visitor,
            found=found,
            conditions=CONDITIONS,
            asked=defaultdict(str, asked),
            selected=urlencode(asked),
            following=urlencode({**asked, "cursor": following}) if following else "",
            cursor=cursor,
        )

    async def event(self, request: Request, visitor: Visitor) -> Response:
        position: int = request.path_params["position"]
        found = await self._api.get(visitor, f"/events/{position}")
        return self._site.renderer.page("event.html", visitor=visitor, **found)

    async def export(self, request: Request, visitor: Visitor) -> Response:
        """Pass the selected events on as JSON lines, however many; a refusal is a page."""
        asked = conditions_of(request, CONDITIONS)
        await self._api.get(visitor, "/events", **asked, limit=1)
        return self._api.passed_on(visitor, "/events/export", asked)
