"""Users: public profiles, and the movies that a user rated."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response

from query_api.http import shapes
from query_api.http.caller_route import CallerRoute
from query_api.http.dependencies import AtLeast, Caller, Wired
from query_api.http.examples import OWN_PROFILE, PROFILE, RATING, RATINGS_PAGE
from query_api.http.parameters import LIMIT_DEFAULT, Cursor, Limit
from query_api.http.responses import (
    CALLER_PROBLEMS,
    OPERATOR_PROBLEMS,
    PROBLEMS,
    document,
    documented,
    listing,
)
from query_api.views.cursors import Cursors
from query_api.views.pages import RATINGS_KEY_TYPES, Page, RatingsSort, is_visible, rating_item
from query_api.views.profiles import Profile
from shared.errors import NotFound
from shared.read_model.layout import PROFILES

router = APIRouter(
    prefix="/v1/users",
    tags=["users"],
    responses=PROBLEMS | CALLER_PROBLEMS,
    route_class=CallerRoute,
)


@router.get(
    "/me",
    responses=OPERATOR_PROBLEMS
    | documented(OWN_PROFILE, shapes.OwnProfile, description="One's own profile"),
)
async def get_me(
    request: Request, wiring: Wired, caller: Caller, wanted_position: AtLeast
) -> Response:
    """One's own profile, also when it is private, with what nobody else is shown."""
    assert caller is not None  # The route is for members.
    user_id = caller.user_id

    async def read() -> Profile:
        return await wiring.profiles.profile(user_id, caller, own=True, at_least=wanted_position)

    found = await wiring.freshness.at_least(wanted_position, read)
    return _profile(request, user_id, found, own=True)


@router.get("/{user_id}", responses=documented(PROFILE, shapes.Profile, description="The profile"))
async def get_profile(
    user_id: UUID, request: Request, wiring: Wired, caller: Caller, wanted_position: AtLeast
) -> Response:
    """A user's profile and the statistics of all their ratings; a private one is 404 to others.

    `genres` are those of the rated movies, the most often rated first, and `favourite_genres` those
    that the user likes best; `first` and `last` go by the time of rating. `stale: true` says that
    one of the user's events could not be applied.
    """

    async def read() -> Profile:
        return await wiring.profiles.profile(user_id, caller, at_least=wanted_position)

    return _profile(request, user_id, await wiring.freshness.at_least(wanted_position, read))


@router.get(
    "/{user_id}/ratings",
    responses=documented(RATINGS_PAGE, shapes.RatingsPage, description="A page of ratings"),
)
async def list_ratings(  # One parameter for each part of the request.
    user_id: UUID,
    request: Request,
    wiring: Wired,
    caller: Caller,
    wanted_position: AtLeast,
    sort: RatingsSort = "newest",
    cursor: Cursor = None,
    limit: Limit = LIMIT_DEFAULT,
) -> Response:
    """The movies that a user rated: newest rating, highest score or title first.

    `difference` is the user's score less the movie's average.
    """
    after = ratings_key(wiring.cursors, cursor, user_id, sort) if cursor else None

    async def read() -> Page:
        return await wiring.pages.ratings(
            user_id, caller, sort, after=after, limit=limit, at_least=wanted_position
        )

    page = await wiring.freshness.at_least(wanted_position, read)
    if page.items is None:
        raise _unknown(user_id).at(page.position)
    next_cursor = page.cursor(wiring.cursors, ratings_list(user_id, sort))
    return listing(request, page.items, next_cursor, page.position, page.newest)


def ratings_list(user_id: UUID, sort: RatingsSort) -> str:
    """What a cursor of a user's ratings is bound to."""
    return f"ratings:{user_id.hex}:{sort}"


def ratings_key(cursors: Cursors, cursor: str, user_id: UUID, sort: RatingsSort) -> tuple[Any, ...]:
    """Where a page of this order goes on; raises `InvalidInput` for another's cursor."""
    return cursors.open(ratings_list(user_id, sort), cursor, RATINGS_KEY_TYPES[sort])


@router.get(
    "/{user_id}/ratings/{movie_id}",
    responses=documented(RATING, shapes.RatedMovie, description="The rating"),
)
async def get_rating(  # One parameter for each part of the request.
    user_id: UUID,
    movie_id: UUID,
    request: Request,
    wiring: Wired,
    caller: Caller,
    wanted_position: AtLeast,
) -> Response:
    """One user's rating of one movie."""

    async def read() -> Page:
        index, of_index = wiring.feed.require(wanted_position), wiring.feed.position
        position, newest, (rated,) = await wiring.reader.rated(movie_id, [user_id])
        if not is_visible(rated.profile, user_id, caller):
            if rated.profile is None:
                await wiring.reader.require_absent(PROFILES, user_id, "profile", "stats")
            return Page(position, None, None)
        items = []
        if rated.rank is not None:
            entry = index.entries.get(movie_id.bytes)
            items = [rating_item(entry, (movie_id.bytes, rated.rank), rated.review)]
        return Page(min(position, of_index), items, None, max(newest, index.newest))

    one = await wiring.freshness.at_least(wanted_position, read)
    if one.items is None:
        raise _unknown(user_id).at(one.position)
    if not one.items:
        raise NotFound(f"user {user_id} has not rated movie {movie_id}").at(one.position)
    return document(request, one.items[0], one.position, newest=one.newest)


def _profile(request: Request, user_id: UUID, found: Profile, *, own: bool = False) -> Response:
    if found.body is None:
        raise _unknown(user_id).at(found.position)
    return document(request, found.body, found.position, newest=found.newest, own=own)


def _unknown(user_id: UUID) -> NotFound:
    """Raised once a read is fresh enough, never by the read itself: it may be behind."""
    return NotFound(f"there is no user {user_id}")
