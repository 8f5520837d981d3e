"""A movie of the catalogue."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import assert_never, cast

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
