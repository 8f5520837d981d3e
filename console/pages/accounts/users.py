"""Users by id or e-mail address, and the acts on one of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from console.pages.api import OperatorsApi
from console.pages.confirmation import Confirmation, Confirmed, ConfirmedAct
from ops.acts.users import ROLES
from pages import forms
from pages.application import Site
from pages.sessions import Visitor
from starfold_client.errors import InvalidInput, NotFound

LIST = "/users"


class UserPages:
    """The search, one user, and a page for each act."""

    def __init__(self, site: Site, api: OperatorsApi) -> None:
        self._site = site
        self._api = api

    def routes(self) -> Sequence[Route]:
        one = f"{LIST}/{{user_id:uuid}}"
        acts = (
            ConfirmedAct(self._site, f"{one}/role", self.ask_role, self.change_role),
            ConfirmedAct(self._site, f"{one}/end-sessions", self.ask_end, self.end_sessions),
            ConfirmedAct(self._site, f"{one}/erase", self.ask_erase, self.erase),
        )
        page = self._site.page
        return [
            page(LIST, self.search),
            # An e-mail address is in no address of a page, and so in no history and no proxy's log.
            page(LIST, self.find, methods=["POST"]),
            page(one, self.user),
            *(route for act in acts for route in act.routes()),
        ]

    async def search(self, _: Request, visitor: Visitor) -> Response:
        # A visitor who is no operator gets the refusal of every other page.
        await self._api.get(visitor, "/acts", limit=1)
        return self._form(visitor)

    async def find(self, request: Request, visitor: Visitor) -> Response:
        """Lead to the user's page."""
        wanted = forms.text(await request.form(), "wanted").strip()
        try:
            found = await self._found(visitor, wanted)
        except NotFound:
            return self._form(visitor, wanted, "There is no such user.")
        except (InvalidInput, ValueError):
            return self._form(visitor, wanted, "Enter an id or a whole e-mail address.")
        return RedirectResponse(f"{LIST}/{found['user_id']}", 303)

    async def user(self, request: Request, visitor: Visitor) -> Response:
        path = _path(request)
        user, sessions = await asyncio.gather(
            self._api.get(visitor, path), self._api.get(visitor, f"{path}/sessions")
        )
        return self._site.renderer.page(
            "user.html", visitor=visitor, user=user, sessions=sessions["items"]
        )

    async def ask_role(self, request: Request, visitor: Visitor) -> Confirmation:
        user = await self._api.get(visitor, _path(request))
        return Confirmation(
            f"Change the role of user {user['user_id']}",
            (
                f"They are {user['role'] or 'erased'} now.",
                "Curators maintain the catalogue. Operators may do everything that you may.",
                "The new role counts from the next request on. You can change it back.",
            ),
            "Change the role",
            _path(request),
            user["version"],
            template="confirm_role.html",
            given={"role": user["role"] or ""},
        )

    async def change_role(self, request: Request, visitor: Visitor, sent: Confirmed) -> Response:
        role = sent.text("role")
        if role not in ROLES:
            raise forms.FormErrors({"role": f"Choose one of {', '.join(ROLES)}."})
        return await self._acted(request, visitor, sent, "PUT", "/role", {"role": role})

    async def ask_end(self, request: Request, visitor: Visitor) -> Confirmation:
        sessions = await self._api.get(visitor, f"{_path(request)}/sessions")
        return Confirmation(
            f"End the sessions of user {request.path_params['user_id']}",
            (
                f"Every open session ends, {len(sessions['items'])} in all.",
                "The command API refuses their tokens at once, the query API a moment later.",
                "The user can log in again with their password.",
            ),
            "End the sessions",
            _path(request),
            sessions["version"],
        )

    async def end_sessions(self, request: Request, visitor: Visitor, sent: Confirmed) -> Response:
        return await self._acted(request, visitor, sent, "DELETE", "/sessions")

    async def ask_erase(self, request: Request, visitor: Visitor) -> Confirmation:
        user = await self._api.get(visitor, _path(request))
        return Confirmation(
            f"Erase user {user['user_id']}",
            (
                "Their e-mail address, name and reviews become unreadable for good.",
                "Their scores stay in the averages, without a person.",
                "Their sessions end, and nobody can log in to the account again.",
                "Nothing brings them back, not even a backup: its restore erases them again.",
            ),
            "Erase",
            _path(request),
            user["version"],
            typed=str(user["user_id"]),
        )

    async def erase(self, request: Request, visitor: Visitor, sent: Confirmed) -> Response:
        return await self._acted(request, visitor, sent, "DELETE")

    async def _found(self, visitor: Visitor, wanted: str) -> dict[str, Any]:
        """Return the user; raise `NotFound`, or `ValueError` for neither an id nor an address."""
        if "@" in wanted:
            return await self._api.get(visitor, LIST, email=wanted)
        return await self._api.get(visitor, f"{LIST}/{UUID(wanted)}")

    async def _acted(
        self,
        request: Request,
        visitor: Visitor,
        sent: Confirmed,
        method: str,
        below: str = "",
        body: dict[str, object] | None = None,
    ) -> Response:
        """Send the act, and return to the user, whose page shows what it did."""
        await self._api.act(visitor, method, _path(request) + below, sent, body)
        return RedirectResponse(_path(request), 303)

    def _form(self, visitor: Visitor, wanted: str = "", error: str = "") -> Response:
        return self._site.renderer.page(
            "users.html",
            status=422 if error else 200,
            visitor=visitor,
            given={"wanted": wanted},
            errors={"wanted": error},
        )


def _path(request: Request) -> str:
    """Return the path of the request's user, in the API and among the pages."""
    return f"{LIST}/{request.path_params['user_id']}"
