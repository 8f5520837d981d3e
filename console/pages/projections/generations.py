"""The generations of each projection, and the acts on them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from console.pages.api import OperatorsApi
from console.pages.confirmation import Confirmation, Confirmed, ConfirmedAct
from console.pages.lag import LARGE, lag_charts
from console.pages.troubles import generation_troubles
from pages.application import Site
from pages.forms import FormErrors
from pages.sessions import Visitor
from starfold_client.errors import Problem

LIST = "/projections"
NOT_LIVE_YET = ("building", "following")
KEPT = "It is kept for 10 minutes, so that you can switch back to it."


class GenerationPages:
    """The list with its buttons, and a page for each act."""

    def __init__(self, site: Site, api: OperatorsApi) -> None:
        self._site = site
        self._api = api

    def routes(self) -> Sequence[Route]:
        one = f"{LIST}/{{projection}}/generations/{{number:int}}"
        acts = (
            ConfirmedAct(self._site, f"{LIST}/{{projection}}/replay", self.ask_replay, self.replay),
            ConfirmedAct(self._site, f"{one}/cancel", self.ask_cancel, self.cancel),
            ConfirmedAct(self._site, f"{one}/switch", self.ask_switch, self.switch),
            ConfirmedAct(self._site, f"{one}/purge", self.ask_purge, self.purge),
        )
        page = self._site.page(LIST, self.projections)
        return [page, *(route for act in acts for route in act.routes())]

    async def projections(self, _: Request, visitor: Visitor) -> Response:
        models, quarter, day = await asyncio.gather(
            self._api.get(visitor, "/projections"),
            lag_charts(self._api, visitor, "15m", LARGE),
            lag_charts(self._api, visitor, "24h", LARGE),
        )
        coming = [one for one in models["generations"] if one["state"] in NOT_LIVE_YET]
        replays = await asyncio.gather(*(self._replay_of(visitor, one) for one in coming))
        is_moving = bool(coming) or any(
            one["switch_when_ready"] and one["state"] != "active" for one in models["generations"]
        )
        return self._site.renderer.page(
            "projections.html",
            visitor=visitor,
            models=models,
            troubles=generation_troubles(models["generations"]),
            replays={one["replay_id"]: one for one in replays if one is not None},
            is_moving=is_moving,
            charts=[(name, (chart, day[name])) for name, chart in quarter.items()],
        )

    async def ask_replay(self, request: Request, visitor: Visitor) -> Confirmation:
        name, models = _name(request), await self._api.get(visitor, "/projections")
        return Confirmation(
            f"Replay {name}",
            (
                f"Workers read the whole log and build a new generation of {name}.",
                "Readers keep the live one until the new one has caught up and passed its audit.",
                f"The generation that is live now is retired then. {KEPT}",
                "You can cancel the replay until it is live.",
            ),
            "Replay",
            LIST,
            _projection(models, name)["version"],
            template="confirm_replay.html",
            given={"workers": "1", "audit": "on", "switch": "on"},
        )

    async def replay(self, request: Request, visitor: Visitor, sent: Confirmed) -> Response:
        throttle = sent.text("throttle")
        body = {
            "workers": _number(sent, "workers"),
            "throttle": _number(sent, "throttle") if throttle else None,
            "audit": bool(sent.text("audit")),
            "switch": bool(sent.text("switch")),
        }
        return await self._acted(
            visitor, sent, "POST", f"/projections/{_name(request)}/replays", body
        )

    async def ask_cancel(self, request: Request, visitor: Visitor) -> Confirmation:
        name, number = _name(request), request.path_params["number"]
        one = _generation(await self._api.get(visitor, "/projections"), name, number)
        return Confirmation(
            f"Cancel the build of {name}, generation {number}",
            (
                "Its jobs give up, and what they have built is deleted.",
                "The live generation stays as it is. You can order a replay again at any time.",
            ),
            "Cancel the build",
            LIST,
            one["version"],
        )

    async def cancel(self, request: Request, visitor: Visitor, sent: Confirmed) -> Response:
        replay = f"{_name(request)}-{request.path_params['number']}"
        return await self._acted(visitor, sent, "DELETE", f"/replays/{replay}")

    async def ask_switch(self, request: Request, visitor: Visitor) -> Confirmation:
        name, number = _name(request), request.path_params["number"]
        models = await self._api.get(visitor, "/projections")
        one = _generation(models, name, number)
        back = one["state"] == "retired"
        return Confirmation(
            f"Roll {name} back to generation {number}"
            if back
            else f"Make generation {number} of {name} live",
            (
                f"Readers use generation {number} of {name} from the next moment on.",
                *_audit_effects(one),
                f"The generation that is live now is retired. {KEPT}",
            ),
            "Roll back" if back else "Make it live",
            LIST,
            _projection(models, name)["version"],
            template="confirm_switch.html" if _needs_audit(one) else "confirm.html",
            given={"audit": "on"},
        )

    async def switch(self, request: Request, visitor: Visitor, sent: Confirmed) -> Response:
        number = request.path_params["number"]
        asks_audit = "audited" in sent.form
        audit = bool(sent.text("audit")) or not asks_audit
        body = {"generation": number, "audit": audit}
        return await self._acted(
            visitor, sent, "POST", f"/projections/{_name(request)}/switch", body
        )

    async def ask_purge(self, request: Request, visitor: Visitor) -> Confirmation:
        name, number = _name(request), request.path_params["number"]
        one = _generation(await self._api.get(visitor, "/projections"), name, number)
        return Confirmation(
            f"Purge {name}, generation {number}",
            (
                "All its keys are deleted from Redis. Nothing brings them back but a replay.",
                "You cannot roll back to it any more.",
                "The live generation and the log stay as they are.",
            ),
            "Purge",
            LIST,
            one["version"],
            typed=f"{name}-{number}",
        )

    async def purge(self, request: Request, visitor: Visitor, sent: Confirmed) -> Response:
        path = f"/projections/{_name(request)}/generations/{request.path_params['number']}"
        return await self._acted(visitor, sent, "DELETE", path)

    async def _acted(
        self,
        visitor: Visitor,
        sent: Confirmed,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
    ) -> Response:
        """Send the act, and return to the list, which shows what it did."""
        await self._api.act(visitor, method, path, sent, body)
        return RedirectResponse(LIST, 303)

    async def _replay_of(self, visitor: Visitor, one: dict[str, Any]) -> dict[str, Any] | None:
        """Return what a generation waits for; None if the answer cannot be had now."""
        replay = f"{one['projection']}-{one['generation']}"
        try:
            return await self._api.get(visitor, f"/replays/{replay}")
        except Problem:
            return None


def _name(request: Request) -> str:
    name: str = request.path_params["projection"]
    return name


def _projection(models: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a projection of the list; raise the problem of one that is not in it."""
    for one in models["projections"]:
        if one["projection"] == name:
            return dict(one)
    raise Problem("not-found", 404, detail=f"There is no projection {name}.")


def _generation(models: dict[str, Any], name: str, number: int) -> dict[str, Any]:
    for one in models["generations"]:
        if (one["projection"], one["generation"]) == (name, number):
            return dict(one)
    raise Problem("not-found", 404, detail=f"There is no generation {number} of {name}.")


def _needs_audit(one: dict[str, Any]) -> bool:
    return one["state"] in NOT_LIVE_YET and one["audit"] != "passed"


def _audit_effects(one: dict[str, Any]) -> Sequence[str]:
    """Return what is to be said of the audit of a generation that is to become live."""
    if one["state"] == "retired":
        return ("It was live before, and needs no audit.",)
    if one["audit"] == "passed":
        return ("It has passed its audit.",)
    wait = "This happens once it has caught up and a worker has audited it."
    return (wait, "Its last audit found differences.") if one["audit"] == "failed" else (wait,)


def _number(sent: Confirmed, name: str) -> float:
    """Return the number in a field; raise `FormErrors` for any other text."""
    text = sent.text(name)
    if not text.isascii() or not text.isdecimal():
        raise FormErrors({name: "Enter a whole number."})
    return int(text)
