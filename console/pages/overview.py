"""The state of the read models: what is wrong first."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from console.pages.api import OperatorsApi
from console.pages.lag import SMALL, lag_charts
from pages.application import Site
from pages.sessions import Visitor

FOLLOWED = ("following", "active", "retired")
# Positions behind the head that an idle moment does not explain.
LAG_EVENTS_MAX = 1_000
NEWEST = 10


class OverviewPages:
    """The first page."""

    def __init__(self, site: Site, api: OperatorsApi) -> None:
        self._site = site
        self._api = api

    def routes(self) -> Sequence[Route]:
        page = self._site.page
        return [page("/", self.overview)]

    async def overview(self, _: Request, visitor: Visitor) -> Response:
        models, newest, lags = await asyncio.gather(
            self._api.get(visitor, "/projections"),
            self._api.get(visitor, "/events", limit=NEWEST),
            lag_charts(self._api, visitor, "15m", SMALL),
        )
        return self._site.renderer.page(
            "overview.html",
            visitor=visitor,
            models=models,
            troubles=troubles(models["generations"]),
            events=newest["items"],
            lags=lags,
        )


def troubles(generations: Sequence[dict[str, Any]]) -> list[str]:
    """Return what an operator should look at, the gravest first."""
    stopped, parked, failed, behind = [], [], [], []
    for one in generations:
        name = f"{one['projection']}, generation {one['generation']} ({one['state']})"
        if one["stopped"]:
            stopped.append(f"{name} does not follow the log: {one['stopped']}")
        if one["parked"]:
            parked.append(f"{name} has {one['parked']} parked entities")
        if one["audit"] == "failed":
            failed.append(f"{name} has failed its audit")
        if one["state"] == "active" and (one["lag_events"] or 0) > LAG_EVENTS_MAX:
            behind.append(f"{name} is {one['lag_events']:,} events behind")
    return [*stopped, *failed, *parked, *behind]
