"""The pages that mails link to: a new password, and the confirmation of an e-mail address."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from pages import forms
from pages.application import Site
from pages.sessions import Visitor
from starfold_client.errors import InvalidInput, NotFound

# As long as the link of a new password works.
TOKEN_MAX_AGE_S = 30 * 60
_TOKEN = re.compile(r"[\w-]{1,200}", re.ASCII)

MISSING = {"email": "Enter your e-mail address.", "password": "Enter a new password."}


class LinkToken:
    """The token of a mail's link, which leaves the address of its page at once for a cookie.

    The address with the token is answered by a redirect: no page with it in its address loads or
    links to anything, and the browser's list of visited pages has the page without it. The cookie
    is `Lax`, because the redirect that follows a link in a mail still counts as another site's.
    """

    def __init__(self, path: str, *, secure: bool) -> None:
        self._path = path
        self._secure = secure
        self._cookie = f"{'__Secure-' if secure else ''}starfold_web{path.replace('/', '_')}"

    def take(self, request: Request) -> Response | None:
        """Return the redirect that takes the token out of the address, None if it has none."""
        sent = request.query_params.get("token")
        if sent is None:
            return None
        response = RedirectResponse(self._path, 303)
        if _TOKEN.fullmatch(sent):
            self._set(response, sent, TOKEN_MAX_AGE_S)
        else:
            response = RedirectResponse(f"{self._path}?done=gone", 303)
        return response

    def read(self, request: Request) -> str:
        """Return the token; empty if the browser has none."""
        return request.cookies.get(self._cookie, "")

    def forget(self, response: Response) -> Response:
        self._set(response, "", 0)
        return response

    def _set(self, response: Response, value: str, max_age_s: int) -> None:
        response.set_cookie(
            self._cookie,
            value,
            max_age=max_age_s,
            path=self._path,
            secure=self._secure,
            httponly=True,
            samesite="lax",
        )


class MailedLinks:
    """The pages `/reset` and `/verify`."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._reset = LinkToken("/reset", secure=site.secure)
        self._verify = LinkToken("/verify", secure=site.secure)

    def routes(self) -> Sequence[Route]:
        page = self._site.page
        return [
            page("/reset", self.reset),
            page("/reset", self.send_reset, methods=["POST"]),
            page("/verify", self.verify),
            page("/verify", self.send_verification, methods=["POST"]),
        ]

    async def reset(self, request: Request, visitor: Visitor) -> Response:
        """Ask for an address; after a mail's link, for a new password."""
        taken = self._reset.take(request)
        if taken is not None:
            return taken
        done = request.query_params.get("done", "")
        return self._reset_page(visitor, done, asks_password=bool(self._reset.read(request)))

    async def send_reset(self, request: Request, visitor: Visitor) -> Response:
        form = await request.form()
        if "password" in form:
            return await self._set_password(request, visitor, forms.text(form, "password"))
        email = forms.text(form, "email").strip()
        errors = forms.missing({"email": email}, MISSING)
        if not errors:
            try:
                await visitor.client.request_password_reset(email=email)
            except InvalidInput as error:
                errors = forms.by_field(error.errors, ("email",))
        if errors:
            return self._reset_page(visitor, errors=errors, email=email)
        # The same, whether an account has the address or none.
        return RedirectResponse("/reset?done=sent", 303)

    async def _set_password(self, request: Request, visitor: Visitor, password: str) -> Response:
        errors = forms.missing({"password": password}, MISSING)
        if not errors:
            try:
                await visitor.client.reset_password(
                    token=self._reset.read(request), password=password
                )
            except NotFound:
                return self._reset.forget(RedirectResponse("/reset?done=gone", 303))
            except InvalidInput as error:
                errors = forms.by_field(error.errors, ("password",))
        if errors:
            return self._reset_page(visitor, errors=errors, asks_password=True)
        return self._reset.forget(RedirectResponse("/reset?done=set", 303))

    async def verify(self, request: Request, visitor: Visitor) -> Response:
        """Ask for a click: programs that look at mails follow links, but press no buttons."""
        taken = self._verify.take(request)
        if taken is not None:
            return taken
        return self._site.renderer.page(
            "verify.html",
            visitor=visitor,
            done=request.query_params.get("done", ""),
            has_link=bool(self._verify.read(request)),
        )

    async def send_verification(self, request: Request, visitor: Visitor) -> Response:
        done = "verified"
        try:
            await visitor.client.verify_email(token=self._verify.read(request))
        except (NotFound, InvalidInput):
            done = "gone"
        return self._verify.forget(RedirectResponse(f"/verify?done={done}", 303))

    def _reset_page(
        self,
        visitor: Visitor,
        done: str = "",
        *,
        asks_password: bool = False,
        errors: Mapping[str, str] | None = None,
        email: str = "",
    ) -> Response:
        return self._site.renderer.page(
            "reset.html",
            status=422 if errors else 200,
            visitor=visitor,
            done=done,
            asks_password=asks_password and not done,
            errors=defaultdict(str, errors or {}),
            email=email,
        )
