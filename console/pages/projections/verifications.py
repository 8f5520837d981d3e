"""Comparisons of the read models with the log."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from console.pages.api import OperatorsApi
from console.pages.confirmation import Confirmation, Confirmed, ConfirmedAct
from pages.application import Site
from pages.sessions import Visitor

LIST = "/verifications"
FIELDS = ("projection", "generation", "movie", "user", "repair")


class VerificationPages:
    """The list, one verification with its differences, and the form that begins one."""

    def __init__(self, site: Site, api: OperatorsApi) -> None:
        self._site = site
        self._api = api

    def routes(self) -> Sequence[Route]:
        begin = ConfirmedAct(self._site, f"{LIST}/begin", self.ask, self.begin)
        page = self._site.page
        return [
            page(LIST, self.verifications),
            page(f"{LIST}/{{verification_id:uuid}}", self.verification),
            *begin.routes(),
        ]

    async def verifications(self, request: Request, visitor: Visitor) -> Response:
        cursor = request.query_params.get("cursor", "")
        found = await self._api.get(visitor, LIST, cursor=cursor)
        return self._site.renderer.page(
            "verifications.html",
            visitor=visitor,
            verifications=found["items"],
            following=found["next_cursor"],
            cursor=cursor,
        )

    async def verification(self, request: Request, visitor: Visitor) -> Response:
        """Show one; the page of a running one renews itself."""
        verification_id = request.path_params["verification_id"]
        found = await self._api.get(visitor, f"{LIST}/{verification_id}")
        return self._site.renderer.page("verification.html", visitor=visitor, one=found)

    async def ask(self, request: Request, visitor: Visitor) -> Confirmation:
        await self._api.get(visitor, LIST, limit=1)
        given = {name: request.query_params.get(name, "") for name in FIELDS}
        return Confirmation(
            "Verify read models",
            (
                "The console folds the log from its start and compares that with what is stored.",
                "Readers and writers are not paused.",
                "That takes about 20 seconds a million events, and slows the console's pages.",
                "With repair, each difference is replaced by what the log says.",
            ),
            "Verify",
            LIST,
            template="confirm_verification.html",
            given=given,
        )

    async def begin(self, _: Request, visitor: Visitor, sent: Confirmed) -> Response:
        text = {name: sent.text(name) or None for name in FIELDS}
        generation = text["generation"]
        body: dict[str, object] = {
            **text,
            "repair": bool(text["repair"]),
            "generation": int(generation) if generation and generation.isdecimal() else generation,
        }
        begun = await self._api.act(visitor, "POST", LIST, sent, body)
        return RedirectResponse(f"{LIST}/{begun['verification_id']}", 303)
