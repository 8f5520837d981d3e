"""The routes of the query API. Reads see the client's own writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import Any, Literal, ParamSpec, TypeVar

import msgspec

from starfold_client.answers import (
    Day,
    Genre,
    LeftMovie,
    ListedMovie,
    Movie,
    OwnProfile,
    Page,
    PastStatistics,
    Profile,
    Projections,
    QueryReadiness,
    RatedMovie,
    Rater,
    WithdrawnRating,
)
from starfold_client.exchange import Arguments, Endpoint, shape
from starfold_client.routes import Build, ListRoute, Route
from starfold_client.rows import Id

P = ParamSpec("P")
T = TypeVar("T")
Item = TypeVar("Item")


def read(
    path: str, decode: Callable[[bytes], T], *, has_credential: bool = True
) -> Callable[[Build[P]], Route[P, T]]:
    """Make a method a route of the query API."""
    endpoint = Endpoint("query", "GET", path, decode, has_credential=has_credential)
    return lambda build: Route(endpoint, build)


def listing(
    path: str, decode: Callable[[bytes], Page[Item]]
) -> Callable[[Build[P]], ListRoute[P, Item]]:
    """Make a method a list of the query API."""
    return lambda build: ListRoute(Endpoint("query", "GET", path, decode), build)


class _MayHaveLeft(msgspec.Struct):
    left: str | None = None


_raw_page = msgspec.json.Decoder(Page[msgspec.Raw]).decode
_may_have_left = msgspec.json.Decoder(_MayHaveLeft).decode
_left = msgspec.json.Decoder(LeftMovie).decode
_listed = msgspec.json.Decoder(ListedMovie).decode


def _chosen(content: bytes) -> list[ListedMovie | LeftMovie | None]:
    """Decode the movies of given ids."""
    return [None if bytes(item) == b"null" else _movie(item) for item in _raw_page(content).items]


def _changed(content: bytes) -> Page[ListedMovie | LeftMovie]:
    page = _raw_page(content)
    return Page([_movie(item) for item in page.items], page.next_cursor)


def _movie(item: msgspec.Raw) -> ListedMovie | LeftMovie:
    """Decode a movie of a list, which says so if it has left the catalogue."""
    return _listed(item) if _may_have_left(item).left is None else _left(item)


class _MayBeWithdrawn(msgspec.Struct):
    withdrawn: bool = False


_may_be_withdrawn = msgspec.json.Decoder(_MayBeWithdrawn).decode
_withdrawn = msgspec.json.Decoder(WithdrawnRating).decode
_rated = msgspec.json.Decoder(RatedMovie).decode


def _changed_ratings(content: bytes) -> Page[RatedMovie | WithdrawnRating]:
    page = _raw_page(content)
    items = [
        _withdrawn(item) if _may_be_withdrawn(item).withdrawn else _rated(item)
        for item in page.items
    ]
    return Page(items, page.next_cursor)


class Reads:
    """Reads, by the operation ids of the API's OpenAPI document.

    A list is one page from `cursor` on; its `all` iterates over the pages.
    """

    @listing("/v1/movies", shape(Page[ListedMovie]))
    def list_movies(
        self,
        *,
        q: str | None = None,
        sort: Literal["match", "weighted", "average", "count", "newest", "title"] | None = None,
        rated_in_days: Literal[7, 30, 365] | None = None,
        genre: str | None = None,
        director: str | None = None,
        year_min: int | None = None,
        year_max: int | None = None,
        count: bool | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Arguments:
        """List movies in an order, filtered by every condition given; `q` searches titles."""
        return _query(
            q=q,
            sort=sort,
            rated_in_days=rated_in_days,
            genre=genre,
            director=director,
            year_min=year_min,
            year_max=year_max,
            count=count,
            limit=limit,
            cursor=cursor,
        )

    @read("/v1/movies", _chosen)
    def get_movies(self, ids: Sequence[Id]) -> Arguments:
        """Return at most 100 movies in this order, None for an unknown one."""
        return Arguments(query={"ids": ids})

    @listing("/v1/movies", _changed)
    def list_changed_movies(
        self, changed_since: int, *, limit: int | None = None, cursor: str | None = None
    ) -> Arguments:
        """List the movies that changed after a position in the order of their last change.

        The `position` of the last one is the next `changed_since`.
        """
        query = {"changed_since": changed_since, "limit": limit, "cursor": cursor}
        return Arguments(query=query)

    @read("/v1/movies/by/{catalogue}/{id}", shape(Movie))
    def find_movie(
        self,
        catalogue: Literal["imdb", "tmdb", "external"],
        id: str | int,  # noqa: A002  # A method has the API's names, and a test compares them.
    ) -> Arguments:
        """Return the movie that has an id in another catalogue."""
        return Arguments({"catalogue": catalogue, "id": id})

    @listing("/v1/genres", shape(Page[Genre]))
    def list_genres(self, *, limit: int | None = None, cursor: str | None = None) -> Arguments:
        """List the genres with the number of their movies, most movies first."""
        return Arguments(query={"limit": limit, "cursor": cursor})

    @read("/v1/movies/{movie_id}", shape(Movie))
    def get_movie(self, movie_id: Id) -> Arguments:
        """Return a movie with the statistics of its ratings."""
        return Arguments({"movie_id": movie_id})

    @listing("/v1/movies/{movie_id}/ratings", shape(Page[Rater]))
    def list_movie_ratings(
        self,
        movie_id: Id,
        *,
        sort: Literal["newest", "score"] | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Arguments:
        """List a movie's ratings; private users are left out, so that a page may be short."""
        return Arguments({"movie_id": movie_id}, {"sort": sort, "limit": limit, "cursor": cursor})

    @read("/v1/movies/{movie_id}/stats", shape(PastStatistics))
    def get_movie_stats(self, movie_id: Id, *, as_of: date | None = None) -> Arguments:
        """Return the statistics at the end of a UTC day, by time of rating."""
        return Arguments({"movie_id": movie_id}, {"as_of": as_of})

    @listing("/v1/movies/{movie_id}/history", shape(Page[Day]))
    def list_movie_history(
        self,
        movie_id: Id,
        *,
        resolution: Literal["day", "week", "month", "year"] | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Arguments:
        """List the days on which a movie's statistics changed, or periods by their first day."""
        query = {"resolution": resolution, "limit": limit, "cursor": cursor}
        return Arguments({"movie_id": movie_id}, query)

    @read("/v1/users/me", shape(OwnProfile))
    def get_me(self) -> Arguments:
        """Return the caller's own profile, even a private one."""
        return Arguments()

    @read("/v1/users/{user_id}", shape(Profile))
    def get_profile(self, user_id: Id) -> Arguments:
        """Return a public profile."""
        return Arguments({"user_id": user_id})

    @listing("/v1/users/{user_id}/ratings", shape(Page[RatedMovie]))
    def list_user_ratings(
        self,
        user_id: Id,
        *,
        sort: Literal["newest", "score", "title"] | None = None,
        count: bool | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Arguments:
        """List the movies that a user rated."""
        query = {"sort": sort, "count": count, "limit": limit, "cursor": cursor}
        return Arguments({"user_id": user_id}, query)

    @listing("/v1/users/{user_id}/ratings", _changed_ratings)
    def list_changed_user_ratings(
        self,
        user_id: Id,
        changed_since: int,
        *,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Arguments:
        """List the ratings that changed after a position in the order of their last change.

        The `position` of the last one is the next `changed_since`.
        """
        query = {"changed_since": changed_since, "limit": limit, "cursor": cursor}
        return Arguments({"user_id": user_id}, query)

    @read("/v1/users/{user_id}/ratings/{movie_id}", shape(RatedMovie))
    def get_user_rating(self, user_id: Id, movie_id: Id) -> Arguments:
        """Return one user's rating of one movie."""
        return Arguments({"user_id": user_id, "movie_id": movie_id})

    @read("/v1/projections", shape(Projections))
    def list_projections(self) -> Arguments:
        """Return the progress of each generation of the read models (operators)."""
        return Arguments()

    @read("/ready", shape(QueryReadiness), has_credential=False)
    def query_ready(self) -> Arguments:
        """Return the active generations, once the read models can be served."""
        return Arguments()


def _query(**parameters: Any) -> Arguments:
    return Arguments(query=parameters)
