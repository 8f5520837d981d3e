"""Request bodies as pydantic models, and their maximum sizes.

Unknown fields are refused, so that no part of a client's request is silently dropped.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar, Self
from uuid import UUID

import msgspec
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from command_api.bodies.fields import (
    CREDENTIAL_CHARS_MAX,
    EMAIL_CHARS_MAX,
    PASSWORD_CHARS_MAX,
    REVIEW_CHARS_MAX,
    AlternativeTitles,
    Description,
    Email,
    ExternalId,
    ImdbId,
    Name,
    Names,
    Password,
    RatedAt,
    Review,
    Runtime,
    Score,
    Title,
    TmdbId,
    Url,
    Year,
)
from command_api.deciding.credentials import canonical_password
from command_api.deciding.principal import SCOPES, Scope
from command_api.deciding.rating import SubmitRating
from command_api.settings import KIB, MIB
from shared.ids import MovieId, UserId, rating_stream_id
from shared.log.events import MovieFields, Role, Visibility
from shared.versions import Condition
from shared.web.parameter_types import CanonicalUuid

RATINGS_MAX = 10_000
BULK_CREATIONS_MAX = 1_000

# An emoji escaped as two surrogates.
JSON_BYTES_A_CHAR_MAX = 12
# The other fields of a body besides its longest one, with generous white space.
OTHER_FIELDS_BYTES = 16 * KIB
RATING_BYTES_MAX = OTHER_FIELDS_BYTES + JSON_BYTES_A_CHAR_MAX * REVIEW_CHARS_MAX
MOVIE_BYTES_MAX = 256 * KIB
EXTERNAL_USER_BYTES_MAX = 4 * KIB
# Sign-up, log-in, refresh, password, profile, role.
ACCOUNT_BYTES_MAX = 16 * KIB
BULK_BYTES_MAX = 16 * MIB
IMPORT_BYTES_MAX = 16 * MIB
CHOICES_MAX = 200
SCOPES_MAX = len(SCOPES)
BULK_USERS_BYTES_MAX = BULK_CREATIONS_MAX * EXTERNAL_USER_BYTES_MAX


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BulkBody(Body):
    """A list of rows in the field `FIELD`; each row is decoded and validated on its own."""

    FIELD: ClassVar[str]
    ROWS_MAX: ClassVar[int]


class SignUpBody(Body):
    """A person's sign-up."""

    display_name: Name
    email: Email
    password: Password = Field(repr=False)

    @model_validator(mode="after")
    def _not_known(self) -> Self:
        password = canonical_password(self.password).casefold()
        if password in (self.email, self.display_name.casefold()):
            raise ValueError("the password is the e-mail address or the name")
        return self


class ExternalUserBody(Body):
    """An external user that a service creates."""

    external_id: ExternalId
    display_name: Name


class ExternalUsersBody(BulkBody):
    FIELD = "users"
    ROWS_MAX = BULK_CREATIONS_MAX

    users: Annotated[list[ExternalUserBody], Field(min_length=1, max_length=BULK_CREATIONS_MAX)]


class ProfileBody(Body):
    display_name: Name | None = None
    visibility: Visibility | None = None


class PasswordBody(Body):
    old: Annotated[str, StringConstraints(max_length=PASSWORD_CHARS_MAX)] = Field(repr=False)
    new: Password = Field(repr=False)


class RoleBody(Body):
    role: Role


class KeyBody(Body):
    """A new service key: what it is for, and what it may do."""

    name: Name
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1, max_length=SCOPES_MAX)]


class LogInBody(Body):
    """A person's log-in."""

    email: Annotated[str, StringConstraints(max_length=EMAIL_CHARS_MAX)]
    password: Annotated[str, StringConstraints(max_length=PASSWORD_CHARS_MAX)] = Field(repr=False)


class KeyLogInBody(Body):
    """A service's log-in."""

    api_key: Annotated[str, StringConstraints(max_length=CREDENTIAL_CHARS_MAX)] = Field(repr=False)


