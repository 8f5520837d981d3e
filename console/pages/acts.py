"""The audit log."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from console.pages.api import OperatorsApi
from console.pages.conditions import ConditionedList
from pages.application import Site
from pages.sessions import Visitor

CONDITIONS = {"act": "Act", "actor": "Actor", "since": "Since", "until": "Until"}


class ActPages:
    """What operators did."""

    def __init__(self, site: Site, api: OperatorsApi) -> None:
        self._site = site
        self._api = api
        self._list = ConditionedList(site, api, "/acts", CONDITIONS)

    def routes(self) -> Sequence[Route]:
        page = self._site.page
        return [
            page("/acts", self.acts),
            page("/acts/export", self._list.export),
            page("/acts/{act_id:uuid}", self.act),
        ]

    async def acts(self, request: Request, visitor: Visitor) -> Response:
        return await self._list.page("acts.html", request, visitor)

    async def act(self, request: Request, visitor: Visitor) -> Response:
        """Show one act, to which the form of a long one leads."""
        act = await self._api.get(visitor, f"/acts/{request.path_params['act_id']}")
        return self._site.renderer.page("act.html", visitor=visitor, act=act)
