"""The state of the read models: what is wrong first."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

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
# A projector that runs applies an event within a second, a busy one within some more.
LAG_MAX_S = 30.0
NEWEST = 10


class Trouble(NamedTuple):
    """What is wrong with a generation, which is a projection and a number."""

    generation: tuple[str, int]
    text: str


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


def troubles(generations: Sequence[dict[str, Any]]) -> list[Trouble]:
    """Return what an operator should look at, the gravest first."""
    stopped, parked, failed, behind = [], [], [], []
    for one in generations:
        place = one["projection"], one["generation"]
        name = f"{place[0]}, generation {place[1]} ({one['state']})"
        if one["stopped"]:
            stopped.append(Trouble(place, f"{name} does not follow the log: {one['stopped']}"))
        if one["parked"]:
            entities = "entity" if one["parked"] == 1 else "entities"
            parked.append(Trouble(place, f"{name} has {one['parked']:,} parked {entities}"))
        if one["audit"] == "failed":
            failed.append(Trouble(place, f"{name} has failed its audit"))
        if one["state"] == "active" and _is_late(one):
            events = "event" if one["lag_events"] == 1 else "events"
            lag = f"{one['lag_events']:,} {events} ({one['lag_s']:,.1f} s)"
            behind.append(Trouble(place, f"{name} is {lag} behind"))
    return [*stopped, *failed, *parked, *behind]


def _is_late(one: dict[str, Any]) -> bool:
    """Whether a generation is behind by many events, or by old ones: its projector may be gone."""
    events, seconds = one["lag_events"] or 0, one["lag_s"] or 0.0
    return events > LAG_EVENTS_MAX or seconds > LAG_MAX_S
