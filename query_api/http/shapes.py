"""Shapes and examples of answers, used only for documentation: bodies pass through as bytes.

Tests compare the examples and real answers with the shapes.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from query_api.views.rendering import WEIGHTED_BY
from shared.log.events import Visibility
from shared.read_model.statistics import BINS

TAGS = {
    "movies": "Movies with the statistics of their ratings, now and in the past.",
    "users": "Profiles, and the ratings of users.",
    "stream": "Live updates of the movies' statistics.",
    "operations": "Health, metrics and projections, for operators.",
}

_MOVIE_ID = "8d3f2f0e-6c1b-8f7a-9b0e-2f6f1f3a9c11"
_USER_ID = "01a20a3c-c0ff-7c1d-a50f-874aed4ed724"
_CURSOR = "kqVjb3VudJP-pGhlYXTEEI0_Lw5sG4-Kmw4vbx86nBE"
_RATINGS = {
    "count": 2,
    "average": 4.25,
    "median": 4.25,
    "weighted_average": 3.5556,
    "histogram": [0, 0, 0, 0, 0, 0, 0, 1, 1, 0],
    "position": 42,
}

Stars = Annotated[float, Field(ge=0.5, le=5, description="Stars, four decimals")]
Score = Annotated[float, Field(ge=0.5, le=5, multiple_of=0.5, description="Stars")]
Difference = Annotated[float, Field(description="`score` less `movie_average`")]
Total = Annotated[
    int,
    Field(
        description="Present only if `count=true` asked for it",
        json_schema_extra=lambda schema: schema.pop("default"),
    ),
]
ChangedAt = Annotated[
    int,
    Field(
        description="Log position of the last change; present only in a list of changes",
        json_schema_extra=lambda schema: schema.pop("default"),
    ),
]
Cursor = Annotated[str | None, Field(description="`cursor` of the next page; null on the last")]
Stale = Annotated[
    Literal[True],
    Field(
        description="Present only if one of the events could not be applied",
        json_schema_extra=lambda schema: schema.pop("default"),
    ),
]
Bin = Annotated[int, Field(ge=0)]


class Shape(BaseModel):
    """Base of all shapes: answers have no other members today, but clients must accept new ones."""

    EXAMPLE: ClassVar[dict[str, Any]]

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
        Field(min_length=BINS, max_length=BINS, description="Ratings by half star, 0.5 first"),
    ]
    position: Annotated[int, Field(description="Log position of the last rating in them")]
    weighted_by: WeightedBy


class Movie(Shape):
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
    position: Annotated[int, Field(description="Log position of these details")] = 0
    version: Annotated[int, Field(description="For `If-Match` of a correction")]
    ratings: Statistics
    stale: Stale = True

    EXAMPLE = {
        "movie_id": _MOVIE_ID,
        "title": "Heat",
        "original_title": None,
        "alternative_titles": ["Fuego contra fuego"],
        "year": 1995,
        "genres": ["Crime", "Drama"],
        "directors": ["Michael Mann"],
        "writers": ["Michael Mann"],
        "cast": ["Al Pacino", "Robert De Niro"],
        "runtime_min": 170,
        "languages": ["English"],
        "countries": ["United States"],
        "certificate": "R",
        "description": "A thief and a detective.",
        "imdb_id": "tt0113277",
        "tmdb_id": 949,
        "poster_url": "https://example.org/heat.jpg",
        "external_id": "films:949",
        "created_at": "2026-01-31T12:00:00Z",
        "position": 40,
        "version": 1,
        "ratings": {**_RATINGS, "weighted_by": WEIGHTED_BY},
    }


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
    imdb_id: str | None
    poster_url: str | None
    runtime_min: int | None
    tmdb_id: int | None = None
    original_title: str | None = None
    alternative_titles: list[str] = []
    ratings: ListedStatistics
    stale: Stale = True
    position: ChangedAt = 0


class LeftMovie(Shape):
    """A movie that left the catalogue: merged `into` another one, or withdrawn."""

    movie_id: UUID
    left: Literal["merged", "withdrawn"]
    into: UUID | None
    position: ChangedAt = 0


class MoviesPage(Shape):
    """Only a list of `ids` holds null, only that and a list of changes movies that left."""

    items: list[ListedMovie | LeftMovie | None]
    next_cursor: Cursor
    count: Total = 0

    EXAMPLE = {
        "items": [
            {
                "movie_id": _MOVIE_ID,
                "title": "Heat",
                "year": 1995,
                "genres": ["Crime", "Drama"],
                "external_id": "films:949",
                "imdb_id": "tt0113277",
                "poster_url": "https://example.org/heat.jpg",
                "runtime_min": 170,
                "tmdb_id": 949,
                "original_title": None,
                "alternative_titles": ["Fuego contra fuego"],
                "ratings": {"count": 2, "average": 4.25, "weighted_average": 3.5556},
            }
        ],
        "next_cursor": _CURSOR,
    }


class Genre(Shape):
    genre: str
    count: Annotated[int, Field(description="Its movies")]


class GenresPage(Shape):
    items: list[Genre]
    next_cursor: Cursor

    EXAMPLE = {"items": [{"genre": "Drama", "count": 9_714}], "next_cursor": _CURSOR}


class PastStatistics(Shape):
    movie_id: UUID
    as_of: date
    ratings: Statistics
    stale: Stale = True

    EXAMPLE = {
        "movie_id": _MOVIE_ID,
        "as_of": "2026-01-31",
        "ratings": {**_RATINGS, "weighted_by": WEIGHTED_BY},
    }


class Day(Shape):
    """Count and average at the end of a UTC day, or of the period that begins on it."""

    date: date
    count: int
    average: Stars | None


class HistoryPage(Shape):
    items: list[Day]
    next_cursor: Cursor

    EXAMPLE = {
        "items": [
            {"date": "2026-01-30", "count": 1, "average": 4.0},
            {"date": "2026-01-31", "count": 2, "average": 4.25},
        ],
        "next_cursor": _CURSOR,
    }


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

    EXAMPLE = {
        "items": [
            {
                "user_id": _USER_ID,
                "display_name": "Ann",
                "erased": False,
                "score": 4.5,
                "review": "The diner scene.",
                "rated_at": "2026-01-31T12:00:00Z",
            }
        ],
        "next_cursor": _CURSOR,
    }


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

    EXAMPLE = {
        "user_id": _USER_ID,
        "display_name": "Ann",
        "visibility": "public",
        "erased": False,
        "created_at": "2026-01-31T12:00:00Z",
        "ratings": {
            **_RATINGS,
            "weighted_by": WEIGHTED_BY,
            "genres": [
                {"genre": "Crime", "count": 2, "average": 4.25},
                {"genre": "Drama", "count": 1, "average": 4.5},
            ],
            "favourite_genres": ["Crime"],
            "first": {"movie_id": _MOVIE_ID, "score": 4.5, "rated_at": "2026-01-31T12:00:00Z"},
            "last": {"movie_id": _MOVIE_ID, "score": 4.5, "rated_at": "2026-01-31T12:00:00Z"},
        },
    }


class OwnProfile(Profile):
    email: str | None
    email_verified: bool

    EXAMPLE = {**Profile.EXAMPLE, "email": "ann@example.org", "email_verified": True}


class RatedMovie(Shape):
    """Title, year and average are null for a movie created a moment ago."""

    movie_id: UUID
    title: str | None
    year: int | None
    movie_average: Stars | None
    score: Score
    difference: Difference | None
    review: str | None
    rated_at: datetime
    position: ChangedAt = 0

    EXAMPLE = {
        "movie_id": _MOVIE_ID,
        "title": "Heat",
        "year": 1995,
        "movie_average": 4.25,
        "score": 4.5,
        "difference": 0.25,
        "review": "The diner scene.",
        "rated_at": "2026-01-31T12:00:00Z",
    }


class WithdrawnRating(Shape):
    """A rating that was withdrawn, or moved to another movie when its own was merged."""

    movie_id: UUID
    withdrawn: Literal[True]
    position: Annotated[int, Field(description="Log position of the withdrawal or move")]


class RatingsPage(Shape):
    """Only a list of changes holds withdrawn ratings."""

    items: list[RatedMovie | WithdrawnRating]
    next_cursor: Cursor
    count: Total = 0

    EXAMPLE = {"items": [RatedMovie.EXAMPLE], "next_cursor": _CURSOR}


STREAM = f"""retry: 2000
id: 1042

data: {{"movie_id":"{_MOVIE_ID}","count":2,"average":4.25}}
id: 1043

"""
