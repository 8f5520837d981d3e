"""The rules of a movie of the catalogue."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Literal, assert_never, cast, get_args

import msgspec

from shared.errors import Conflict, Gone, InvalidInput, Moved, NotFound
from shared.ids import MovieId, StreamId, Version, keyed_uuid
from shared.log.events import (
    MovieCreated,
    MovieDetailsChanged,
    MovieFields,
    MovieMergeCompleted,
    MovieMerged,
    MovieReopened,
    MovieWithdrawalStarted,
    MovieWithdrawn,
)
from shared.versions import Condition

MovieEvent = (
    MovieCreated
    | MovieDetailsChanged
    | MovieMerged
    | MovieMergeCompleted
    | MovieWithdrawalStarted
    | MovieWithdrawn
    | MovieReopened
)

TOPICS = frozenset(event.__name__ for event in get_args(MovieEvent))
# A movie takes ratings while its last event is one of these.
OPEN_TOPICS = frozenset(
    event.__name__ for event in (MovieCreated, MovieDetailsChanged, MovieReopened)
)


# The ids in other catalogues that no two movies share.
CatalogueId = Literal["imdb_id", "tmdb_id"]
CATALOGUE_IDS: tuple[CatalogueId, ...] = get_args(CatalogueId)
# Returns the stream of the reservation of such an id.
StreamOf = Callable[[CatalogueId, str | int], StreamId]
ReservationStreams = dict[CatalogueId, StreamId]


def catalogue_id_stream(secret: bytes, field: CatalogueId, value: str | int) -> StreamId:
    """Return the stream of the reservation of an id in another catalogue."""
    return StreamId(keyed_uuid(secret, field.removesuffix("_id"), str(value)))


class Movie(msgspec.Struct, frozen=True, kw_only=True):
    """A movie's state; `details` is None if it does not exist, `into` its merge target."""

    details: MovieFields | None = None
    into: MovieId | None = None
    merge_completed: bool = False
    withdrawal: Literal["started", "ended"] | None = None


class CreateMovie(msgspec.Struct, frozen=True, kw_only=True):
    """Add a movie; `stream_of` returns the reservation of an id in another catalogue."""

    movie_id: MovieId
    details: MovieFields
    stream_of: StreamOf
    now: datetime

    @property
    def streams_taken(self) -> ReservationStreams:
        """The reservations of the movie's ids."""
        return _reservations(self.details, self.stream_of)


class ChangeMovieDetails(msgspec.Struct, frozen=True, kw_only=True):
    """Correct a movie if `condition` holds; `changes` has the fields to replace.

    `stream_of` returns the reservation of an id in another catalogue: an id that the movie gives up
    is known only once the movie is loaded.
    """

    movie_id: MovieId
    changes: dict[str, object]
    stream_of: StreamOf
    condition: Condition
    now: datetime

    @property
    def streams_taken(self) -> ReservationStreams:
        """The reservations of the ids that the command sets."""
        return {
            field: self.stream_of(field, cast("str | int", self.changes[field]))
            for field in CATALOGUE_IDS
            if self.changes.get(field) is not None
        }

    def streams_given_up(self, movie: Movie) -> ReservationStreams:
        """Return the reservations of the ids that the movie would give up."""
        current = _reservations(movie.details, self.stream_of)
        return {
            field: stream
            for field, stream in current.items()
            if field in self.changes and self.changes[field] != getattr(movie.details, field)
        }


class _ClosesMovie(msgspec.Struct, frozen=True, kw_only=True):
    """`stream_of` returns the reservation of an id that the movie gives up."""

    movie_id: MovieId
    stream_of: StreamOf
    now: datetime

    def streams_given_up(self, movie: Movie) -> ReservationStreams:
        """Return the reservations of the movie's ids in other catalogues."""
        return _reservations(movie.details, self.stream_of)


class MergeMovie(_ClosesMovie, frozen=True, kw_only=True):
    """Merge a movie into another one, which remains."""

    into: MovieId


class CompleteMerge(msgspec.Struct, frozen=True, kw_only=True):
    """Record that a merged movie has no ratings any more."""

    movie_id: MovieId
    now: datetime


class StartWithdrawal(msgspec.Struct, frozen=True, kw_only=True):
    """Stop a movie's ratings while the command API checks whether it has some."""

    movie_id: MovieId
    condition: Condition | None
    now: datetime


