"""Logging in and out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from pages import forms
from pages.application import Site, is_own_path
from pages.sessions import Visitor
from starfold_client.errors import InvalidInput, NotAuthenticated

MISSING = {"email": "Enter your e-mail address.", "password": "Enter your password."}


class LogIn:
    """The pages to log in and out."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def routes(self) -> Sequence[Route]:
        page = self._site.page
        return [
            page("/login", self.form),
            page("/login", self.log_in, methods=["POST"]),
            page("/logout", self.log_out, methods=["POST"]),
        ]

    async def form(self, request: Request, visitor: Visitor) -> Response:
        return self._form(visitor, request.query_params.get("next", "/"))

    async def log_in(self, request: Request, visitor: Visitor) -> Response:
        form = await request.form()
        email, password = forms.text(form, "email").strip(), forms.text(form, "password")
        following = forms.text(form, "next")
        errors = forms.missing({"email": email, "password": password}, MISSING)
        if not errors:
            try:
                await visitor.log_in(email, password)
            except NotAuthenticated:
                errors["password"] = "Address or password are wrong."
            except InvalidInput as error:
                errors = forms.by_field(error.errors, ("email", "password"))
        if errors:
            return self._form(visitor, following, errors, email)
        return RedirectResponse(following if is_own_path(following) else "/", 303)

    async def log_out(self, _: Request, visitor: Visitor) -> Response:
        if visitor.is_logged_in:
            await visitor.client.log_out()
        return RedirectResponse("/", 303)

    def _form(
        self,
        visitor: Visitor,
        following: str,
        errors: Mapping[str, str] | None = None,
        email: str = "",
    ) -> Response:
        return self._site.renderer.page(
            "login.html",
            status=422 if errors else 200,
            visitor=visitor,
            next=following if is_own_path(following) else "/",
            errors=defaultdict(str, errors or {}),
            given={"email": email},
        )
