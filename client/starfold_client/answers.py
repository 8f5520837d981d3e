"""Answers of both APIs. Fields that a newer Starfold adds are ignored."""

from __future__ import annotations

import math
from datetime import date, datetime
from typing import Any, Generic, Literal, TypeVar
from uuid import UUID

import msgspec

from starfold_client.errors import FieldProblem

Item = TypeVar("Item")

Visibility = Literal["public", "private"]
Role = Literal["member", "curator", "operator"]


class Page(msgspec.Struct, Generic[Item]):
    """A part of a list; `next_cursor` is None on the last one.

    `count` is the length of the whole list, if it was asked for.
    """

    items: list[Item]
    next_cursor: str | None
    count: int | None = None


# The command API answers with these.


class CreatedUser(msgspec.Struct):
    user_id: UUID


class NamedMovie(msgspec.Struct):
    """A created movie, or the one that remains after a merge."""

    movie_id: UUID


class Rated(msgspec.Struct):
    status: Literal["created", "changed", "unchanged"]


class Session(msgspec.Struct, frozen=True):
    """The tokens of a session; a text of it does not show them."""

    access_token: str
    refresh_token: str
    expires_in_s: float = math.inf
    token_type: str = "Bearer"

    def __repr__(self) -> str:
        return f"Session(expires_in_s={self.expires_in_s})"


class CreatedKey(msgspec.Struct):
    """A new service key, which no other answer has; a text of it does not show the key."""

    key_id: UUID
    api_key: str

    def __repr__(self) -> str:
        return f"CreatedKey(key_id={self.key_id})"


class ListedSession(msgspec.Struct):
    """An open session of the caller; `last_used_at` is the time of its last refresh."""

    session_id: UUID
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    user_agent: str | None
    is_current: bool


class ListedSessions(msgspec.Struct):
    sessions: list[ListedSession]


class RowProblem(msgspec.Struct):
    type: str
    detail: str
    errors: list[FieldProblem] = []


class RowResult(msgspec.Struct):
    """The result of one row; `index` counts all rows of the call.

    It has `user_id` or `movie_id` if the row creates one, and `problem` if it was rejected. `moved`
    means that the movie was merged into `movie_id`, and nothing was recorded.
    """

    index: int
    status: Literal["created", "changed", "unchanged", "superseded", "moved", "rejected"]
    user_id: UUID | None = None
    movie_id: UUID | None = None
    problem: RowProblem | None = None


class RowResults(msgspec.Struct):
    results: list[RowResult]


class Export(msgspec.Struct):
    """All stored data of a user; entries have the event, its time and its fields."""

    user_id: UUID
    position: int
    behind: int
    account: list[dict[str, Any]]
    sessions: list[dict[str, Any]]
    ended_sessions: list[dict[str, Any]]
    ratings: list[dict[str, Any]]


class Candidate(msgspec.Struct):
    movie_id: UUID
    title: str
    year: int


class UnmatchedFilm(msgspec.Struct):
    """A film of an import without a movie; choose one by its number `film`."""

    film: int
    title: str | None
    year: int | None
    half_stars: int
    candidates: list[Candidate]


class Import(msgspec.Struct):
    """An import of ratings; `rows` counts the rows of the file by outcome.

    `unmatched` are the films to choose a movie for, up to 200, where one finished import is read.
    """

    import_id: UUID
    state: Literal["queued", "reading", "writing", "finished", "failed"]
    format: str | None
    created_at: datetime
    progress: float
    rows: dict[str, int]
    failure: str | None
    unmatched: list[UnmatchedFilm]


class Imports(msgspec.Struct):
    items: list[Import]


class CommandReadiness(msgspec.Struct):
    """The command API is ready; `position` is the last one of the log."""

    status: str
    position: int


# The query API answers with these.


class WeightedBy(msgspec.Struct):
    """The weighted average is `(count * average + m * C) / (count + m)`."""

    m: int
    C: float


class Statistics(msgspec.Struct, kw_only=True):
    """Averages and median are None when there is no rating."""

    count: int
    average: float | None
    median: float | None
    weighted_average: float | None
    histogram: list[int]
    position: int
    weighted_by: WeightedBy


