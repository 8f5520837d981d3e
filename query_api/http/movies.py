"""Movies: details and statistics, lists and search, ratings of a movie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from query_api.catalogue.index import KEY_TYPES, Filter, Sort
from query_api.catalogue.lookups import Catalogue
from query_api.catalogue.trends import TREND_KEY_TYPE, Window
from query_api.feed.index_feed import IndexFeed
from query_api.http import shapes
from query_api.http.absent import AbsentMovies
from query_api.http.parameters import (
    CatalogueId,
    ChangesRead,
    Count,
    ListRead,
    MovieIds,
    RatedInDays,
    Read,
    Text,
    Year,
    movie_ids,
)
from query_api.http.responses import CLOSED, document, documented, page_answer
from query_api.redis_reads.freshness import Freshness
from query_api.redis_reads.reader import Documents, Reader
from query_api.views.cursors import Cursors
from query_api.views.movie_ratings import RATERS_KEY_TYPES, Raters, RatersSort
from query_api.views.pages import Page, Pages
from query_api.views.rendering import with_ratings
from shared.errors import InvalidInput, NotFound
from shared.ids import START, Position
from shared.read_model.documents import movie_version
from shared.read_model.keys import MOVIES
from shared.read_model.kinds import MOVIE, PARKED_MARK, STATISTICS
from shared.web.answer import Answer
from shared.web.operation import Request, operation
from shared.web.parameter_types import CanonicalUuid

# The name of this list in its cursors.
CHANGE_ORDER = "movies:changed"

_DOCUMENTS = (MOVIE.name, STATISTICS.name, PARKED_MARK.name)


class _Found(NamedTuple):
    """The documents of the movie that has an id, None if there is none."""

    position: Position
    newest: Position
    movie_id: UUID | None
    values: Sequence[bytes | None]


class CatalogueRead(ChangesRead):
    """The order of a list of movies, and its filters."""

    sort: Sort | None = None
    rated_in_days: RatedInDays = None
    genre: Text = None
    director: Text = None
    year_min: Year = None
    year_max: Year = None
    q: Text = None
    count: Count = False
    ids: MovieIds = None

    @property
    def wanted(self) -> Filter:
        return Filter(*map(vars(self).get, Filter._fields))

    @property
    def order(self) -> Sort | Window:
        """The order; raises `InvalidInput` for two, and for `match` without a search text."""
        if self.rated_in_days is not None:
            if self.sort is not None:
                detail = "rated_in_days is an order: it takes no sort beside it"
                raise InvalidInput(detail, pointer="/query/rated_in_days")
            return self.rated_in_days
        if self.sort == "match" and self.q is None:
            raise InvalidInput("the order match needs a search: give q", pointer="/query/sort")
        return self.sort or ("weighted" if self.q is None else "match")

    @property
    def chosen(self) -> list[bytes] | None:
        """The movies in `ids`, None for all; raises `InvalidInput` with anything else beside it."""
        if self.ids is None:
            return None
        self.require_alone("ids", {"ids", "at_least"})
        return movie_ids(self.ids, pointer="/query/ids")


class LookUp(Read):
    """An id in another catalogue."""

    catalogue: Catalogue
    id: CatalogueId


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
        feed: IndexFeed,
    ) -> None:
        self._reader = reader
        self._feed = feed
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

        `q` finds titles in which each of its words is the beginning of some word. It ignores case,
        accents and leading articles, and finds words with or without their apostrophes, hyphens and
        dots. A year narrows it, and typos are forgiven if few titles match. A search is ordered by
        how well titles match unless `sort` says otherwise; without `q` the order is `weighted`.

        `rated_in_days` lists only the movies with more ratings given than withdrawn in the last 7,
        30 or 365 days (UTC), today among them, the ones with most of them first.

        `ids` selects movies, in this order: null stands for an unknown one, and one that left the
        catalogue has `left` and `into`. It takes no other parameter beside it.

        `changed_since` lists the movies that changed after a position, also those that left, each
        once and with the `position` of its last change, in that order. To follow, pass the last
        `position` as the next `changed_since`.
        """
        asked = request.parameters
        chosen, since = asked.chosen, asked.since
        if since is not None:
            return await self._list_changes(request, since)
        order, wanted, at_least = asked.order, asked.wanted, asked.at_least
        of = f"movies:{order}"
        key_type = TREND_KEY_TYPE if isinstance(order, int) else KEY_TYPES[order]
        after = self._cursors.open(of, asked.cursor, key_type) if asked.cursor else None

        async def read() -> Page:
            if chosen is not None:
                return self._pages.chosen(chosen, at_least)
            return await self._pages.catalogue(
                order,
                wanted,
                after=after,
                limit=asked.limit,
                at_least=at_least,
                count=asked.count,
            )

        page = await self._freshness.at_least(at_least, read)
        return page_answer(request, page, self._cursors, of)

    async def _list_changes(self, request: Request[CatalogueRead, None], since: Position) -> Answer:
        asked = request.parameters
        if asked.cursor:
            since, _ = self._cursors.open(CHANGE_ORDER, asked.cursor, tuple[Position, bytes])

        async def read() -> Page:
            return self._pages.changed(since, asked.limit, asked.at_least)

        page = await self._freshness.at_least(asked.at_least, read)
        return page_answer(request, page, self._cursors, CHANGE_ORDER)

    @operation(
        "GET",
        "/v1/movies/by/{catalogue}/{id}",
        tag="movies",
        access="anyone",
        parameters=LookUp,
        answers=documented(shapes.Movie, description="The movie") | CLOSED,
    )
    async def find_movie(self, request: Request[LookUp, None]) -> Answer:
        """Return the movie that has an id in another catalogue, as `GET /v1/movies/{movie_id}`.

        An id that a movie had when it left the catalogue still leads to it until another movie has
        the id.
        """
        asked = request.parameters

        async def read() -> _Found:
            index, of_index = self._feed.require(asked.at_least), self._feed.position
            movie = index.lookups.find(asked.catalogue, asked.id)
            if movie is None:
                return _Found(of_index, START, None, (None, None, None))
            movie_id = UUID(bytes=movie)
            found = await self._reader.documents(MOVIES, movie_id, _DOCUMENTS)
            oldest = min(found.position, of_index)
            return _Found(oldest, found.position, movie_id, found.values)

        found = await self._freshness.at_least(asked.at_least, read)
        if found.movie_id is None:
            detail = f"there is no movie with the {asked.catalogue} id {asked.id!r}"
            raise NotFound(detail).at(found.position)
        movie, statistics, parked = found.values
        if movie is None or statistics is None:
            raise await self._absent.error(found.movie_id, found.position, parked)
        body, version = with_ratings(movie, statistics, parked), movie_version(movie)
        return document(request, body, found.position, newest=found.newest, version=version)

    @operation(
        "GET",
        "/v1/genres",
        tag="movies",
        access="anyone",
        parameters=ListRead,
        answers=documented(shapes.GenresPage, description="A page of genres"),
    )
    async def list_genres(self, request: Request[ListRead, None]) -> Answer:
        """List the genres of the catalogue with the number of their movies, most movies first.

        A genre is shown in its most frequent spelling; case and accents do not distinguish two.
        """
        asked = request.parameters
        after = None
        if asked.cursor:
            after = self._cursors.open("genres", asked.cursor, tuple[int, str])

        async def read() -> Page:
            return self._pages.genres(after, asked.limit, asked.at_least)

        page = await self._freshness.at_least(asked.at_least, read)
        return page_answer(request, page, self._cursors, "genres")

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
        return page_answer(request, page, self._cursors, of)
