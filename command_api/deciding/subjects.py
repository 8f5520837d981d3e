"""Whom and what the log speaks of: the streams of users and movies, by an index of their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from shared.ids import START, Position, StreamId
from shared.log.event_store import EventStore

PAGE_ROWS = 2_000

SubjectTopic = Literal["MovieCreated", "UserCreated", "UserErased"]

# The topic is written out: with a parameter in its place the partial index could not be used.
_PAGE = (
    "SELECT notification_id, originator_id FROM events"
    " WHERE topic = '{topic}' AND notification_id > %s ORDER BY notification_id LIMIT %s"
)


def subject_pages(
    store: EventStore, topic: SubjectTopic, after: Position = START
) -> Iterator[list[tuple[Position, StreamId]]]:
    """Streams that hold an event of the topic, with its position, in the log's order."""
    while True:
        with store.datastore.get_connection() as connection:
            rows = connection.execute(_PAGE.format(topic=topic), [after, PAGE_ROWS]).fetchall()
        page = [(Position(row["notification_id"]), StreamId(row["originator_id"])) for row in rows]
        if page:
            yield page
            after = page[-1][0]
        if len(page) < PAGE_ROWS:
            return
