"""Service keys: the list, a new one, which is shown once, and its end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from command_api.deciding.principal import SCOPES
from console.pages.api import OperatorsApi
from console.pages.confirmation import Confirmation, Confirmed, ConfirmedAct
from pages.application import Site
from pages.forms import FormErrors
from pages.sessions import Visitor
from starfold_client.errors import Problem

LIST = "/keys"


class KeyPages:
    """The list, and a page for each act."""

    def __init__(self, site: Site, api: OperatorsApi) -> None:
        self._site = site
        self._api = api

    def routes(self) -> Sequence[Route]:
        revoke = f"{LIST}/{{key_id:uuid}}/revoke"
        acts = (
            ConfirmedAct(self._site, f"{LIST}/create", self.ask_create, self.create),
            ConfirmedAct(self._site, revoke, self.ask_revoke, self.revoke),
        )
        page = self._site.page(LIST, self.keys)
        return [page, *(route for act in acts for route in act.routes())]

    async def keys(self, _: Request, visitor: Visitor) -> Response:
        found = await self._api.get(visitor, LIST)
        return self._site.renderer.page("keys.html", visitor=visitor, keys=found["items"])

    async def ask_create(self, _: Request, visitor: Visitor) -> Confirmation:
        await self._api.get(visitor, LIST)
        return Confirmation(
            "Create a service key",
            (
                "A program that has the key may do what its scopes say, until you revoke it.",
                "The next page shows the key. Nothing shows it again: copy it there.",
            ),
            "Create the key",
            LIST,
            template="confirm_key.html",
        )

    async def create(self, _: Request, visitor: Visitor, sent: Confirmed) -> Response:
        """Answer with the only page that shows the key; sent again, the form shows none."""
        scopes = [scope for scope in SCOPES if sent.text(f"scope_{scope}")]
        if not scopes:
            raise FormErrors({"form": "Choose at least one scope."})
        body = {"name": sent.text("name"), "scopes": scopes}
        created = await self._api.act(visitor, "POST", LIST, sent, body)
        return self._site.renderer.page("created_key.html", visitor=visitor, created=created)

    async def ask_revoke(self, request: Request, visitor: Visitor) -> Confirmation:
        key = await self._one(request, visitor)
        return Confirmation(
            f"Revoke the key {key['name']}",
            (
                f"Its scopes are {', '.join(key['scopes'])}.",
                "The command API refuses the key within a second, and its tokens at once.",
                "A revoked key stays revoked: its program needs another one.",
            ),
            "Revoke",
            LIST,
            key["version"],
        )

    async def revoke(self, request: Request, visitor: Visitor, sent: Confirmed) -> Response:
        await self._api.act(visitor, "DELETE", f"{LIST}/{request.path_params['key_id']}", sent)
        return RedirectResponse(LIST, 303)

    async def _one(self, request: Request, visitor: Visitor) -> dict[str, Any]:
        key_id = str(request.path_params["key_id"])
        for one in (await self._api.get(visitor, LIST))["items"]:
            if one["key_id"] == key_id:
                return dict(one)
        raise Problem("not-found", 404, detail=f"There is no key {key_id}.")
