"""The events of the log. Imports no framework but msgspec, whose structs they are.

Topics are the class names; they and the field names are stored for good: a change of shape is a new
schema version with an upcast in `shared/log/upcasts.py`, never an edit of stored events.

Times are UTC-aware and whole milliseconds. `personal` names the fields that are sealed in storage
with the key of `user_id`; they read as None once that key is deleted.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Literal
from uuid import UUID

import msgspec

from shared.ids import EventId, MovieId, UserId

Role = Literal["member", "curator", "operator"]
Visibility = Literal["public", "private"]


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """An event. Subclasses say what happened; `Metadata` says who did it, when and why."""

    schema_version: ClassVar[int] = 1
    personal: ClassVar[tuple[str, ...]] = ()


class UserCreated(Event, frozen=True, kw_only=True):
    """A user was created: by sign-up (e-mail and password), or by a service (external id)."""

    schema_version: ClassVar[int] = 2
    personal: ClassVar[tuple[str, ...]] = ("email", "display_name", "password_hash", "external_id")

    user_id: UserId
    display_name: str | None
    email: str | None = None
    password_hash: str | None = None
    external_id: str | None = None
    role: Role = "member"
    visibility: Visibility = "public"
    created_at: datetime


class UserProfileChanged(Event, frozen=True, kw_only=True):
    """A user's public profile changed; both fields are the new values."""

    personal: ClassVar[tuple[str, ...]] = ("display_name",)

    user_id: UserId
    display_name: str | None
    visibility: Visibility


class UserPasswordChanged(Event, frozen=True, kw_only=True):
    """A user has a new password, or the same one hashed with newer parameters.

    A new password ends every session of the user but the one that changed it.
    """

    schema_version: ClassVar[int] = 2
    personal: ClassVar[tuple[str, ...]] = ("password_hash",)

    user_id: UserId
    password_hash: str | None
    ends_sessions: bool = False
    kept_session: UUID | None = None


class UserRoleChanged(Event, frozen=True, kw_only=True):
    """An operator gave a user another role."""

    user_id: UserId
    role: Role


class UserErased(Event, frozen=True, kw_only=True):
    """A user was erased; the same transaction deletes the key, so personal data is unreadable."""

    user_id: UserId
    erased_at: datetime


class SessionEnded(Event, frozen=True, kw_only=True):
    """A session ended by a log-out, or because a refresh token of it was used twice.

    `subject_id` is a user's id or a service key's. Sessions also end with `UserPasswordChanged`,
    `UserErased` and `ServiceKeyRevoked`, and without an event when they are not refreshed in time.
    """

    session_id: UUID
    subject_id: UUID
    ended_at: datetime


class ServiceKeyRevoked(Event, frozen=True, kw_only=True):
    """An operator revoked a service key; its sessions ended with it."""

    key_id: UUID
    revoked_at: datetime


