"""Movies: details and statistics, lists and search, ratings of a movie."""

from __future__ import annotations

from query_api.catalogue.index import KEY_TYPES, Filter, Sort
from query_api.http import shapes
from query_api.http.absent import AbsentMovies
from query_api.http.parameters import ListRead, Read, Text, Year
from query_api.http.responses import CLOSED, document, documented, listing
from query_api.redis_reads.freshness import Freshness
from query_api.redis_reads.reader import Documents, Reader
from query_api.views.cursors import Cursors
from query_api.views.movie_ratings import RATERS_KEY_TYPES, Raters, RatersSort
from query_api.views.pages import Page, Pages
from query_api.views.rendering import with_ratings
from shared.errors import InvalidInput
from shared.read_model.documents import movie_version
from shared.read_model.keys import MOVIES
from shared.read_model.kinds import MOVIE, PARKED_MARK, STATISTICS
from shared.web.answer import Answer
from shared.web.identifiers import CanonicalUuid
from shared.web.operation import Request, operation

_DOCUMENTS = (MOVIE.name, STATISTICS.name, PARKED_MARK.name)


class CatalogueRead(ListRead):
    """The order of a list of movies, and its filters."""

    sort: Sort | None = None
    genre: Text = None
    director: Text = None
    year_min: Year = None
    year_max: Year = None
    q: Text = None

    @property
    def wanted(self) -> Filter:
        return Filter(*map(vars(self).get, Filter._fields))

    @property
    def order(self) -> Sort:
        """The order; raises `InvalidInput` for `match` without a search text."""
        if self.sort == "match" and self.q is None:
            raise InvalidInput("the order match needs a search: give q", pointer="/query/sort")
        return self.sort or ("weighted" if self.q is None else "match")


class MovieRead(Read):
    movie_id: CanonicalUuid


class RatersRead(ListRead):
    movie_id: CanonicalUuid
    sort: RatersSort = "newest"


class Movies:
    def __init__(
        self,
        reader: Reader,
        freshness: Freshness,
        cursors: Cursors,
        pages: Pages,
        raters: Raters,
        absent: AbsentMovies,
    ) -> None:
        self._reader = reader
        self._freshness = freshness
        self._cursors = cursors
        self._pages = pages
        self._raters = raters
        self._absent = absent

    @operation(
        "GET",
        "/v1/movies",
        tag="movies",
        access="anyone",
        parameters=CatalogueRead,
        answers=documented(shapes.MoviesPage, description="A page of movies"),
    )
    async def list_movies(self, request: Request[CatalogueRead, None]) -> Answer:
        """List movies in an order, filtered by every condition given.

        `q` finds titles in which each of its words is the beginning of some word. It ignores case
        and accents, and finds words with or without their apostrophes, hyphens and dots. A search
        is ordered by how well titles match unless `sort` says otherwise; without `q` the order is
        `weighted`.
        """
        asked = request.parameters
        order, wanted, at_least = asked.order, asked.wanted, asked.at_least
        of = f"movies:{order}"
        after = self._cursors.open(of, asked.cursor, KEY_TYPES[order]) if asked.cursor else None

        async def read() -> Page:
            return await self._pages.catalogue(
                order, wanted, after=after, limit=asked.limit, at_least=at_least
            )

        page = await self._freshness.at_least(at_least, read)
        assert page.items is not None
        cursor = page.cursor(self._cursors, of)
        return listing(request, page.items, cursor, page.position, page.newest)

    @operation(
        "GET",
        "/v1/movies/{movie_id}",
        tag="movies",
        access="anyone",
        parameters=MovieRead,
        answers=documented(shapes.Movie, description="The movie") | CLOSED,
    )
    async def get_movie(self, request: Request[MovieRead, None]) -> Answer:
        """Return a movie's details and rating statistics, with the position of its last rating.

        `stale: true` means that one of the movie's events could not be applied.
        """
        asked = request.parameters

        async def read() -> Documents:
            return await self._reader.documents(MOVIES, asked.movie_id, _DOCUMENTS)

        found = await self._freshness.at_least(asked.at_least, read)
        movie, statistics, parked = found.values
        if movie is None or statistics is None:
            raise await self._absent.error(asked.movie_id, found.position, parked)
        body = with_ratings(movie, statistics, parked)
        return document(request, body, found.position, version=movie_version(movie))

    @operation(
        "GET",
        "/v1/movies/{movie_id}/ratings",
        tag="movies",
        access="anyone",
        parameters=RatersRead,
        answers=documented(shapes.RatersPage, description="A page of ratings") | CLOSED,
    )
    async def list_movie_ratings(self, request: Request[RatersRead, None]) -> Answer:
        """List a movie's ratings, newest or highest first; private users count but are not shown.

        A page may therefore hold fewer than `limit` ratings while there are more: follow
        `next_cursor`.
        """
        asked = request.parameters
        movie_id, sort = asked.movie_id, asked.sort
        of = f"raters:{movie_id.hex}:{sort}"
        after = None
        if asked.cursor:
            after = self._cursors.open(of, asked.cursor, RATERS_KEY_TYPES[sort])

        async def read() -> Page:
            return await self._raters.page(movie_id, sort, after=after, limit=asked.limit)

        page = await self._freshness.at_least(asked.at_least, read)
        if page.items is None:
            raise await self._absent.error(movie_id, page.position)
        cursor = page.cursor(self._cursors, of)
        return listing(request, page.items, cursor, page.position, page.newest)
