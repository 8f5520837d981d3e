"""Signing up, logging in and out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from pages.application import Site, is_own_path
from pages.sessions import Visitor
from starfold_client.errors import Conflict, FieldProblem, InvalidInput, NotAuthenticated
from web import forms

MISSING = {
    "email": "Enter your e-mail address.",
    "password": "Enter your password.",
    "display_name": "Enter the name that others will see.",
}


class AccountPages:
    """The pages for an account."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def routes(self) -> Sequence[Route]:
        page = self._site.page
        return [
            page("/login", self.login),
            page("/login", self.log_in, methods=["POST"]),
            page("/signup", self.signup),
            page("/signup", self.sign_up, methods=["POST"]),
            page("/logout", self.log_out, methods=["POST"]),
        ]

    async def login(self, request: Request, visitor: Visitor) -> Response:
        return self._form("login.html", visitor, request.query_params.get("next", "/"))

    async def log_in(self, request: Request, visitor: Visitor) -> Response:
        form = await request.form()
        email, password = forms.text(form, "email").strip(), forms.text(form, "password")
        going_on = forms.text(form, "next")
        errors = {
            name: MISSING[name]
            for name, value in (("email", email), ("password", password))
            if not value
        }
        if not errors:
            try:
                await visitor.client.log_in(email=email, password=password)
            except NotAuthenticated:
                errors["password"] = "Address or password are wrong."
            except InvalidInput as error:
                errors = by_field(error.errors, ("email", "password"))
        if errors:
            return self._form("login.html", visitor, going_on, errors, {"email": email})
        return RedirectResponse(going_on if is_own_path(going_on) else "/", 303)

    async def signup(self, request: Request, visitor: Visitor) -> Response:
        return self._form("signup.html", visitor, request.query_params.get("next", "/"))

    async def sign_up(self, request: Request, visitor: Visitor) -> Response:
        form = await request.form()
        given = {
            "email": forms.text(form, "email").strip(),
            "display_name": forms.text(form, "display_name").strip(),
        }
        password, going_on = forms.text(form, "password"), forms.text(form, "next")
        filled = {**given, "password": password}
        errors = {name: MISSING[name] for name, value in filled.items() if not value}
        if not errors:
            try:
                await visitor.client.sign_up(**filled)
            except Conflict:
                errors["email"] = "This address has an account already."
            except InvalidInput as error:
                errors = by_field(error.errors, tuple(filled))
        if errors:
            return self._form("signup.html", visitor, going_on, errors, given)
        await visitor.client.log_in(email=given["email"], password=password)
        return RedirectResponse(going_on if is_own_path(going_on) else "/", 303)

    async def log_out(self, _: Request, visitor: Visitor) -> Response:
        if visitor.is_logged_in:
            await visitor.client.log_out()
        return RedirectResponse("/", 303)

    def _form(
        self,
        template: str,
        visitor: Visitor,
        going_on: str,
        errors: dict[str, str] | None = None,
        given: dict[str, str] | None = None,
    ) -> Response:
        return self._site.renderer.page(
            template,
            status=422 if errors else 200,
            visitor=visitor,
            next=going_on if is_own_path(going_on) else "/",
            errors=defaultdict(str, errors or {}),
            given=defaultdict(str, given or {}),
        )


def by_field(problems: Sequence[FieldProblem], names: Sequence[str]) -> dict[str, str]:
    """Return what is wrong with each field; what concerns no field comes at the first one."""
    errors: dict[str, str] = {}
    for problem in problems:
        name = problem.pointer.rpartition("/")[2]
        errors.setdefault(name if name in names else names[0], problem.detail)
    return errors or {names[0]: "This cannot be accepted."}
