"""The catalogue as the log has it, for processes that know no other service."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any
from uuid import UUID

from psycopg import Connection

from ops.imports.matcher import Movie
from shared.log.codec import Codec
from shared.log.events import MovieCreated, MovieDetailsChanged, MovieFields, MovieReopened

PAGE_MOVIES = 1_000
LEFT = ("MovieMerged", "MovieMergeCompleted", "MovieWithdrawalStarted", "MovieWithdrawn")

# By the index of such events.
_PAGE = (
    "SELECT notification_id, originator_id FROM events WHERE topic = 'MovieCreated'"
    " AND notification_id > %s ORDER BY notification_id LIMIT %s"
)
_EVENTS = (
    "SELECT originator_id, topic, state FROM events WHERE originator_id = ANY (%s)"
    " ORDER BY originator_id, originator_version"
)


def movies_of_log(connection: Connection[Any]) -> Iterator[tuple[Movie, tuple[str, ...]]]:
    """Yield the movies that take ratings, with their other titles."""
    after = 0
    while page := connection.execute(_PAGE, [after, PAGE_MOVIES]).fetchall():
        after = page[-1][0]
        ids = [movie_id for _, movie_id in page]
        for movie_id, details in current_movies(connection.execute(_EVENTS, [ids])):
            others = (details.original_title, *details.alternative_titles)
            movie = Movie(
                movie_id=str(movie_id),
                title=details.title,
                year=details.year,
                imdb_id=details.imdb_id,
                tmdb_id=details.tmdb_id,
                external_id=details.external_id,
            )
            yield movie, tuple(title for title in others if title)


def current_movies(rows: Iterable[Any]) -> Iterator[tuple[UUID, MovieFields]]:
    """Yield the movies with their current details, from events that are sorted by stream."""
    codec = Codec()
    current: UUID | None = None
    details: MovieFields | None = None
    for movie_id, topic, state in rows:
        if movie_id != current:
            if current is not None and details is not None:
                yield current, details
            current, details = movie_id, None
        event = codec.decode(topic, state, {}).event
        if isinstance(event, MovieCreated | MovieDetailsChanged | MovieReopened):
            details = event.details
        elif topic in LEFT:
            details = None
    if current is not None and details is not None:
        yield current, details
