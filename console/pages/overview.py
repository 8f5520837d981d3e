"""The state of the read models, servers and jobs: what is wrong first."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from console.pages.api import OperatorsApi
from console.pages.lag import SMALL, lag_charts
from console.pages.troubles import generation_troubles, system_troubles
from pages.application import Site
from pages.sessions import Visitor
from starfold_client.errors import TryLater

NEWEST = 10

Value = TypeVar("Value")


class OverviewPages:
    """The first page."""

    def __init__(self, site: Site, api: OperatorsApi) -> None:
        self._site = site
        self._api = api

    def routes(self) -> Sequence[Route]:
        page = self._site.page
        return [page("/", self.overview)]

    async def overview(self, _: Request, visitor: Visitor) -> Response:
        system, models, newest, lags = await asyncio.gather(
            _if_answered(self._api.get(visitor, "/system")),
            _if_answered(self._api.get(visitor, "/projections")),
            _if_answered(self._api.get(visitor, "/events", limit=NEWEST)),
            _if_answered(lag_charts(self._api, visitor, "15m", SMALL)),
        )
        found = [] if models is None else generation_troubles(models["generations"])
        return self._site.renderer.page(
            "overview.html",
            visitor=visitor,
            system=system,
            models=models,
            troubles=[*system_troubles(system), *found],
            events=newest["items"] if newest else None,
            lags=lags or {},
        )


async def _if_answered(part: Awaitable[Value]) -> Value | None:
    """Return a part of the page; None if a server that it needs does not answer."""
    try:
        return await part
    except TryLater:
        return None
