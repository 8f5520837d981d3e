"""Profiles: what somebody rated and how, and everything that they can do with their account."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, cast, get_args
from urllib.parse import urlencode
from uuid import UUID

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from pages import forms
from pages.application import Site
from pages.forms import FormErrors
from pages.sessions import Visitor
from starfold_client.answers import Page, Profile, RatedMovie
from starfold_client.errors import Forbidden, InvalidInput, NotFound, TooManyRequests

Order = Literal["newest", "score", "title"]
ORDERS: dict[Order, str] = {"newest": "Newest", "score": "Score", "title": "Title"}
RatingsFormat = Literal["csv", "letterboxd", "trakt"]
FILMS_A_PAGE = 25
GENRES_SHOWN = 8

DONE = {
    "profile": "Your profile is saved.",
    "password": "Your password is changed, and every other device is logged out.",
    "verification": "A mail with a link is on its way to your address.",
    "verification-gone": "You got enough mails lately: look among unwanted ones, or ask later.",
    "session": "That device is logged out.",
    "session-gone": "That device was logged out already.",
}
MISSING = {
    "display_name": "Enter the name that others will see.",
    "old": "Enter your present password.",
    "new": "Enter a new password.",
}
WORD_TO_ERASE = "erase"


class PeoplePages:
    """The pages about people."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._acts: dict[str, Callable[[Mapping[str, str], Visitor], Awaitable[Response]]] = {
            "profile": self._change_profile,
            "password": self._change_password,
            "verification": self._request_verification,
            "session": self._end_session,
            "erase": self._erase,
        }

    def routes(self) -> Sequence[Route]:
        page = self._site.page
        return [
            page("/users/{user_id:uuid}", self.person),
            page("/me", self.me),
            page("/me", self.change, methods=["POST"]),
            page("/me/export", self.export),
        ]

    async def person(self, request: Request, visitor: Visitor) -> Response:
        """Show a public profile; a private one and an unknown one look the same."""
        user_id: UUID = request.path_params["user_id"]
        try:
            profile, rated = await asyncio.gather(
                visitor.client.get_profile(user_id), _rated(request, visitor, user_id)
            )
        except NotFound:
            return self._site.renderer.page("unseen.html", status=404, visitor=visitor)
        return self._site.renderer.page(
            "person.html",
            visitor=visitor,
            is_own=user_id == visitor.user_id,
            **_shown(request, profile, rated),
        )

    async def me(self, request: Request, visitor: Visitor) -> Response:
        return await self._me(request, visitor, done=request.query_params.get("done", ""))

    async def change(self, request: Request, visitor: Visitor) -> Response:
        """Do what one of the page's forms asks for; what is wrong in it comes beside its field."""
        form = await request.form()
        given = {name: forms.text(form, name) for name in form}
        act = self._acts.get(given.get("act", ""))
        if act is None:
            raise FormErrors({"act": "This form is not known."})
        try:
            return await act(given, visitor)
        except FormErrors as wrong:
            return await self._me(request, visitor, errors=wrong.errors, given=given)

    async def export(self, request: Request, visitor: Visitor) -> Response:
        """Send the visitor's data as a file."""
        wanted = request.query_params.get("format", "json")
        if wanted in get_args(RatingsFormat):
            kind = cast("RatingsFormat", wanted)
            ratings = await visitor.client.export_ratings.answer(format=kind)
            content, fields = ratings.value, ratings.headers
        else:
            everything = await visitor.client.export_me.answer()
            content, fields = msgspec.json.encode(everything.value), everything.headers
        headers = {"Content-Disposition": fields["content-disposition"]}
        return Response(content, 200, headers, fields["content-type"])

    async def _change_profile(self, given: Mapping[str, str], visitor: Visitor) -> Response:
        name = given.get("display_name", "").strip()
        _require({"display_name": name})
        try:
            await visitor.client.change_profile(
                display_name=name,
                visibility="private" if given.get("visibility") == "private" else "public",
            )
        except InvalidInput as refused:
            raise FormErrors(forms.by_field(refused.errors, ("display_name",))) from refused
        return _done("profile")

    async def _change_password(self, given: Mapping[str, str], visitor: Visitor) -> Response:
        old, new = given.get("old", ""), given.get("new", "")
        _require({"old": old, "new": new})
        try:
            await visitor.client.change_password(old=old, new=new)
        except Forbidden as refused:
            raise FormErrors({"old": "This is not your present password."}) from refused
        except InvalidInput as refused:
            raise FormErrors(forms.by_field(refused.errors, ("new", "old"))) from refused
        return _done("password")

    async def _request_verification(self, _: Mapping[str, str], visitor: Visitor) -> Response:
        try:
            await visitor.client.request_verification()
        except TooManyRequests:
            return _done("verification-gone", "profile")
        return _done("verification", "profile")

    async def _end_session(self, given: Mapping[str, str], visitor: Visitor) -> Response:
        try:
            await visitor.client.end_session(UUID(given.get("session_id", "")))
        except (NotFound, ValueError):
            return _done("session-gone", "session")
        return _done("session")

    async def _erase(self, given: Mapping[str, str], visitor: Visitor) -> Response:
        me = await visitor.client.get_me()
        if given.get("confirm", "").strip() not in (WORD_TO_ERASE, me.display_name):
            raise FormErrors({"confirm": f"Type your name or the word “{WORD_TO_ERASE}”."})
        await visitor.client.erase_me()
        return self._site.renderer.page("erased.html", visitor=visitor)

    async def _me(
        self,
        request: Request,
        visitor: Visitor,
        *,
        done: str = "",
        errors: Mapping[str, str] | None = None,
        given: Mapping[str, str] | None = None,
    ) -> Response:
        profile, listed = await asyncio.gather(
            visitor.client.get_me(), visitor.client.list_sessions()
        )
        rated = await _rated(request, visitor, profile.user_id)
        return self._site.renderer.page(
            "me.html",
            status=422 if errors else 200,
            visitor=visitor,
            sessions=listed.sessions,
            email=profile.email,
            email_verified=profile.email_verified,
            done=done,
            done_text=DONE.get(done, ""),
            errors=defaultdict(str, errors or {}),
            given={
                "display_name": profile.display_name or "",
                "visibility": profile.visibility,
                **(given or {}),
            },
            word_to_erase=WORD_TO_ERASE,
            **_shown(request, profile, rated),
        )