class MovieFields(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A movie's catalogue details; `command_api/bodies/fields.py` has their limits."""

    title: str
    original_title: str | None = None
    alternative_titles: tuple[str, ...] = ()
    year: int
    genres: tuple[str, ...] = ()
    directors: tuple[str, ...] = ()
    writers: tuple[str, ...] = ()
    cast: tuple[str, ...] = ()
    runtime_min: int | None = None
    languages: tuple[str, ...] = ()
    countries: tuple[str, ...] = ()
    certificate: str | None = None
    description: str | None = None
    imdb_id: str | None = None
    tmdb_id: int | None = None
    poster_url: str | None = None
    external_id: str | None = None


class MovieCreated(Event, frozen=True, kw_only=True):
    """A movie entered the catalogue."""

    movie_id: MovieId
    details: MovieFields
    created_at: datetime


class MovieDetailsChanged(Event, frozen=True, kw_only=True):
    """A curator corrected a movie; `details` are all of its new values."""

    movie_id: MovieId
    details: MovieFields


class MovieMerged(Event, frozen=True, kw_only=True):
    """A curator merged a movie into another one, which remains.

    The movie takes no ratings any more; its existing ones move one by one.
    """

    movie_id: MovieId
    into: MovieId
    merged_at: datetime


class MovieMergeCompleted(Event, frozen=True, kw_only=True):
    """A merged movie has no ratings any more."""

    movie_id: MovieId
    into: MovieId
    completed_at: datetime


class MovieWithdrawalStarted(Event, frozen=True, kw_only=True):
    """A curator wants to withdraw a movie; it takes no ratings until that is decided."""

    movie_id: MovieId
    started_at: datetime


class MovieWithdrawn(Event, frozen=True, kw_only=True):
    """A movie without ratings left the catalogue for good."""

    movie_id: MovieId
    withdrawn_at: datetime


class MovieReopened(Event, frozen=True, kw_only=True):
    """A movie takes ratings again: it could not be withdrawn, because it had some.

    `details` are all of the movie's, so that the last event of its stream says enough.
    """

    movie_id: MovieId
    details: MovieFields
    reopened_at: datetime


class MovieClosed(Event, frozen=True, kw_only=True):
    """A movie takes no ratings until its own stream says so; on the one stream of closures."""

    movie_id: MovieId


class MovieAbsorbed(Event, frozen=True, kw_only=True):
    """A movie absorbed others in merges; `absorbed` includes those that they had absorbed."""

    movie_id: MovieId
    absorbed: tuple[MovieId, ...]


class RatingSubmitted(Event, frozen=True, kw_only=True):
    """A user rated a movie, for the first time or again.

    The event includes the values that it replaces, so that a projection can apply the difference
    without a look-up.
    """

    personal: ClassVar[tuple[str, ...]] = ("review",)

    user_id: UserId
    movie_id: MovieId
    half_stars: int  # 1..10
    rated_at: datetime
    review: str | None = None
    previous_half_stars: int | None = None
    previous_rated_at: datetime | None = None


class RatingWithdrawn(Event, frozen=True, kw_only=True):
    """A user took their rating back; the stream continues if they rate the movie again."""

    user_id: UserId
    movie_id: MovieId
    withdrawn_at: datetime
    previous_half_stars: int
    previous_rated_at: datetime


class RatingMoved(Event, frozen=True, kw_only=True):
    """A rating of a merged movie ended there.

    If it is the user's later rating of the two, a `RatingSubmitted` for the remaining movie
    follows.
    """

    user_id: UserId
    movie_id: MovieId
    into: MovieId
    moved_at: datetime
    previous_half_stars: int
    previous_rated_at: datetime


class EmailReserved(Event, frozen=True, kw_only=True):
    """An e-mail address belongs to a user; the stream's id is the keyed hash of the address."""

    user_id: UserId


class EmailReleased(Event, frozen=True, kw_only=True):
    """An e-mail address is free again."""

    user_id: UserId


class EmailVerified(Event, frozen=True, kw_only=True):
    """A user followed the link of a mail that was sent to their address; on the user's stream."""

    user_id: UserId


class ExternalIdReserved(Event, frozen=True, kw_only=True):
    """Another system's id belongs to a user; the stream's id is the keyed hash of that id."""

    user_id: UserId


class ExternalIdReleased(Event, frozen=True, kw_only=True):
    """Another system's id is free again: it would now create another user."""

    user_id: UserId


class ImdbIdReserved(Event, frozen=True, kw_only=True):
    """An IMDb id belongs to a movie; the stream's id is the keyed hash of the IMDb id."""

    movie_id: MovieId


class ImdbIdReleased(Event, frozen=True, kw_only=True):
    """An IMDb id is free again: its movie gave it up."""

    movie_id: MovieId


class TmdbIdReserved(Event, frozen=True, kw_only=True):
    """A TMDB id belongs to a movie; the stream's id is the keyed hash of the TMDB id."""

    movie_id: MovieId


class TmdbIdReleased(Event, frozen=True, kw_only=True):
    """A TMDB id is free again: its movie gave it up."""

    movie_id: MovieId


EVENT_TYPES: tuple[type[Event], ...] = (
    UserCreated,
    UserProfileChanged,
    UserPasswordChanged,
    UserRoleChanged,
    UserErased,
    SessionEnded,
    ServiceKeyRevoked,
    MovieCreated,
    MovieDetailsChanged,
    MovieMerged,
    MovieMergeCompleted,
    MovieWithdrawalStarted,
    MovieWithdrawn,
    MovieReopened,
    MovieClosed,
    MovieAbsorbed,
    RatingSubmitted,
    RatingWithdrawn,
    RatingMoved,
    EmailReserved,
    EmailReleased,
    EmailVerified,
    ExternalIdReserved,
    ExternalIdReleased,
    ImdbIdReserved,
    ImdbIdReleased,
    TmdbIdReserved,
    TmdbIdReleased,
)


class Metadata(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The author, time and reason of an event, stored with it.

    `actor` is a user's or a service key's id; `correlation_id` is the request's id, `causation_id`
    the command's.
    """

    event_id: EventId
    recorded_at: datetime
    actor: UUID | None = None
    correlation_id: UUID | None = None
    causation_id: UUID | None = None


class TracedMetadata(Metadata, frozen=True, array_like=True, gc=False):
    """Metadata of an event whose request is traced: the ids of the trace and of the commit's span.

    Other events store the shorter `Metadata`, and readers of that overlook the addition.
    """

    trace: bytes | None = None
