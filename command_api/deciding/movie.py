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


def imdb_stream_id(secret: bytes, imdb_id: str) -> StreamId:
    """Return the stream of the reservation of an IMDb id."""
    return StreamId(keyed_uuid(secret, "imdb", imdb_id))


class Movie(msgspec.Struct, frozen=True, kw_only=True):
    """A movie's state; `details` is None if it does not exist, `into` its merge target."""

    details: MovieFields | None = None
    into: MovieId | None = None
    merge_completed: bool = False
    withdrawal: Literal["started", "ended"] | None = None


class CreateMovie(msgspec.Struct, frozen=True, kw_only=True):
    """Add a movie; `imdb_stream` is the reservation of its IMDb id, None without one."""

    movie_id: MovieId
    details: MovieFields
    imdb_stream: StreamId | None
    now: datetime


class ChangeMovieDetails(msgspec.Struct, frozen=True, kw_only=True):
    """Correct a movie if `condition` holds; `changes` has the fields to replace.

    `imdb_stream_of` returns the reservation of an IMDb id: the id that the movie gives up is known
    only once the movie is loaded.
    """

    movie_id: MovieId
    changes: dict[str, object]
    imdb_stream_of: Callable[[str], StreamId]
    condition: Condition
    now: datetime

    @property
    def imdb_stream(self) -> StreamId | None:
        """The reservation of the new IMDb id; None if the command sets none."""
        imdb_id = self.changes.get("imdb_id")
        return None if imdb_id is None else self.imdb_stream_of(cast("str", imdb_id))

    def stream_given_up(self, movie: Movie) -> StreamId | None:
        """Return the reservation of the IMDb id that the movie would give up."""
        current = None if movie.details is None else movie.details.imdb_id
        if current is None or self.changes.get("imdb_id", current) == current:
            return None
        return self.imdb_stream_of(current)


class _ClosesMovie(msgspec.Struct, frozen=True, kw_only=True):
    """`imdb_stream_of` returns the reservation of the IMDb id that the movie gives up."""

    movie_id: MovieId
    imdb_stream_of: Callable[[str], StreamId]
    now: datetime

    def stream_given_up(self, movie: Movie) -> StreamId | None:
        """Return the reservation of the movie's IMDb id, None without one."""
        imdb_id = None if movie.details is None else movie.details.imdb_id
        return None if imdb_id is None else self.imdb_stream_of(imdb_id)


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
