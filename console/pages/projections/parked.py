"""Movies and users whose events could not be applied."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from console.pages.api import OperatorsApi
from console.pages.confirmation import Confirmation, Confirmed, ConfirmedAct
from pages.application import Site
from pages.sessions import Visitor
from starfold_client.errors import Problem

LIST = "/parked"
FOLD = "Every generation reads its events again and replaces its documents."


class ParkedPages:
    """The list with its buttons, and a page for each act."""

    def __init__(self, site: Site, api: OperatorsApi) -> None:
        self._site = site
        self._api = api

    def routes(self) -> Sequence[Route]:
        one = f"{LIST}/{{parked_id}}"
        acts = (
            ConfirmedAct(self._site, f"{LIST}/retry", self.ask_retry_all, self.retry_all),
            ConfirmedAct(self._site, f"{one}/retry", self.ask_retry, self.retry),
            ConfirmedAct(self._site, f"{one}/discard", self.ask_discard, self.discard),
        )
        page = self._site.page(LIST, self.parked)
        return [page, *(route for act in acts for route in act.routes())]

    async def parked(self, _: Request, visitor: Visitor) -> Response:
        found = await self._api.get(visitor, LIST)
        return self._site.renderer.page("parked.html", visitor=visitor, parked=found["items"])

    async def ask_retry_all(self, _: Request, visitor: Visitor) -> Confirmation:
        items = (await self._api.get(visitor, LIST))["items"]
        number = sum(one["state"] != "discarded" for one in items)
        return Confirmation(
            "Retry every parked entity",
            (
                f"The events of {number} parked entities are read again, one after the other.",
                "An entity whose event still cannot be applied stays parked.",
                "Discarded ones stay as they are.",
            ),
            "Retry all",
            LIST,
        )

    async def retry_all(self, _: Request, visitor: Visitor, sent: Confirmed) -> Response:
        return await self._begun(visitor, sent, f"{LIST}/retry")

    async def ask_retry(self, request: Request, visitor: Visitor) -> Confirmation:
        one = await self._one(request, visitor)
        return Confirmation(
            f"Retry {one['entity']} in {one['projection']}",
            (FOLD, "If the event still cannot be applied, it stays parked as it is."),
            "Retry",
            LIST,
            one["version"],
        )

    async def retry(self, request: Request, visitor: Visitor, sent: Confirmed) -> Response:
        return await self._begun(visitor, sent, f"{LIST}/{request.path_params['parked_id']}/retry")

    async def ask_discard(self, request: Request, visitor: Visitor) -> Confirmation:
        one = await self._one(request, visitor)
        return Confirmation(
            f"Discard what waits for {one['entity']} in {one['projection']}",
            (
                f"The read model leaves out the {one['event']} at position {one['position']}.",
                "It leaves out all later events of this entity too. They stay in the log.",
                "Readers see the entity as it was before, marked as stale.",
                "A retry or a replay tries again.",
            ),
            "Discard",
            LIST,
            one["version"],
            typed=one["entity"],
            template="confirm_reason.html",
        )

    async def discard(self, request: Request, visitor: Visitor, sent: Confirmed) -> Response:
        path = f"{LIST}/{request.path_params['parked_id']}/discard"
        await self._api.act(visitor, "POST", path, sent, {"reason": sent.text("reason")})
        return RedirectResponse(LIST, 303)

    async def _begun(self, visitor: Visitor, sent: Confirmed, path: str) -> Response:
        """Begin a long act, and show it."""
        begun = await self._api.act(visitor, "POST", path, sent)
        return RedirectResponse(f"/acts/{begun['act_id']}", 303)

    async def _one(self, request: Request, visitor: Visitor) -> dict[str, Any]:
        parked_id = request.path_params["parked_id"]
        for one in (await self._api.get(visitor, LIST))["items"]:
            if one["parked_id"] == parked_id:
                return dict(one)
        raise Problem("not-found", 404, detail="It is not parked any more.")
