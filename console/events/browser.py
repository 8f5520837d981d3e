"""Read the log for operators: pages, one event with what belongs to it, and a whole selection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
import psycopg
from psycopg.rows import tuple_row

from console.events.pages import find, indexed_to
from console.events.selection import Selection
from console.events.views import EventView, masked, revealed, subject_of
from shared.errors import NotFound
from shared.ids import Position, UserId
from shared.log.event_store import Datastore
from shared.log.sealing import KeyWrap, SubjectKeys
from shared.log.stored_row import StoredRow

EXPORTED_AT_ONCE = 500
# Events of the same request that are listed with one event.
LINKED_MAX = 100

_EVENTS = (
    "SELECT notification_id, originator_id, originator_version, topic, state FROM events"
    " WHERE notification_id = ANY (%s::bigint[])"
)
_WITH_KEY = "SELECT user_id FROM subject_keys WHERE user_id = ANY (%s::uuid[])"
_WRAPPED = "SELECT user_id, wrapped FROM subject_keys WHERE user_id = %s"
_NEIGHBOURS = (
    "SELECT originator_version, notification_id FROM events"
    " WHERE originator_id = %s AND originator_version = ANY (%s::bigint[])"
)
_OF_REQUEST = (
    "SELECT position, causation FROM event_index WHERE correlation = %s ORDER BY position LIMIT %s"
)


class EventPage(NamedTuple):
    """Events, newest first; `indexed_to` is the end of the event index, None without one."""

    events: list[EventView]
    next_place: int | None
    indexed_to: Position | None


class Links(msgspec.Struct, frozen=True, kw_only=True):
    """Positions of the events that belong to one: its neighbours in the stream, and its request's.

    `same_command` are the ones of these with the same cause. Both lists are
    None without the event index, and end after the first hundred of a large request.
    """

    previous_in_stream: Position | None = None
    next_in_stream: Position | None = None
    same_request: list[Position] | None = None
    same_command: list[Position] | None = None


class EventBrowser:
    """Reads events with the event store's connections; thread-safe."""

    def __init__(self, datastore: Datastore, key_wrap: KeyWrap) -> None:
        self._datastore = datastore
        self._key_wrap = key_wrap

    def page(self, selection: Selection, *, place: int | None = None, limit: int) -> EventPage:
        """Return a page of a selection; raise `EventIndexOff` as `find` does."""
        with self._datastore.get_connection() as connection:
            indexed = indexed_to(connection)
            found = find(connection, selection, place=place, limit=limit)
            events = _masked(connection, _rows(connection, found.positions))
        return EventPage(events, found.next_place, indexed)

    def exported(self, selection: Selection) -> Iterator[list[EventView]]:
        """Yield all events of a selection, newest first, a list at a time."""
        place = None
        while True:
            page = self.page(selection, place=place, limit=EXPORTED_AT_ONCE)
            yield page.events
            place = page.next_place
            if place is None:
                return

    def event(self, position: Position) -> tuple[EventView, Links]:
        """Return one event; raise `NotFound` for a position without one."""
        with self._datastore.get_connection() as connection:
            row = _row(connection, position)
            (view,) = _masked(connection, [row])
            return view, _links(connection, view)

    def reveal(self, position: Position) -> dict[str, str]:
        """Return the personal fields of one event; the caller has recorded who asked, and why.

        Raises `NotFound` for a position without an event, and `EventUnreadable`.
        """
        with self._datastore.get_connection() as connection:
            row = _row(connection, position)
            subject = subject_of(row)
            cursor = connection.cursor(row_factory=tuple_row)
            wrapped: dict[UserId, bytes] = dict(cursor.execute(_WRAPPED, [subject]).fetchall())
        return revealed(row, SubjectKeys(self._key_wrap, wrapped))


Connection = psycopg.Connection[Any]


def _row(connection: Connection, position: Position) -> StoredRow:
    rows = _rows(connection, [position])
    if not rows:
        raise NotFound(f"there is no event at position {position}")
    return rows[0]


def _rows(connection: Connection, positions: Sequence[Position]) -> list[StoredRow]:
    """Return the events at these positions, newest first."""
    cursor = connection.cursor(row_factory=tuple_row, binary=True)
    rows = [StoredRow(*row) for row in cursor.execute(_EVENTS, [positions]).fetchall()]
    return sorted(rows, key=lambda row: row.position, reverse=True)


def _masked(connection: Connection, rows: Sequence[StoredRow]) -> list[EventView]:
    subjects = {subject for row in rows if (subject := subject_of(row)) is not None}
    cursor = connection.cursor(row_factory=tuple_row)
    with_key = {UserId(user) for (user,) in cursor.execute(_WITH_KEY, [list(subjects)])}
    return [masked(row, with_key) for row in rows]


def _links(connection: Connection, event: EventView) -> Links:
    cursor = connection.cursor(row_factory=tuple_row)
    versions = [event.version - 1, event.version + 1]
    neighbours: dict[int, Position] = dict(
        cursor.execute(_NEIGHBOURS, [event.stream_id, versions]).fetchall()
    )
    previous, following = (neighbours.get(version) for version in versions)
    if indexed_to(connection) is None or event.correlation_id is None:
        return Links(previous_in_stream=previous, next_in_stream=following)
    rows = cursor.execute(_OF_REQUEST, [event.correlation_id, LINKED_MAX]).fetchall()
    return Links(
        previous_in_stream=previous,
        next_in_stream=following,
        same_request=[position for position, _ in rows if position != event.position],
        same_command=[
            position
            for position, causation in rows
            if causation == event.causation_id and position != event.position
        ],
    )
