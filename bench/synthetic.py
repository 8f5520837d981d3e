"""A synthetic log of any length, shaped like MovieLens, written straight into the table of events.

No person ever gave these ratings, but they satisfy what a command would check: each movie and user
is created before it is rated, each stream's versions have no gap, and a second rating includes the
one that it replaces.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import psycopg

from shared.ids import EventId, MovieId, StreamId, UserId, rating_stream_id
from shared.log.codec import Codec
from shared.log.events import (
    Event,
    Metadata,
    MovieCreated,
    MovieFields,
    RatingSubmitted,
    UserCreated,
)
from shared.log.sealing import Keys, KeyWrap

RATINGS_A_USER = 150
RATINGS_A_MOVIE = 400
REVIEW_EVERY = 20
FIRST_DAY = datetime(2015, 1, 1, tzinfo=UTC)
DAYS = 3_000
# Weights of half stars 1 to 10, as in the newer MovieLens sets.
HALF_STARS_WEIGHTS = (2, 4, 2, 7, 5, 20, 12, 26, 9, 13)
REVIEW = "Better the second time: the last half hour is worth the wait."

_COPY_EVENTS = (
    "COPY events (originator_id, originator_version, topic, state) FROM STDIN (FORMAT binary)"
)
_COPY_KEYS = "COPY subject_keys (user_id, wrapped) FROM STDIN (FORMAT binary)"


class Made(NamedTuple):
    """The contents of a synthetic log."""

    user_ids: Sequence[UserId]
    movie_ids: Sequence[MovieId]


class _Row(NamedTuple):
    stream_id: StreamId
    version: int
    event: Event


def append_ratings(
    connection: psycopg.Connection,
    codec: Codec,
    key_wrap: KeyWrap,
    *,
    ratings: int,
    films: int | None = None,
    draw: int = 0,
) -> Made:
    """Append users, movies and about `ratings` rating events; the same ones for the same `draw`.

    The number of movies grows with the ratings, unless `films` states it.
    `connection` is the owner's; the append is one transaction, without a notification.
    """
    drawn = random.Random(draw)
    users = [UserId(_uuid(drawn)) for _ in range(max(ratings // RATINGS_A_USER, 2))]
    count = films or max(ratings // RATINGS_A_MOVIE, 40)
    movies = [MovieId(_uuid(drawn)) for _ in range(count)]
    keys = {user_id: key_wrap.new_key(user_id) for user_id in users}
    opened = {user_id: key for user_id, (key, _) in keys.items()}
    with connection.transaction(), connection.cursor() as cursor:
        with cursor.copy(_COPY_KEYS) as copy:
            copy.set_types(["uuid", "bytea"])
            for user_id, (_, wrapped) in keys.items():
                copy.write_row((user_id, wrapped))
        with cursor.copy(_COPY_EVENTS) as copy:
            copy.set_types(["uuid", "int8", "text", "bytea"])
            rows = itertools.chain(
                _created(drawn, users, movies), _ratings(drawn, users, movies, ratings)
            )
            for row in rows:
                copy.write_row(_stored(drawn, codec, opened, row))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE events")
    return Made(users, movies)


def _created(
    drawn: random.Random, users: Sequence[UserId], movies: Sequence[MovieId]
) -> Iterator[_Row]:
    for number, user_id in enumerate(users):
        created = UserCreated(
            user_id=user_id, display_name=f"Viewer {number}", created_at=FIRST_DAY
        )
        yield _Row(StreamId(user_id), 1, created)
    for number, movie_id in enumerate(movies):
        details = MovieFields(
            title=f"Made up {number}", year=drawn.randint(1930, 2015), genres=("Drama",)
        )
        created_movie = MovieCreated(movie_id=movie_id, details=details, created_at=FIRST_DAY)
        yield _Row(StreamId(movie_id), 1, created_movie)


def _ratings(
    drawn: random.Random, users: Sequence[UserId], movies: Sequence[MovieId], count: int
) -> Iterator[_Row]:
    """Yield ratings in order of time; popular movies and diligent users come more often."""
    movie_weights = list(itertools.accumulate(1 / (rank + 25) for rank in range(len(movies))))
    user_weights = list(itertools.accumulate(drawn.paretovariate(1.3) for _ in users))
    standing: dict[StreamId, tuple[int, RatingSubmitted]] = {}
    step = timedelta(days=DAYS) / count
    for number in range(count):
        (user_id,) = drawn.choices(users, cum_weights=user_weights)
        (movie_id,) = drawn.choices(movies, cum_weights=movie_weights)
        stream_id = rating_stream_id(user_id, movie_id)
        version, before = standing.get(stream_id, (0, None))
        rated_at = FIRST_DAY + number * step
        rating = RatingSubmitted(
            user_id=user_id,
            movie_id=movie_id,
            half_stars=drawn.choices(range(1, 11), HALF_STARS_WEIGHTS)[0],
            rated_at=rated_at.replace(microsecond=rated_at.microsecond // 1_000 * 1_000),
            review=REVIEW if number % REVIEW_EVERY == 0 else None,
            previous_half_stars=before.half_stars if before else None,
            previous_rated_at=before.rated_at if before else None,
        )
        standing[stream_id] = version + 1, rating
        yield _Row(stream_id, version + 1, rating)


def _stored(
    drawn: random.Random, codec: Codec, keys: Keys, row: _Row
) -> tuple[StreamId, int, str, bytes]:
    metadata = Metadata(EventId(_uuid(drawn)), FIRST_DAY, correlation_id=_uuid(drawn))
    state = codec.encode(row.event, metadata, keys)
    return row.stream_id, row.version, type(row.event).__name__, state


def _uuid(drawn: random.Random) -> UUID:
    return UUID(int=drawn.getrandbits(128), version=4)
