"""A movie of the catalogue."""

from __future__ import annotations

from datetime import datetime
from typing import assert_never

import msgspec

from shared.errors import NotFound
from shared.ids import MovieId, StreamId, Version
from shared.log.events import MovieCreated, MovieDetailsChanged, MovieFields
from shared.versions import Condition

MovieEvent = MovieCreated | MovieDetailsChanged


class Movie(msgspec.Struct, frozen=True, kw_only=True):
    """What stands; `details` is None for a movie that does not exist."""

    details: MovieFields | None = None


class CreateMovie(msgspec.Struct, frozen=True, kw_only=True):
    """Add a movie; `imdb_stream` is the reservation of its IMDb id, None without one."""

    movie_id: MovieId
    details: MovieFields
    imdb_stream: StreamId | None
    now: datetime


class ChangeMovieDetails(msgspec.Struct, frozen=True, kw_only=True):
    """Correct a movie, if it is as `condition` says; `changes` holds the fields to replace."""

    movie_id: MovieId
    changes: dict[str, object]
    imdb_stream: StreamId | None
    condition: Condition
    now: datetime


MovieCommand = CreateMovie | ChangeMovieDetails


def decide(command: MovieCommand, movie: Movie, version: Version) -> list[MovieEvent]:
    """`version` is the stream's. Raises `NotFound` and `StaleVersion`."""
    match command:
        case CreateMovie():
            if movie.details is not None:
                return []
            return [
                MovieCreated(
                    movie_id=command.movie_id, details=command.details, created_at=command.now
                )
            ]
        case ChangeMovieDetails():
            return _change(command, movie, version)
        case _:
            assert_never(command)


def evolve(_movie: Movie, event: MovieEvent) -> Movie:
    match event:
        case MovieCreated() | MovieDetailsChanged():
            return Movie(details=event.details)
        case _:
            assert_never(event)


def _change(command: ChangeMovieDetails, movie: Movie, version: Version) -> list[MovieEvent]:
    if movie.details is None:
        raise NotFound(f"there is no movie {command.movie_id}")
    command.condition.require(str(version), "movie")
    details = msgspec.structs.replace(movie.details, **command.changes)
    if details == movie.details:
        return []
    return [MovieDetailsChanged(movie_id=command.movie_id, details=details)]
