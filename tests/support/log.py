"""A whole decoded log, for comparisons with answers and read models.

Helpers append events past the deciders.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID, uuid4

from shared.ids import (
    NO_VERSION,
    EventId,
    MovieId,
    Position,
    StreamId,
    UserId,
    Version,
    new_uuid7,
    rating_stream_id,
)
from shared.log.codec import Codec
from shared.log.event_store import EventStore
from shared.log.events import Event, Metadata, RatingSubmitted, RatingWithdrawn
from shared.log.sealing import KeyWrap
from tests.support.builders import NOON
from tests.support.system import System

PAGE = 5_000
USERS_MAX = 100_000

# Half stars and the time that they were given at.
Standing = tuple[int | None, datetime | None]
NO_RATING: Standing = (None, None)


class Entry(NamedTuple):
    """An event with its place, its personal fields opened."""

    position: Position
    stream_id: StreamId
    version: Version
    event: Event


def read_log(store: EventStore, key_wrap: KeyWrap) -> list[Entry]:
    """Every event, in order."""
    wrapped = store.last_wrapped_keys(USERS_MAX)
    keys = {UserId(user_id): key_wrap.unwrap(user_id, key) for user_id, key in wrapped.items()}
    codec = Codec()
    entries: list[Entry] = []
    start = Position(1)
    while page := store.fetch(start, PAGE):
        entries += (
            Entry(
                row.position,
                row.stream_id,
                row.version,
                codec.decode(row.topic, row.state, keys).event,
            )
            for row in page
        )
        start = Position(page[-1].position + 1)
    return entries


def append_raw(
    system: System,
    event: Event,
    *,
    topic: str | None = None,
    stream_id: StreamId | None = None,
    version: int = 1,
) -> Position:
    """Append what no decider would have recorded, in a stream of its own unless one is given."""
    metadata = Metadata(event_id=EventId(new_uuid7()), recorded_at=NOON, correlation_id=new_uuid7())
    state = system.codec().encode(event, metadata, {})
    row = (
        system.owner()
        .execute(
            "INSERT INTO events (originator_id, originator_version, topic, state)"
            " VALUES (%s, %s, %s, %s) RETURNING notification_id",
            [stream_id or uuid4(), version, topic or type(event).__name__, state],
        )
        .fetchone()
    )
    assert row is not None
    return Position(row[0])


def rating_of(user_id: str, movie_id: str) -> StreamId:
    """The stream of a user's rating of a movie, whose ids came over HTTP."""
    return rating_stream_id(UserId(UUID(user_id)), MovieId(UUID(movie_id)))


def assert_unbroken(log: Sequence[Entry]) -> None:
    """Positions rise, and versions have no gap.

    Each rating states what it replaced: the rating before it.
    """
    position = Position(0)
    versions: dict[StreamId, Version] = {}
    standing: dict[StreamId, Standing] = {}
    for entry in log:
        assert entry.position > position
        position = entry.position
        assert entry.version == versions.get(entry.stream_id, NO_VERSION) + 1
        versions[entry.stream_id] = entry.version
        now = NO_RATING
        match entry.event:
            case RatingSubmitted() as event:
                now = event.half_stars, event.rated_at
            case RatingWithdrawn() as event:
                pass
            case _:
                continue
        replaced = event.previous_half_stars, event.previous_rated_at
        assert replaced == standing.get(entry.stream_id, NO_RATING), entry
        standing[entry.stream_id] = now
