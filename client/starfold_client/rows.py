"""What callers send: users, movies and ratings. A field that is UNSET is not sent."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

Id = UUID | str


class NewUser(msgspec.Struct, frozen=True):
    """An external user, which a service creates; a repeat finds the first one."""

    external_id: str
    display_name: str


class MovieChanges(msgspec.Struct, frozen=True, kw_only=True):
    """The fields to replace; None empties one that may be empty."""

    title: str | UnsetType = UNSET
    original_title: str | UnsetType | None = UNSET
    alternative_titles: list[str] | UnsetType = UNSET
    year: int | UnsetType = UNSET
    genres: list[str] | UnsetType = UNSET
    directors: list[str] | UnsetType = UNSET
    writers: list[str] | UnsetType = UNSET
    cast: list[str] | UnsetType = UNSET
    runtime_min: int | UnsetType | None = UNSET
    languages: list[str] | UnsetType = UNSET
    countries: list[str] | UnsetType = UNSET
    certificate: str | UnsetType | None = UNSET
    description: str | UnsetType | None = UNSET
    imdb_id: str | UnsetType | None = UNSET
    tmdb_id: int | UnsetType | None = UNSET
    poster_url: str | UnsetType | None = UNSET


class NewMovie(MovieChanges, frozen=True, kw_only=True):
    """A movie to create; a repeat of an `external_id` finds the first one."""

    title: str
    year: int
    external_id: str | UnsetType | None = UNSET


class NewRating(msgspec.Struct, frozen=True, kw_only=True):
    """A rating; only a service names the user.

    Without `review` the current one stays, None removes it. Without `rated_at` it is now.
    """

    movie_id: Id
    score: float
    user_id: Id | UnsetType = UNSET
    review: str | UnsetType | None = UNSET
    rated_at: datetime | UnsetType = UNSET
