"""Answers of the command API, as pydantic models."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field, RootModel

from shared.web.openapi import FieldProblem


class UserAnswer(BaseModel):
    user_id: UUID


class MovieAnswer(BaseModel):
    movie_id: UUID


class RatingAnswer(BaseModel):
    status: Literal["created", "changed", "unchanged"]


class SessionAnswer(BaseModel):
    """The tokens of a session; a refresh token can be used once and returns the next one."""

    access_token: str
    refresh_token: str
    token_type: Literal["Bearer"] = "Bearer"
    expires_in_s: int


class NewKeyAnswer(BaseModel):
    """A new service key. No other answer has it."""

    key_id: UUID
    api_key: str


class ListedSession(BaseModel):
    """An open session of the caller; `last_used_at` is the time of its last refresh."""

    session_id: UUID
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    user_agent: str | None
    is_current: bool


class SessionsAnswer(BaseModel):
    sessions: list[ListedSession]


class RowProblem(BaseModel):
    """Why a row failed: the parts of a problem document that differ between rows."""

    type: str
    detail: str
    errors: list[FieldProblem] = []


class RowAnswer(BaseModel):
    """The result of one row of a bulk request.

    It has `user_id` or `movie_id` if the row creates one, and `problem` if it failed. `moved` means
    that the movie was merged into `movie_id`: nothing was recorded.
    """

    index: int
    status: Literal["created", "changed", "unchanged", "superseded", "moved", "rejected"]
    user_id: UUID | None = None
    movie_id: UUID | None = None
    problem: RowProblem | None = None


class RowsAnswer(BaseModel):
    results: list[RowAnswer]


class HealthAnswer(BaseModel):
    status: Literal["alive"]


class ReadyAnswer(BaseModel):
    status: Literal["ready"]
    position: int = Field(description="The last position of the log")


class KeyAnswer(BaseModel):
    """An Ed25519 public key (RFC 8037)."""

    kty: Literal["OKP"]
    crv: Literal["Ed25519"]
    x: str
    kid: str
    alg: Literal["EdDSA"]
    use: Literal["sig"]


class KeysAnswer(BaseModel):
    keys: list[KeyAnswer]


class ExportAnswer(BaseModel):
    """All of the log's data about a user; entries have the event, its time and its fields.

    It has everything up to `position`; `behind` events followed in the log until it was complete.
    """

    user_id: UUID
    position: int
    behind: int
    account: list[dict[str, Any]]
    sessions: list[dict[str, Any]]
    ended_sessions: list[dict[str, Any]]
    ratings: list[dict[str, Any]]


class TraktRating(BaseModel):
    """A rating as Trakt imports it."""

    rating: Annotated[int, Field(ge=1, le=10)]
    rated_at: datetime
    title: str
    year: int
    ids: dict[str, str | int]


class TraktAnswer(BaseModel):
    """The user's current ratings."""

    movies: list[TraktRating]


class AnyExportAnswer(RootModel[ExportAnswer | TraktAnswer]):
    """An export in one of the formats that are JSON: `json` or `trakt`."""


class CandidateAnswer(BaseModel):
    """A movie that a film of an import may be."""

    movie_id: UUID
    title: str
    year: int


class UnmatchedFilmAnswer(BaseModel):
    """A film of an import without a movie; choose one by its number `film`."""

    film: int
    title: str | None
    year: int | None
    half_stars: int
    candidates: list[CandidateAnswer]


class ImportAnswer(BaseModel):
    """An import; `rows` counts the rows of the file by outcome, `progress` goes from 0 to 1.

    `unmatched` are the films to choose a movie for, up to 200, where one finished import is read.
    """

    import_id: UUID
    state: Literal["queued", "reading", "writing", "finished", "failed"]
    format: Literal["letterboxd", "imdb", "trakt", "movielens", "tmdb", "csv"] | None
    created_at: datetime
    progress: float
    rows: dict[str, int]
    failure: str | None = Field(description="Why the import failed, for the member to read")
    unmatched: list[UnmatchedFilmAnswer]


class ImportsAnswer(BaseModel):
    items: list[ImportAnswer]