async def _rated(request: Request, visitor: Visitor, user_id: UUID) -> Page[RatedMovie]:
    """Read the part of somebody's ratings that the address names."""
    return await visitor.client.list_user_ratings(
        user_id,
        sort=_order(request),
        limit=FILMS_A_PAGE,
        cursor=request.query_params.get("cursor") or None,
    )


def _order(request: Request) -> Order:
    asked = request.query_params.get("sort", "")
    return cast("Order", asked) if asked in get_args(Order) else "newest"


def _shown(request: Request, profile: Profile, rated: Page[RatedMovie]) -> dict[str, Any]:
    """Return what both kinds of profile show of somebody's ratings."""
    order = _order(request)
    following = ""
    if rated.next_cursor:
        following = urlencode({"sort": order, "cursor": rated.next_cursor})
    return {
        "profile": profile,
        "rated": rated.items,
        "orders": ORDERS,
        "order": order,
        "is_later": bool(request.query_params.get("cursor")),
        "following": following,
        "genres": (profile.ratings.genres or [])[:GENRES_SHOWN],
        "here": request.url.path,
    }


def _require(filled: Mapping[str, str]) -> None:
    """Raise `FormErrors` for the fields that are empty."""
    if errors := forms.missing(filled, MISSING):
        raise FormErrors(errors)


def _done(what: str, section: str = "") -> Response:
    """Lead back to the form, where it says what was done."""
    return RedirectResponse(f"/me?done={what}#{section or what}", 303)
