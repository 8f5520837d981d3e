"""The routes of the query API. Reads see the client's own writes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any, Literal, ParamSpec, TypeVar

from starfold_client.answers import (
    Day,
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
)
from starfold_client.exchange import Arguments, Endpoint, shape
from starfold_client.routes import Build, ListRoute, Route
from starfold_client.rows import Id

P = ParamSpec("P")
T = TypeVar("T")
Item = TypeVar("Item")


def read(
    path: str, kind: type[T], *, has_credential: bool = True
) -> Callable[[Build[P]], Route[P, T]]:
    """Make a method a route of the query API."""
    return lambda build: Route(_endpoint(path, kind, has_credential=has_credential), build)


def listing(path: str, kind: type[Page[Item]]) -> Callable[[Build[P]], ListRoute[P, Item]]:
    """Make a method a list of the query API."""
    return lambda build: ListRoute(_endpoint(path, kind), build)


def _endpoint(path: str, kind: type[T], *, has_credential: bool = True) -> Endpoint[T]:
    return Endpoint("query", "GET", path, shape(kind), has_credential=has_credential)


class Reads:
    """Reads, by the operation ids of the API's OpenAPI document.

    A list is one page from `cursor` on; its `all` iterates over the pages.
    """

    @listing("/v1/movies", Page[ListedMovie])
    def list_movies(
        self,
        *,
        q: str | None = None,
        sort: Literal["match", "weighted", "average", "count", "newest", "title"] | None = None,
        genre: str | None = None,
        director: str | None = None,
        year_min: int | None = None,
        year_max: int | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Arguments:
        """List movies in an order, filtered by every condition given; `q` searches titles."""
        return _query(
            q=q,
            sort=sort,
            genre=genre,
            director=director,
            year_min=year_min,
            year_max=year_max,
            limit=limit,
            cursor=cursor,
        )

    @read("/v1/movies/{movie_id}", Movie)
    def get_movie(self, movie_id: Id) -> Arguments:
        """Return a movie with the statistics of its ratings."""
        return Arguments({"movie_id": movie_id})

    @listing("/v1/movies/{movie_id}/ratings", Page[Rater])
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

    @read("/v1/movies/{movie_id}/stats", PastStatistics)
    def get_movie_stats(self, movie_id: Id, *, as_of: date | None = None) -> Arguments:
        """Return the statistics at the end of a UTC day, by time of rating."""
        return Arguments({"movie_id": movie_id}, {"as_of": as_of})

    @listing("/v1/movies/{movie_id}/history", Page[Day])
    def list_movie_history(
        self, movie_id: Id, *, limit: int | None = None, cursor: str | None = None
    ) -> Arguments:
        """List the days on which a movie's statistics changed."""
        return Arguments({"movie_id": movie_id}, {"limit": limit, "cursor": cursor})

    @read("/v1/users/me", OwnProfile)
    def get_me(self) -> Arguments:
        """Return the caller's own profile, even a private one."""
        return Arguments()

    @read("/v1/users/{user_id}", Profile)
    def get_profile(self, user_id: Id) -> Arguments:
        """Return a public profile."""
        return Arguments({"user_id": user_id})

    @listing("/v1/users/{user_id}/ratings", Page[RatedMovie])
    def list_user_ratings(
        self,
        user_id: Id,
        *,
        sort: Literal["newest", "score", "title"] | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Arguments:
        """List the movies that a user rated."""
        return Arguments({"user_id": user_id}, {"sort": sort, "limit": limit, "cursor": cursor})

    @read("/v1/users/{user_id}/ratings/{movie_id}", RatedMovie)
    def get_user_rating(self, user_id: Id, movie_id: Id) -> Arguments:
        """Return one user's rating of one movie."""
        return Arguments({"user_id": user_id, "movie_id": movie_id})

    @read("/v1/projections", Projections)
    def list_projections(self) -> Arguments:
        """Return the progress of each generation of the read models (operators)."""
        return Arguments()

    @read("/ready", QueryReadiness, has_credential=False)
    def query_ready(self) -> Arguments:
        """Return the active generations, once the read models can be served."""
        return Arguments()


def _query(**parameters: Any) -> Arguments:
    return Arguments(query=parameters)
