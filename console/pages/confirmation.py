"""Pages that say what an act will do, and ask before they do it.

A button is a link to such a page, so that it works without script. The page's form has a key of its
own, under which the act is done once however often the form is sent, and the version of what the
page showed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from console.pages.api import ShownForm
from pages import forms
from pages.application import Site
from pages.sessions import Visitor
from shared.ids import new_uuid7
from starfold_client.errors import InvalidInput


class Confirmation(NamedTuple):
    """What a page asks: the act's name, its effects as sentences, and the words on its button.

    `typed` is the name that a destructive act wants typed. `template` extends `confirm.html` with
    the act's fields, whose first values are `given`; `back` is the page to return to.
    """

    title: str
    effects: Sequence[str]
    button: str
    back: str
    version: str = ""
    typed: str = ""
    template: str = "confirm.html"
    given: Mapping[str, str] = {}


class Confirmed(ShownForm):
    """A sent form with its fields."""

    def __init__(self, form: FormData) -> None:
        super().__init__(forms.text(form, "key"), forms.text(form, "version"))
        self.form = form

    def text(self, name: str) -> str:
        return forms.text(self.form, name).strip()


Ask = Callable[[Request, Visitor], Awaitable[Confirmation]]
Act = Callable[[Request, Visitor, Confirmed], Awaitable[Response]]


class ConfirmedAct:
    """The page of one act: it asks, and acts once the form is sent back whole.

    `act` may raise `FormErrors` and `InvalidInput`, which the page shows beside the fields.
    """

    def __init__(self, site: Site, path: str, ask: Ask, act: Act) -> None:
        self._site = site
        self._path = path
        self._ask = ask
        self._act = act

    def routes(self) -> Sequence[Route]:
        page = self._site.page
        return [page(self._path, self._show), page(self._path, self._send, methods=["POST"])]

    async def _show(self, request: Request, visitor: Visitor) -> Response:
        asked = await self._ask(request, visitor)
        return self._page(request, visitor, asked, asked.given)

    async def _send(self, request: Request, visitor: Visitor) -> Response:
        form = await request.form()
        sent = Confirmed(form)
        asked = await self._ask(request, visitor)
        errors: Mapping[str, str] = {"typed": f"Type {asked.typed} to confirm."}
        if not asked.typed or sent.text("typed") == asked.typed:
            try:
                return await self._act(request, visitor, sent)
            except forms.FormErrors as error:
                errors = error.errors
            except InvalidInput as error:
                errors = forms.by_field(error.errors, ["form", *form])
        given = {name: forms.text(form, name) for name in form}
        return self._page(request, visitor, asked, given, errors)

    def _page(
        self,
        request: Request,
        visitor: Visitor,
        asked: Confirmation,
        given: Mapping[str, str],
        errors: Mapping[str, str] | None = None,
    ) -> Response:
        return self._site.renderer.page(
            asked.template,
            status=422 if errors else 200,
            visitor=visitor,
            asked=asked,
            action=request.url.path,
            key=new_uuid7(),
            given=defaultdict(str, given),
            errors=defaultdict(str, errors or {}),
        )