class Movie(msgspec.Struct, kw_only=True):
    """A movie; `version` is for `if_match` of a correction."""

    movie_id: UUID
    title: str
    original_title: str | None = None
    alternative_titles: list[str] = []
    year: int
    genres: list[str]
    directors: list[str]
    writers: list[str]
    cast: list[str]
    runtime_min: int | None
    languages: list[str]
    countries: list[str]
    certificate: str | None
    description: str | None
    imdb_id: str | None
    tmdb_id: int | None = None
    poster_url: str | None
    external_id: str | None
    created_at: datetime
    position: int = 0
    version: int
    ratings: Statistics
    stale: bool = False


class ListedStatistics(msgspec.Struct):
    count: int
    average: float | None
    weighted_average: float | None


class ListedMovie(msgspec.Struct, kw_only=True):
    """A movie of a list; a list of changes has the `position` of its last one."""

    movie_id: UUID
    title: str
    original_title: str | None = None
    alternative_titles: list[str] = []
    year: int
    genres: list[str]
    external_id: str | None
    imdb_id: str | None
    tmdb_id: int | None = None
    poster_url: str | None
    runtime_min: int | None
    ratings: ListedStatistics
    stale: bool = False
    position: int | None = None


class LeftMovie(msgspec.Struct):
    """A movie that left the catalogue: merged `into` another one, or withdrawn."""

    movie_id: UUID
    left: Literal["merged", "withdrawn"]
    into: UUID | None
    position: int | None = None


class Genre(msgspec.Struct):
    """A genre of the catalogue, and the number of its movies."""

    genre: str
    count: int


class PastStatistics(msgspec.Struct):
    movie_id: UUID
    as_of: date
    ratings: Statistics
    stale: bool = False


class Day(msgspec.Struct):
    """Count and average at the end of a UTC day, or of the period that begins on it."""

    date: date
    count: int
    average: float | None


class Rater(msgspec.Struct):
    """A rating of a movie; an erased user has no name."""

    user_id: UUID
    display_name: str | None
    erased: bool
    score: float
    review: str | None
    rated_at: datetime


class GenreTally(msgspec.Struct):
    genre: str
    count: int
    average: float


class DatedScore(msgspec.Struct):
    movie_id: UUID
    score: float
    rated_at: datetime


class ProfileStatistics(Statistics, kw_only=True):
    """The last four are None for a user with very many ratings."""

    genres: list[GenreTally] | None
    favourite_genres: list[str] | None
    first: DatedScore | None
    last: DatedScore | None


class Profile(msgspec.Struct, kw_only=True):
    user_id: UUID
    display_name: str | None
    visibility: Visibility
    erased: bool
    created_at: datetime
    ratings: ProfileStatistics
    stale: bool = False


class OwnProfile(Profile, kw_only=True):
    email: str | None
    email_verified: bool = False


class RatedMovie(msgspec.Struct, kw_only=True):
    """A rating by a user; title, year and average are None for a movie created a moment ago.

    A list of changes has the `position` of its last one.
    """

    movie_id: UUID
    title: str | None
    year: int | None
    movie_average: float | None
    score: float
    difference: float | None
    review: str | None
    rated_at: datetime
    position: int | None = None


class WithdrawnRating(msgspec.Struct):
    """A rating that was withdrawn, or moved to another movie; only in a list of changes."""

    movie_id: UUID
    withdrawn: Literal[True]
    position: int


class Build(msgspec.Struct, kw_only=True):
    """The progress of a build: the events that its shares have read, and have to read."""

    events: int
    events_wanted: int
    events_per_s: float | None
    left_s: float | None


class Generation(msgspec.Struct, kw_only=True):
    """The progress of one generation of a read model."""

    projection: str
    generation: int
    state: str
    definition: int
    audit: str
    checkpoint: int | None
    lag_events: int | None
    lag_s: float | None
    events_per_s: float | None
    parked: int
    stopped: str | None
    build: Build | None = None


class Projections(msgspec.Struct):
    at: datetime
    head: int
    generations: list[Generation]


class ActiveGenerations(msgspec.Struct):
    movies: int
    profiles: int
    changes: int


class QueryReadiness(msgspec.Struct):
    status: str
    generations: ActiveGenerations
    index_position: int


class LiveUpdate(msgspec.Struct, kw_only=True):
    """A movie's current count and average; `position` resumes after it."""

    position: int = 0
    movie_id: UUID
    count: int
    average: float | None


class LiveReset(msgspec.Struct):
    """Changes before `position` are no longer known: read again what you show."""

    position: int
