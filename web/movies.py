"""The catalogue and a film's page, with the visitor's own ratings."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import Literal, cast, get_args
from urllib.parse import urlencode
from uuid import UUID, uuid4, uuid5

from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from pages.application import Site
from pages.forms import text
from pages.sessions import Visitor
from starfold_client.answers import Day, RatedMovie
from starfold_client.errors import InvalidInput, NotFound
from starfold_client.rows import Id
from web import forms

Order = Literal["weighted", "average", "count", "newest", "title"]
ORDERS = {
    "weighted": "Best rated",
    "count": "Most rated",
    "average": "Highest average",
    "newest": "Newest",
    "title": "Title",
}
FILMS_A_PAGE = 24
REVIEWS_A_PAGE = 20
GENRES_MAX = 100
PERIODS_MAX = 100


class MoviePages:
    """The pages of films."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def routes(self) -> Sequence[Route]:
        page = self._site.page
        return [
            page("/", self.catalogue),
            page("/movies/{movie_id:uuid}", self.movie),
            page("/movies/{movie_id:uuid}/rating", self.rate, methods=["POST"]),
        ]

    async def catalogue(self, request: Request, visitor: Visitor) -> Response:
        """Search, orders and filters are in the address, so that Back and links keep them."""
        asked = request.query_params
        q = asked.get("q", "").strip()
        sort = asked.get("sort", "")
        chosen = cast("Order", sort) if sort in get_args(Order) else None
        found, genres = await asyncio.gather(
            visitor.client.list_movies(
                q=q or None,
                sort=chosen,
                genre=asked.get("genre") or None,
                year_min=forms.whole(asked.get("from")),
                year_max=forms.whole(asked.get("to")),
                count=True,
                limit=FILMS_A_PAGE,
                cursor=asked.get("cursor") or None,
            ),
            visitor.client.list_genres(limit=GENRES_MAX),
        )
        own = await own_scores(visitor, [movie.movie_id for movie in found.items])
        kept = [(name, value) for name, value in asked.multi_items() if name != "cursor"]
        following = urlencode([*kept, ("cursor", found.next_cursor)]) if found.next_cursor else ""
        return self._site.renderer.page(
            "catalogue.html",
            visitor=visitor,
            found=found,
            own=own,
            genres=genres.items,
            orders=ORDERS,
            asked=defaultdict(str, asked),
            q=q,
            following=following,
            first=urlencode(kept),
        )

    async def movie(self, request: Request, visitor: Visitor) -> Response:
        """Show a film as it is now, and as of the end of a day if one is asked for."""
        movie_id: UUID = request.path_params["movie_id"]
        client = visitor.client
        movie, (periods, resolution), ratings, own = await asyncio.gather(
            client.get_movie(movie_id),
            _history(visitor, movie_id),
            client.list_movie_ratings(
                movie_id,
                sort="newest",
                limit=REVIEWS_A_PAGE,
                cursor=request.query_params.get("cursor") or None,
            ),
            own_rating(visitor, movie_id),
        )
        as_of = forms.day(request.query_params.get("as_of"))
        past, refused = None, ""
        if as_of is not None:
            try:
                past = await client.get_movie_stats(movie_id, as_of=as_of)
            except InvalidInput as error:
                refused = " ".join(one.detail for one in error.errors) or error.detail
        return self._site.renderer.page(
            "movie.html",
            visitor=visitor,
            movie=movie,
            periods=periods,
            resolution=resolution,
            raters=ratings,
            own=own,
            past=past,
            as_of=as_of,
            refused=refused,
            key=uuid4(),
            done=request.query_params.get("done", ""),
        )

    async def rate(self, request: Request, visitor: Visitor) -> Response:
        """Rate or withdraw, and lead back to the film's page; a script gets JSON.

        The form's key and what it asks for make the Idempotency-Key: the same intent counts once,
        however often it is sent.
        """
        movie_id: UUID = request.path_params["movie_id"]
        form = await request.form()
        score = forms.score(form)
        review = text(form, "review").strip()
        review_given = "review" in form
        key = _key(text(form, "key"), f"{score} {review}")
        if score is None:
            await visitor.client.withdraw_rating(movie_id, idempotency_key=key)
            done = "withdrawn"
        else:
            given = (review or None) if review_given else UNSET
            rated = await visitor.client.rate_movie(
                movie_id, score, review=given, idempotency_key=key
            )
            done = rated.status
        if "application/json" in request.headers.get("accept", ""):
            return JSONResponse({"done": done, "score": score})
        return RedirectResponse(f"/movies/{movie_id}?done={done}#own", 303)


async def _history(
    visitor: Visitor, movie_id: UUID
) -> tuple[Sequence[Day], Literal["month", "year"]]:
    """Return the months of a film's history, or the years if the months are more than a page."""
    read = visitor.client.list_movie_history
    months = await read(movie_id, resolution="month", limit=PERIODS_MAX)
    if months.next_cursor is None:
        return months.items, "month"
    return (await read(movie_id, resolution="year", limit=PERIODS_MAX)).items, "year"


async def own_rating(visitor: Visitor, movie_id: Id) -> RatedMovie | None:
    """Return the visitor's rating of a film, None if there is none or nobody is logged in."""
    user_id = visitor.user_id
    if user_id is None:
        return None
    try:
        return await visitor.client.get_user_rating(user_id, movie_id)
    except NotFound:
        return None


async def own_scores(visitor: Visitor, movies: Sequence[UUID]) -> dict[UUID, float]:
    """Return the visitor's scores of the films that they rated."""
    found = await asyncio.gather(*(own_rating(visitor, one) for one in movies))
    return {one.movie_id: one.score for one in found if one is not None}


def _key(sent: str, intent: str) -> str | None:
    """Return the key of an intent of a form; None for a form without a usable key."""
    try:
        return str(uuid5(UUID(sent), intent))
    except ValueError:
        return None
