"""The event browser."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from console.pages.api import OperatorsApi
from console.pages.conditions import ConditionedList
from console.pages.confirmation import Confirmation, Confirmed, ConfirmedAct
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
        one = "/events/{position:int}"
        revealing = ConfirmedAct(self._site, f"{one}/reveal", self.ask_reveal, self.reveal)
        return [
            page("/events", self.events),
            page("/events/export", self._list.export),
            page(one, self.event),
            *revealing.routes(),
        ]

    async def events(self, request: Request, visitor: Visitor) -> Response:
        return await self._list.page("events.html", request, visitor)

    async def event(self, request: Request, visitor: Visitor) -> Response:
        found = await self._api.get(visitor, f"/events/{_position(request)}")
        return self._site.renderer.page("event.html", visitor=visitor, **found)

    async def ask_reveal(self, request: Request, visitor: Visitor) -> Confirmation:
        position = _position(request)
        event = (await self._api.get(visitor, f"/events/{position}"))["event"]
        return Confirmation(
            f"Reveal the personal fields of event {position}",
            (
                f"The next page shows what is sealed in this one {event['type']}.",
                "It never shows a password hash, nor the fields of an erased person.",
                "The audit log has your account and the reason before anything is read.",
            ),
            "Reveal",
            f"/events/{position}",
            template="confirm_reason.html",
        )

    async def reveal(self, request: Request, visitor: Visitor, sent: Confirmed) -> Response:
        """Show the fields in the answer itself: they have no address that another could open."""
        path = f"/events/{_position(request)}/reveal"
        body = {"reason": sent.text("reason")}
        revealed = await self._api.act(visitor, "POST", path, sent, body)
        return self._site.renderer.page("revealed.html", visitor=visitor, revealed=revealed)


def _position(request: Request) -> int:
    position: int = request.path_params["position"]
    return position
