"""A movie of the catalogue."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import assert_never, cast

import msgspec

from shared.errors import InvalidInput, Moved, NotFound
from shared.ids import MovieId, StreamId, Version
from shared.log.events import (
    MovieCreated,
    MovieDetailsChanged,
    MovieFields,
    MovieMergeCompleted,
    MovieMerged,
)
from shared.versions import Condition

MovieEvent = MovieCreated | MovieDetailsChanged | MovieMerged | MovieMergeCompleted

# A movie whose last event is one of the first takes ratings, of the others none.
OPEN_TOPICS = frozenset({MovieCreated.__name__, MovieDetailsChanged.__name__})
TOPICS = OPEN_TOPICS | {MovieMerged.__name__, MovieMergeCompleted.__name__}


class Movie(msgspec.Struct, frozen=True, kw_only=True):
    """`details` is None for a movie that does not exist, `into` the one that it was merged into."""

    details: MovieFields | None = None
    into: MovieId | None = None
    merge_completed: bool = False


class CreateMovie(msgspec.Struct, frozen=True, kw_only=True):
    """Add a movie; `imdb_stream` is the reservation of its IMDb id, None without one."""

    movie_id: MovieId
    details: MovieFields
    imdb_stream: StreamId | None
    now: datetime


class ChangeMovieDetails(msgspec.Struct, frozen=True, kw_only=True):
    """Correct a movie, if it is as `condition` says; `changes` holds the fields to replace.

    `imdb_stream_of` finds the reservation of an IMDb id: that of the id which the movie gives up
    is known once the movie is loaded.
    """

    movie_id: MovieId
    changes: dict[str, object]
    imdb_stream_of: Callable[[str], StreamId]
    condition: Condition
    now: datetime

    @property
    def imdb_stream(self) -> StreamId | None:
        """The reservation of the new IMDb id; None where the command gives the movie none."""
        imdb_id = self.changes.get("imdb_id")
        return None if imdb_id is None else self.imdb_stream_of(cast("str", imdb_id))

    def stream_given_up(self, movie: Movie) -> StreamId | None:
        """The reservation of the IMDb id that the movie would no longer have."""
        current = None if movie.details is None else movie.details.imdb_id
        if current is None or self.changes.get("imdb_id", current) == current:
            return None
        return self.imdb_stream_of(current)


class MergeMovie(msgspec.Struct, frozen=True, kw_only=True):
    """Merge a movie into another one, which stays."""

    movie_id: MovieId
    into: MovieId
    imdb_stream_of: Callable[[str], StreamId]
    now: datetime

    def stream_given_up(self, movie: Movie) -> StreamId | None:
        """The reservation of the merged movie's IMDb id."""
        imdb_id = None if movie.details is None else movie.details.imdb_id
        return None if imdb_id is None else self.imdb_stream_of(imdb_id)


class CompleteMerge(msgspec.Struct, frozen=True, kw_only=True):
    """Note that no rating stands on a merged movie any more."""

    movie_id: MovieId
    now: datetime


MovieCommand = CreateMovie | ChangeMovieDetails | MergeMovie | CompleteMerge


def decide(command: MovieCommand, movie: Movie, version: Version) -> list[MovieEvent]:
    """`version` is the stream's. Raises `NotFound`, `Moved`, `StaleVersion` and `InvalidInput`."""
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
        case _:
            assert_never(command)


def evolve(movie: Movie, event: MovieEvent) -> Movie:
    match event:
        case MovieCreated() | MovieDetailsChanged():
            return Movie(details=event.details)
        case MovieMerged():
            return msgspec.structs.replace(movie, into=event.into)
        case MovieMergeCompleted():
            return msgspec.structs.replace(movie, into=event.into, merge_completed=True)
        case _:
            assert_never(event)


def require_open(movie: Movie, movie_id: MovieId, *, pointer: str | None = None) -> None:
    """Raise `NotFound` for a movie that there is not, and `Moved` for one that was merged; its last
    event is enough to say.
    """
    if movie.into is not None:
        raise Moved(movie_id, movie.into)
    if movie.details is None:
        raise NotFound(f"there is no movie {movie_id}", pointer=pointer)


def _merge(command: MergeMovie, movie: Movie) -> list[MovieEvent]:
    if movie.into == command.into:
        return []
    require_open(movie, command.movie_id)
    if command.into == command.movie_id:
        raise InvalidInput("a movie cannot be merged into itself", pointer="/into")
    return [MovieMerged(movie_id=command.movie_id, into=command.into, merged_at=command.now)]


def _change(command: ChangeMovieDetails, movie: Movie, version: Version) -> list[MovieEvent]:
    require_open(movie, command.movie_id)
    assert movie.details is not None
    command.condition.require(str(version), "movie")
    details = msgspec.structs.replace(movie.details, **command.changes)
    if details == movie.details:
        return []
    return [MovieDetailsChanged(movie_id=command.movie_id, details=details)]