class RefreshBody(Body):
    refresh_token: Annotated[str, StringConstraints(max_length=CREDENTIAL_CHARS_MAX)] = Field(
        repr=False
    )


class AddressBody(Body):
    email: Email


class TokenBody(Body):
    """The token of a mail's link."""

    token: Annotated[str, StringConstraints(max_length=CREDENTIAL_CHARS_MAX)] = Field(repr=False)


class NewPasswordBody(TokenBody):
    password: Password = Field(repr=False)


class MovieBody(Body):
    title: Title
    original_title: Title | None = None
    alternative_titles: AlternativeTitles = ()
    year: Year
    genres: Names = ()
    directors: Names = ()
    writers: Names = ()
    cast: Names = ()
    runtime_min: Runtime | None = None
    languages: Names = ()
    countries: Names = ()
    certificate: Name | None = None
    description: Description | None = None
    imdb_id: ImdbId | None = None
    tmdb_id: TmdbId | None = None
    poster_url: Url | None = None
    external_id: ExternalId | None = None

    def details(self) -> MovieFields:
        return MovieFields(**self.model_dump())


class MergeBody(Body):
    into: CanonicalUuid = Field(description="The movie that remains")


class MoviesBody(BulkBody):
    FIELD = "movies"
    ROWS_MAX = BULK_CREATIONS_MAX

    movies: Annotated[list[MovieBody], Field(min_length=1, max_length=BULK_CREATIONS_MAX)]


def _without_defaults(schema: dict[str, Any]) -> None:
    """Remove defaults: a field that is left out stays unchanged."""
    for field in schema["properties"].values():
        field.pop("default", None)


class MovieChangesBody(Body):
    """The fields to replace; null empties one that may be empty."""

    model_config = ConfigDict(json_schema_extra=_without_defaults)

    title: Title = ""
    original_title: Title | None = None
    alternative_titles: AlternativeTitles = ()
    year: Year = 0
    genres: Names = ()
    directors: Names = ()
    writers: Names = ()
    cast: Names = ()
    runtime_min: Runtime | None = None
    languages: Names = ()
    countries: Names = ()
    certificate: Name | None = None
    description: Description | None = None
    imdb_id: ImdbId | None = None
    tmdb_id: TmdbId | None = None
    poster_url: Url | None = None


class RatingBody(Body):
    """A rating. Without `review` the current review stays, null removes it."""

    score: Score
    review: Review | None = None
    rated_at: RatedAt | None = None

    @property
    def half_stars(self) -> int:
        return int(self.score * 2)

    def command(
        self, user_id: UserId, movie_id: UUID, now: datetime, condition: Condition | None = None
    ) -> SubmitRating:
        """Return the command for the body."""
        movie = MovieId(movie_id)
        return SubmitRating(
            user_id=user_id,
            movie_id=movie,
            rating_stream=rating_stream_id(user_id, movie),
            half_stars=self.half_stars,
            review=(self.review or None) if "review" in self.model_fields_set else msgspec.UNSET,
            rated_at=self.rated_at,
            condition=condition,
            now=now,
        )


class MovieRatingBody(RatingBody):
    """A rating with its movie; only a service names the user."""

    movie_id: CanonicalUuid
    user_id: CanonicalUuid | None = None


class RatingsBody(BulkBody):
    FIELD = "ratings"
    ROWS_MAX = RATINGS_MAX

    ratings: Annotated[list[MovieRatingBody], Field(min_length=1, max_length=RATINGS_MAX)]


class ChoiceBody(Body):
    """The movie for a film that an import has not matched."""

    film: Annotated[int, Field(ge=0, le=1_000_000, strict=True)]
    movie_id: CanonicalUuid


class ChoicesBody(Body):
    choices: Annotated[list[ChoiceBody], Field(min_length=1, max_length=CHOICES_MAX)]
