"""The shapes of answers, for the documentation alone: bodies are passed through as bytes.

Tests hold the examples and real answers against them.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from shared.log.events import Visibility
from shared.read_model.layout import BINS

Stars = Annotated[float, Field(ge=0.5, le=5, description="Stars, four decimals")]
Score = Annotated[float, Field(ge=0.5, le=5, multiple_of=0.5, description="Stars")]
Difference = Annotated[float, Field(description="`score` less `movie_average`")]
Cursor = Annotated[str | None, Field(description="`cursor` of the next page; null on the last")]
Stale = Annotated[
    Literal[True],
    Field(
        description="There only if one of the events could not be applied",
        json_schema_extra=lambda schema: schema.pop("default"),
    ),
]
Bin = Annotated[int, Field(ge=0)]


class Shape(BaseModel):
    """Nothing else is in an answer; that more may come one day is left open to clients."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra=lambda schema: schema.pop("additionalProperties")
    )


class WeightedBy(Shape):
    """The weighted average is `(count * average + m * C) / (count + m)`."""

    m: int
    C: float


class Statistics(Shape):
    """Averages and median are null when there is no rating."""

    count: int
    average: Stars | None
    median: Stars | None
    weighted_average: Stars | None
    histogram: Annotated[
        list[Bin],
        Field(min_length=BINS, max_length=BINS, description="Of each half star, 0.5 first"),
    ]
    position: Annotated[int, Field(description="Log position of the last rating in them")]
    weighted_by: WeightedBy


class Movie(Shape):
    movie_id: UUID
    title: str
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
    poster_url: str | None
    external_id: str | None
    created_at: datetime
    version: Annotated[int, Field(description="For `If-Match` of a correction")]
    ratings: Statistics
    stale: Stale = True


class ListedStatistics(Shape):
    count: int
    average: Stars | None
    weighted_average: Stars | None


class ListedMovie(Shape):
    movie_id: UUID
    title: str
    year: int
    genres: list[str]
    external_id: str | None
    ratings: ListedStatistics


class MoviesPage(Shape):
    items: list[ListedMovie]
    next_cursor: Cursor


class PastStatistics(Shape):
    movie_id: UUID
    as_of: date
    ratings: Statistics
    stale: Stale = True


class Day(Shape):
    """Count and average at the end of a UTC day."""

    date: date
    count: int
    average: Stars | None


class HistoryPage(Shape):
    items: list[Day]
    next_cursor: Cursor


class Rater(Shape):
    user_id: UUID
    display_name: Annotated[str | None, Field(description="null if the user is erased")]
    erased: bool
    score: Score
    review: str | None
    rated_at: datetime


class RatersPage(Shape):
    items: list[Rater]
    next_cursor: Cursor


class GenreTally(Shape):
    genre: str
    count: int
    average: Stars


class DatedScore(Shape):
    movie_id: UUID
    score: Score
    rated_at: datetime


class ProfileStatistics(Statistics):
    """The last four are null for a user with very many ratings."""

    genres: list[GenreTally] | None
    favourite_genres: list[str] | None
    first: DatedScore | None
    last: DatedScore | None


class Profile(Shape):
    user_id: UUID
    display_name: Annotated[str | None, Field(description="null if the user is erased")]
    visibility: Visibility
    erased: bool
    created_at: datetime
    ratings: ProfileStatistics
    stale: Stale = True


class OwnProfile(Profile):
    email: str | None


class RatedMovie(Shape):
    """Title, year and average are null for a movie that came a moment ago."""

    movie_id: UUID
    title: str | None
    year: int | None
    movie_average: Stars | None
    score: Score
    difference: Difference | None
    review: str | None
    rated_at: datetime


class RatingsPage(Shape):
    items: list[RatedMovie]
    next_cursor: Cursor
