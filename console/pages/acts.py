"""The audit log."""

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

CONDITIONS = {"act": "Act", "actor": "Actor", "since": "Since", "until": "Until"}


class ActPages:
    """What operators did."""

    def __init__(self, site: Site, api: OperatorsApi) -> None:
        self._site = site
        self._api = api

    def routes(self) -> Sequence[Route]:
        page = self._site.page
        return [
            page("/acts", self.acts),
            page("/acts/export", self.export),
            page("/acts/{act_id:uuid}", self.act),
        ]

    async def acts(self, request: Request, visitor: Visitor) -> Response:
        """The conditions are in the address, so that a search can be passed on."""
        asked = conditions_of(request, CONDITIONS)
        cursor = request.query_params.get("cursor", "")
        found = await self._api.get(visitor, "/acts", **asked, cursor=cursor)
        following = found["next_cursor"]
        return self._site.renderer.page(
            "acts.html",
            visitor=visitor,
            acts=found["items"],
            conditions=CONDITIONS,
            asked=defaultdict(str, asked),
            selected=urlencode(asked),
            following=urlencode({**asked, "cursor": following}) if following else "",
            cursor=cursor,
        )

    async def export(self, request: Request, visitor: Visitor) -> Response:
        """Pass the selected acts on as JSON lines, however many; a refusal is a page."""
        asked = conditions_of(request, CONDITIONS)
        await self._api.get(visitor, "/acts", **asked, limit=1)
        return self._api.passed_on(visitor, "/acts/export", asked)

    async def act(self, request: Request, visitor: Visitor) -> Response:
        """Show one act, to which the form of a long one leads."""
        act = await self._api.get(visitor, f"/acts/{request.path_params['act_id']}")
        return self._site.renderer.page("act.html", visitor=visitor, act=act)
