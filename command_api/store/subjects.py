"""The streams of users and movies, found by an index of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal

from command_api.store.store import Store
from shared.ids import START, Position, StreamId

PAGE_ROWS = 2_000

SubjectTopic = Literal["MovieCreated", "UserCreated", "UserErased"]

# The topic is a literal: with a parameter, the partial index could not be used.
_PAGE = (
    "SELECT notification_id, originator_id FROM events"
    " WHERE topic = '{topic}' AND notification_id > %s ORDER BY notification_id LIMIT %s"
)


async def subject_pages(
    store: Store, topic: SubjectTopic, after: Position = START
) -> AsyncIterator[list[tuple[Position, StreamId]]]:
    """Yield streams that have an event of the topic, with its position, in the log's order."""
    statement = _PAGE.format(topic=topic).encode()
    while True:
        page: list[tuple[Position, StreamId]] = await store.rows(statement, [after, PAGE_ROWS])
        if page:
            yield page
            after = page[-1][0]
        if len(page) < PAGE_ROWS:
            return
