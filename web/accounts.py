"""Signing up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from pages import forms
from pages.application import Site, is_own_path
from pages.sessions import Visitor
from starfold_client.errors import Conflict, InvalidInput

MISSING = {
    "email": "Enter your e-mail address.",
    "password": "Enter your password.",
    "display_name": "Enter the name that others will see.",
}


class SignUp:
    """The page to sign up."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def routes(self) -> Sequence[Route]:
        page = self._site.page
        return [
            page("/signup", self.signup),
            page("/signup", self.sign_up, methods=["POST"]),
        ]

    async def signup(self, request: Request, visitor: Visitor) -> Response:
        return self._form(visitor, request.query_params.get("next", "/"))

    async def sign_up(self, request: Request, visitor: Visitor) -> Response:
        form = await request.form()
        given = {
            "email": forms.text(form, "email").strip(),
            "display_name": forms.text(form, "display_name").strip(),
        }
        password, following = forms.text(form, "password"), forms.text(form, "next")
        filled = {**given, "password": password}
        errors = forms.missing(filled, MISSING)
        if not errors:
            try:
                await visitor.client.sign_up(**filled)
            except Conflict:
                errors["email"] = "This address has an account already."
            except InvalidInput as error:
                errors = forms.by_field(error.errors, tuple(filled))
        if errors:
            return self._form(visitor, following, errors, given)
        await visitor.log_in(given["email"], password)
        return RedirectResponse(following if is_own_path(following) else "/", 303)

    def _form(
        self,
        visitor: Visitor,
        following: str,
        errors: Mapping[str, str] | None = None,
        given: Mapping[str, str] | None = None,
    ) -> Response:
        return self._site.renderer.page(
            "signup.html",
            status=422 if errors else 200,
            visitor=visitor,
            next=following if is_own_path(following) else "/",
            errors=defaultdict(str, errors or {}),
            given=defaultdict(str, given or {}),
        )
