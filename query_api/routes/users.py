"""Users: public profiles, and the movies that a user rated."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

import msgspec
from fastapi import APIRouter, Request, Response

from query_api.cursors import decode_cursor
from query_api.reader import Documents, RankedPage
from query_api.routes.answers import (
    LIMIT_DEFAULT,
    PROBLEMS,
    Cursor,
    Limit,
    document,
    example,
    listing,
    with_ratings,
)
from query_api.routes.examples import PROFILE, RATING, RATINGS_PAGE
from query_api.wiring import AtLeast, Caller, Wired, Wiring
from shared.errors import NotAuthenticated, NotFound
from shared.ids import Position
from shared.read_model import (
    MOVIES,
    PARKED,
    PROFILES,
    MovieDocument,
    ProfileDocument,
    RatingStatistics,
    from_rating_rank,
)
from shared.tokens import Claims

router = APIRouter(prefix="/v1/users", tags=["users"], responses=PROBLEMS)

_decode_profile = msgspec.json.Decoder(ProfileDocument).decode
_decode_movie = msgspec.json.Decoder(MovieDocument).decode
_decode_statistics = msgspec.json.Decoder(RatingStatistics).decode
_json = msgspec.json.Encoder().encode

Member = tuple[bytes, float]


class _Items(NamedTuple):
    """`items` is None where the user is not to be seen, as of `position`."""

    position: Position
    items: list[bytes] | None
    next_key: tuple[float, bytes] | None


@router.get("/me", responses=example(PROFILE, description="One's own profile"))
async def get_me(
    request: Request, wiring: Wired, caller: Caller, wanted_position: AtLeast
) -> Response:
    """One's own profile, also when it is private."""
    if caller is None:
        raise NotAuthenticated("this needs a user's access token")
    return await get_profile(caller.user_id, request, wiring, caller, wanted_position)


@router.get("/{user_id}", responses=example(PROFILE, description="The profile"))
async def get_profile(
    user_id: UUID, request: Request, wiring: Wired, caller: Caller, wanted_position: AtLeast
) -> Response:
    """A user's profile and the statistics of all their ratings; a private one is 404 to others.

    `stale: true` says that one of the user's events could not be applied.
    """

    async def read() -> Documents:
        return await wiring.reader.documents(PROFILES, user_id, ("profile", "stats", PARKED))

    found = await wiring.freshness.at_least(wanted_position, read)
    profile, statistics, parked = found.values
    if profile is None or not _is_visible(profile, user_id, caller):
        raise _unknown(user_id)
    return document(request, with_ratings(profile, statistics, parked), found.position)


@router.get("/{user_id}/ratings", responses=example(RATINGS_PAGE, description="A page of ratings"))
async def list_ratings(  # One parameter for each part of the request.
    user_id: UUID,
    request: Request,
    wiring: Wired,
    caller: Caller,
    wanted_position: AtLeast,
    cursor: Cursor = None,
    limit: Limit = LIMIT_DEFAULT,
) -> Response:
    """The movies that a user rated, newest rating first."""
    after = decode_cursor(cursor, tuple[float, bytes]) if cursor else None

    async def read() -> _Items:
        page: RankedPage = await wiring.reader.page(
            PROFILES, user_id, "ratings", limit=limit + 1, after=after, kinds=("profile",)
        )
        if not _is_visible(page.values[0], user_id, caller):
            return _Items(page.position, None, None)
        members = page.members[:limit]
        position, items = await _with_movies(wiring, user_id, members)
        last = members[-1] if len(page.members) > limit else None
        next_key = (last[1], last[0]) if last else None
        return _Items(min(page.position, position or page.position), items, next_key)

    page = await wiring.freshness.at_least(wanted_position, read)
    if page.items is None:
        raise _unknown(user_id)
    return listing(request, page.items, page.next_key, page.position)


@router.get("/{user_id}/ratings/{movie_id}", responses=example(RATING, description="The rating"))
async def get_rating(  # One parameter for each part of the request.
    user_id: UUID,
    movie_id: UUID,
    request: Request,
    wiring: Wired,
    caller: Caller,
    wanted_position: AtLeast,
) -> Response:
    """One user's rating of one movie."""

    async def read() -> _Items:
        found, rank = await asyncio.gather(
            wiring.reader.documents(PROFILES, user_id, ("profile",)),
            wiring.reader.rank(PROFILES, user_id, "ratings", movie_id.bytes),
        )
        if not _is_visible(found.values[0], user_id, caller):
            return _Items(found.position, None, None)
        members = [] if rank is None else [(movie_id.bytes, rank)]
        position, items = await _with_movies(wiring, user_id, members)
        return _Items(min(found.position, position or found.position), items, None)

    one = await wiring.freshness.at_least(wanted_position, read)
    if one.items is None:
        raise _unknown(user_id)
    if not one.items:
        raise NotFound(f"user {user_id} has not rated movie {movie_id}")
    return document(request, one.items[0], one.position)


async def _with_movies(
    wiring: Wiring, user_id: UUID, members: Sequence[Member]
) -> tuple[Position | None, list[bytes]]:
    """The ratings joined with their movies and reviews, in one more round trip."""
    if not members:
        return None, []
    movies = [UUID(bytes=member) for member, _ in members]
    reviews, found = await asyncio.gather(
        wiring.reader.fields(PROFILES, user_id, "reviews", [member for member, _ in members]),
        asyncio.gather(
            *(wiring.reader.documents(MOVIES, movie, ("movie", "stats")) for movie in movies)
        ),
    )
    items = [
        _item(movie_id, rank, review, documents)
        for movie_id, (_, rank), review, documents in zip(
            movies, members, reviews, found, strict=True
        )
    ]
    return min(documents.position for documents in found), items


def _item(movie_id: UUID, rank: float, review: bytes | None, documents: Documents) -> bytes:
    """One rating as the API shows it. A movie that is not projected yet has no title."""
    rated_at, half_stars = from_rating_rank(rank)
    stored, stored_statistics = documents.values
    movie = _decode_movie(stored) if stored else None
    statistics = _decode_statistics(stored_statistics) if stored_statistics else None
    return _json(
        {
            "movie_id": movie_id,
            "title": movie.title if movie else None,
            "year": movie.year if movie else None,
            "score": half_stars / 2,
            "review": review.decode() if review is not None else None,
            "rated_at": rated_at,
            "movie_average": statistics.average if statistics else None,
        }
    )


def _is_visible(stored: bytes | None, user_id: UUID, caller: Claims | None) -> bool:
    """Nobody is not, and a private user only to themselves and to operators."""
    if stored is None:
        return False
    profile = _decode_profile(stored)
    trusted = caller is not None and (caller.user_id == user_id or caller.role == "operator")
    return profile.visibility == "public" or trusted


def _unknown(user_id: UUID) -> NotFound:
    """Raised once a read is fresh enough, never by the read itself: it may be behind."""
    return NotFound(f"there is no user {user_id}")
