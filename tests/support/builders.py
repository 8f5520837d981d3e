"""Events and commands with defaults: a test states only what matters to it.

Builders that are named after an event or a command concern Ann and Stalker. `a_user`, `a_sign_up`,
`a_movie` and `a_rating` have ids that no other test has: commands for a log that tests share.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID, uuid4

from command_api.deciding.movie import (
    CatalogueId,
    ChangeMovieDetails,
    CreateMovie,
    MergeMovie,
    catalogue_id_stream,
)
from command_api.deciding.rating import MoveRating, SubmitRating, WithdrawRating
from command_api.deciding.user import (
    ChangePassword,
    ChangeProfile,
    ChangeRole,
    CreateExternalUser,
    EraseUser,
    SignUp,
)
from shared.ids import MovieId, StreamId, UserId, new_uuid7, rating_stream_id
from shared.log.events import (
    MovieCreated,
    MovieDetailsChanged,
    MovieFields,
    MovieMerged,
    RatingMoved,
    RatingSubmitted,
    RatingWithdrawn,
    UserCreated,
    UserProfileChanged,
)
from shared.versions import condition_of

Built = TypeVar("Built")

NOON = datetime(2026, 1, 10, 12, tzinfo=UTC)
ANN, BEN = UserId(UUID(int=1)), UserId(UUID(int=2))
STALKER, SOLARIS = MovieId(UUID(int=11)), MovieId(UUID(int=12))
STREAM = StreamId(UUID(int=99))


def later(hours: float) -> datetime:
    return NOON + timedelta(hours=hours)


def _with(kind: type[Built], defaults: dict[str, Any], changes: dict[str, Any]) -> Built:
    return kind(**{**defaults, **changes})


def submit_rating(**changes: Any) -> SubmitRating:
    defaults = {
        "user_id": ANN,
        "movie_id": STALKER,
        "rating_stream": STREAM,
        "half_stars": 6,
        "now": NOON,
    }
    return _with(SubmitRating, defaults, changes)


def withdraw_rating(**changes: Any) -> WithdrawRating:
    defaults = {"user_id": ANN, "movie_id": STALKER, "rating_stream": STREAM, "now": NOON}
    return _with(WithdrawRating, defaults, changes)


def rating_submitted(**changes: Any) -> RatingSubmitted:
    defaults = {"user_id": ANN, "movie_id": STALKER, "half_stars": 6, "rated_at": NOON}
    return _with(RatingSubmitted, defaults, changes)


def rating_withdrawn(**changes: Any) -> RatingWithdrawn:
    defaults = {
        "user_id": ANN,
        "movie_id": STALKER,
        "withdrawn_at": NOON,
        "previous_half_stars": 6,
        "previous_rated_at": NOON,
    }
    return _with(RatingWithdrawn, defaults, changes)


def rating_moved(**changes: Any) -> RatingMoved:
    defaults = {
        "user_id": ANN,
        "movie_id": STALKER,
        "into": SOLARIS,
        "moved_at": NOON,
        "previous_half_stars": 6,
        "previous_rated_at": NOON,
    }
    return _with(RatingMoved, defaults, changes)


def movie_merged(**changes: Any) -> MovieMerged:
    return _with(MovieMerged, {"movie_id": STALKER, "into": SOLARIS, "merged_at": NOON}, changes)


def merge_movie(**changes: Any) -> MergeMovie:
    defaults = {
        "movie_id": STALKER,
        "into": SOLARIS,
        "stream_of": id_stream,
        "now": NOON,
    }
    return _with(MergeMovie, defaults, changes)


def move_rating(user_id: UserId, movie_id: MovieId, into: MovieId) -> MoveRating:
    return MoveRating(
        user_id=user_id,
        movie_id=movie_id,
        into=into,
        rating_stream=rating_stream_id(user_id, movie_id),
        into_stream=rating_stream_id(user_id, into),
        now=NOON,
    )


def movie_fields(**changes: Any) -> MovieFields:
    return _with(MovieFields, {"title": "Stalker", "year": 1979}, changes)


def movie_created(**changes: Any) -> MovieCreated:
    defaults = {"movie_id": STALKER, "details": movie_fields(), "created_at": NOON}
    return _with(MovieCreated, defaults, changes)


def movie_details_changed(**changes: Any) -> MovieDetailsChanged:
    return _with(MovieDetailsChanged, {"movie_id": STALKER, "details": movie_fields()}, changes)


def create_movie(**changes: Any) -> CreateMovie:
    defaults = {
        "movie_id": STALKER,
        "details": movie_fields(),
        "stream_of": id_stream,
        "now": NOON,
    }
    return _with(CreateMovie, defaults, changes)


def id_stream(field: CatalogueId, value: str | int) -> StreamId:
    return catalogue_id_stream(b"tests", field, value)


def change_movie(**changes: Any) -> ChangeMovieDetails:
    defaults = {
        "movie_id": STALKER,
        "changes": {"year": 1980},
        "stream_of": id_stream,
        "condition": condition_of('"1"'),
        "now": NOON,
    }
    return _with(ChangeMovieDetails, defaults, changes)


def user_created(**changes: Any) -> UserCreated:
    defaults = {
        "user_id": ANN,
        "display_name": "Ann",
        "email": "ann@example.org",
        "password_hash": "hash",
        "created_at": NOON,
    }
    return _with(UserCreated, defaults, changes)


def user_profile_changed(**changes: Any) -> UserProfileChanged:
    defaults = {"user_id": ANN, "display_name": "Ann", "visibility": "public"}
    return _with(UserProfileChanged, defaults, changes)


def sign_up(**changes: Any) -> SignUp:
    defaults = {
        "user_id": ANN,
        "email": "ann@example.org",
        "email_stream": STREAM,
        "password_hash": "hash",
        "display_name": "Ann",
        "now": NOON,
    }
    return _with(SignUp, defaults, changes)


def create_external_user(**changes: Any) -> CreateExternalUser:
    defaults = {
        "user_id": ANN,
        "external_id": "imdb:1",
        "external_stream": STREAM,
        "derived_id": BEN,
        "display_name": "Ann",
        "now": NOON,
    }
    return _with(CreateExternalUser, defaults, changes)


def change_profile(**changes: Any) -> ChangeProfile:
    return _with(ChangeProfile, {"user_id": ANN, "now": NOON}, changes)


def change_password(**changes: Any) -> ChangePassword:
    defaults = {"user_id": ANN, "password_hash": "new", "replaces": "hash", "now": NOON}
    return _with(ChangePassword, defaults, changes)


def change_role(**changes: Any) -> ChangeRole:
    return _with(ChangeRole, {"user_id": ANN, "role": "curator", "now": NOON}, changes)


def erase_user(**changes: Any) -> EraseUser:
    return _with(EraseUser, {"user_id": ANN, "email_stream": STREAM, "now": NOON}, changes)


def a_user() -> CreateExternalUser:
    return create_external_user(
        user_id=UserId(new_uuid7()),
        external_id=f"test:{uuid4()}",
        external_stream=StreamId(uuid4()),
        derived_id=UserId(uuid4()),
    )


def a_sign_up(email_stream: StreamId) -> SignUp:
    return sign_up(user_id=UserId(new_uuid7()), email_stream=email_stream)


def a_movie(imdb_id: str | None = None) -> CreateMovie:
    return create_movie(
        movie_id=MovieId(new_uuid7()),
        details=movie_fields(imdb_id=imdb_id),
    )


def an_imdb_change(
    movie: CreateMovie, imdb_id: str | None, condition: str = "*"
) -> ChangeMovieDetails:
    return change_movie(
        movie_id=movie.movie_id,
        changes={"imdb_id": imdb_id},
        condition=condition_of(condition),
    )


def a_rating(
    user_id: UserId, movie_id: MovieId, half_stars: int = 7, **changes: Any
) -> SubmitRating:
    return submit_rating(
        user_id=user_id,
        movie_id=movie_id,
        rating_stream=rating_stream_id(user_id, movie_id),
        half_stars=half_stars,
        **changes,
    )


def impossible_rating(user_id: UserId, movie_id: MovieId) -> RatingSubmitted:
    """It takes a score away that was never given."""
    return rating_submitted(
        user_id=user_id,
        movie_id=movie_id,
        half_stars=3,
        previous_half_stars=10,
        previous_rated_at=NOON,
    )
