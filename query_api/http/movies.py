"""Movies: one with its statistics, lists and search, who rated one."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Request, Response

from query_api.catalogue.index import KEY_TYPES, Filter, Key, Sort
from query_api.catalogue.search_key import search_key
from query_api.http import shapes
from query_api.http.absent import no_movie
from query_api.http.caller_route import CallerRoute
from query_api.http.dependencies import AtLeast, Wired
from query_api.http.examples import MOVIE, MOVIES_PAGE, RATERS_PAGE
from query_api.http.parameters import LIMIT_DEFAULT, Cursor, Limit, Text, Year
from query_api.http.responses import (
    CALLER_PROBLEMS,
    PROBLEMS,
    document,
    documented,
    listing,
)
from query_api.redis_reads.reader import Documents
from query_api.views.cursors import Cursors
from query_api.views.movie_ratings import RATERS_KEY_TYPES, RatersSort
from query_api.views.pages import Page
from query_api.views.rendering import with_ratings
from shared.errors import InvalidInput
from shared.read_model.layout import MOVIES, PARKED

router = APIRouter(
    prefix="/v1/movies",
    tags=["movies"],
    responses=PROBLEMS | CALLER_PROBLEMS,
    route_class=CallerRoute,
)


@router.get(
    "", responses=documented(MOVIES_PAGE, shapes.MoviesPage, description="A page of movies")
)
async def list_movies(  # One parameter for each filter.
    request: Request,
    wiring: Wired,
    wanted_position: AtLeast,
    sort: Sort | None = None,
    genre: Text = None,
    director: Text = None,
    year_min: Year = None,
    year_max: Year = None,
    q: Text = None,
    cursor: Cursor = None,
    limit: Limit = LIMIT_DEFAULT,
) -> Response:
    """Movies in an order, narrowed by every filter given.

    `q` finds titles in which every word of it begins a word, without case or accents, and with or
    without the apostrophes, hyphens and dots inside words. It orders them by how well they match
    unless `sort` says otherwise; without `q` the order is `weighted`.
    """
    wanted = Filter(
        genre=search_key(genre) if genre else None,
        director=search_key(director) if director else None,
        year_min=year_min,
        year_max=year_max,
        q=q,
    )
    order = sort_of(sort, q)
    after = catalogue_key(wiring.cursors, cursor, order) if cursor else None

    async def read() -> Page:
        return await wiring.pages.catalogue(
            order, wanted, after=after, limit=limit, at_least=wanted_position
        )

    page = await wiring.freshness.at_least(wanted_position, read)
    assert page.items is not None
    next_cursor = page.cursor(wiring.cursors, catalogue_list(order))
    return listing(request, page.items, next_cursor, page.position, page.newest)


def sort_of(sort: Sort | None, q: str | None) -> Sort:
    """The order asked for, or the usual one; raises `InvalidInput` for a match with nothing."""
    if sort == "match" and q is None:
        raise InvalidInput("match is the order of a search: give q", pointer="/query/sort")
    return sort or ("weighted" if q is None else "match")


def catalogue_list(sort: Sort) -> str:
    """What a cursor of the catalogue is bound to."""
    return f"movies:{sort}"


def catalogue_key(cursors: Cursors, cursor: str, sort: Sort) -> Key:
    """Where a page of this order goes on; raises `InvalidInput` for another's cursor."""
    return cursors.open(catalogue_list(sort), cursor, KEY_TYPES[sort])


@router.get("/{movie_id}", responses=documented(MOVIE, shapes.Movie, description="The movie"))
async def get_movie(
    movie_id: UUID, request: Request, wiring: Wired, wanted_position: AtLeast
) -> Response:
    """A movie's details and its rating statistics; `position` is of the last rating in them.

    `stale: true` says that one of its events could not be applied.
    """

    async def read() -> Documents:
        return await wiring.reader.documents(MOVIES, movie_id, ("movie", "stats", PARKED))

    found = await wiring.freshness.at_least(wanted_position, read)
    movie, statistics, parked = found.values
    if movie is None or statistics is None:
        raise await no_movie(wiring, movie_id, found.position, parked)
    return document(request, with_ratings(movie, statistics, parked), found.position)


@router.get(
    "/{movie_id}/ratings",
    responses=documented(RATERS_PAGE, shapes.RatersPage, description="Who rated it"),
)
async def list_ratings(  # One parameter for each part of the request.
    movie_id: UUID,
    request: Request,
    wiring: Wired,
    wanted_position: AtLeast,
    sort: RatersSort = "newest",
    cursor: Cursor = None,
    limit: Limit = LIMIT_DEFAULT,
) -> Response:
    """A movie's ratings, the newest or the highest first; private users' are counted, not shown.

    So a page may hold fewer than `limit` while there are more: `next_cursor` says so.
    """
    of = f"raters:{movie_id.hex}:{sort}"
    after = wiring.cursors.open(of, cursor, RATERS_KEY_TYPES[sort]) if cursor else None

    async def read() -> Page:
        return await wiring.raters.page(movie_id, sort, after=after, limit=limit)

    page = await wiring.freshness.at_least(wanted_position, read)
    if page.items is None:
        raise await no_movie(wiring, movie_id, page.position)
    next_cursor = page.cursor(wiring.cursors, of)
    return listing(request, page.items, next_cursor, page.position, page.newest)