class EndWithdrawal(_ClosesMovie, frozen=True, kw_only=True):
    """Withdraw a movie that has no ratings, or reopen one that has."""

    rated: bool


MovieCommand = (
    CreateMovie | ChangeMovieDetails | MergeMovie | CompleteMerge | StartWithdrawal | EndWithdrawal
)


def decide(command: MovieCommand, movie: Movie, version: Version) -> list[MovieEvent]:
    """Return the events of a command; `version` is the stream's.

    Raises `NotFound`, `Moved`, `Gone`, `Conflict`, `StaleVersion` and `InvalidInput`.
    """
    match command:
        case CreateMovie():
            if movie != Movie():
                require_open(movie, command.movie_id)
                return []
            return [
                MovieCreated(
                    movie_id=command.movie_id, details=command.details, created_at=command.now
                )
            ]
        case ChangeMovieDetails():
            return _change(command, movie, version)
        case MergeMovie():
            return _merge(command, movie)
        case CompleteMerge():
            if movie.into is None or movie.merge_completed:
                return []
            return [
                MovieMergeCompleted(
                    movie_id=command.movie_id, into=movie.into, completed_at=command.now
                )
            ]
        case StartWithdrawal():
            return _start_withdrawal(command, movie, version)
        case EndWithdrawal():
            return _end_withdrawal(command, movie)
        case _:
            assert_never(command)


def evolve(movie: Movie, event: MovieEvent) -> Movie:
    match event:
        case MovieCreated() | MovieDetailsChanged() | MovieReopened():
            return Movie(details=event.details)
        case MovieMerged():
            return msgspec.structs.replace(movie, into=event.into)
        case MovieMergeCompleted():
            return msgspec.structs.replace(movie, into=event.into, merge_completed=True)
        case MovieWithdrawalStarted():
            return msgspec.structs.replace(movie, withdrawal="started")
        case MovieWithdrawn():
            return msgspec.structs.replace(movie, withdrawal="ended")
        case _:
            assert_never(event)


def require_open(movie: Movie, movie_id: MovieId, *, pointer: str | None = None) -> None:
    """Raise `NotFound`, `Moved`, `Gone` or `Conflict` unless the movie takes ratings.

    The state after the movie's last event alone is sufficient.
    """
    if movie.into is not None:
        raise Moved(movie_id, movie.into)
    if movie.withdrawal == "ended":
        raise Gone(f"movie {movie_id} was withdrawn", pointer=pointer)
    if movie.withdrawal == "started":
        raise Conflict(f"movie {movie_id} is being withdrawn", pointer=pointer)
    if movie.details is None:
        raise NotFound(f"there is no movie {movie_id}", pointer=pointer)


def _reservations(details: MovieFields | None, stream_of: StreamOf) -> ReservationStreams:
    return {
        field: stream_of(field, value)
        for field in CATALOGUE_IDS
        if (value := getattr(details, field, None)) is not None
    }


def _merge(command: MergeMovie, movie: Movie) -> list[MovieEvent]:
    if movie.into == command.into:
        return []
    require_open(movie, command.movie_id)
    if command.into == command.movie_id:
        raise InvalidInput("a movie cannot be merged into itself", pointer="/into")
    return [MovieMerged(movie_id=command.movie_id, into=command.into, merged_at=command.now)]


def _start_withdrawal(command: StartWithdrawal, movie: Movie, version: Version) -> list[MovieEvent]:
    if movie.withdrawal is not None:
        return []
    require_open(movie, command.movie_id)
    if command.condition is not None:
        command.condition.require(str(version), "movie")
    return [MovieWithdrawalStarted(movie_id=command.movie_id, started_at=command.now)]


def _end_withdrawal(command: EndWithdrawal, movie: Movie) -> list[MovieEvent]:
    if movie.withdrawal != "started":
        return []
    if not command.rated:
        return [MovieWithdrawn(movie_id=command.movie_id, withdrawn_at=command.now)]
    assert movie.details is not None
    return [
        MovieReopened(movie_id=command.movie_id, details=movie.details, reopened_at=command.now)
    ]


def _change(command: ChangeMovieDetails, movie: Movie, version: Version) -> list[MovieEvent]:
    require_open(movie, command.movie_id)
    assert movie.details is not None
    command.condition.require(str(version), "movie")
    details = msgspec.structs.replace(movie.details, **command.changes)
    if details == movie.details:
        return []
    return [MovieDetailsChanged(movie_id=command.movie_id, details=details)]
