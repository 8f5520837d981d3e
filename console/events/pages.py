"""Find events, newest first, at a bounded cost: by indexes, and a limited number for each page.

The log's own indexes serve positions and streams. A type is compared event by event, or found in
the event index (`projector/event_index.py`), which alone knows times and ids.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import psycopg
from psycopg import sql
from psycopg.rows import TupleRow, tuple_row

from console.events.selection import Page, Selection
from shared.errors import EventIndexOff
from shared.ids import POSITION_MAX, START, Position

# Events that one page looks at, at most, to find those that match.
SCANNED_MAX = 10_000
# Clocks of several servers, and commands that wait for their commit, put events out of the order of
# their times; no further than this.
OUT_OF_ORDER = timedelta(minutes=1)
_LATEST = datetime.max.replace(tzinfo=UTC) - OUT_OF_ORDER

# Each scan yields positions from a place downwards by one index; a stream's places are versions.
_LOG = sql.SQL(
    "SELECT notification_id AS position, notification_id AS place, topic FROM events"
    " WHERE notification_id > %(low)s AND notification_id < %(high)s"
    " ORDER BY notification_id DESC LIMIT %(scanned)s"
)
_STREAM = sql.SQL(
    "SELECT notification_id AS position, originator_version AS place, topic FROM events"
    " WHERE originator_id = %(stream)s AND originator_version < %(place)s"
    " ORDER BY originator_version DESC LIMIT %(scanned)s"
)
# With `column = value`, the planner could scan all positions for a value that it takes for common.
_INDEX = sql.SQL(
    "SELECT position, position AS place, topic FROM event_index WHERE {column} IS NOT NULL"
    " AND ({column}, position) > ({value}, %(low)s) AND ({column}, position) < ({value}, %(high)s)"
    " ORDER BY {column} DESC, position DESC LIMIT %(scanned)s"
)
_FOUND = sql.SQL(
    "SELECT scanned.position, place FROM ({scan}) AS scanned {joined} WHERE {matches}"
    " ORDER BY place DESC LIMIT %(limit)s"
)
_LAST = sql.SQL("SELECT min(place), count(*) FROM ({scan}) AS scanned")
# The limit makes this a look-up for each scanned event.
_JOINED = sql.SQL(
    "CROSS JOIN LATERAL"
    " (SELECT * FROM event_index WHERE position = scanned.position LIMIT 1) AS indexed"
)
_BEFORE = (
    "SELECT position FROM event_index WHERE recorded_at < %s"
    " ORDER BY recorded_at DESC, position DESC LIMIT 1"
)
_AFTER = (
    "SELECT position FROM event_index WHERE recorded_at >= %s"
    " ORDER BY recorded_at, position LIMIT 1"
)
# A bitmap of a range would be collected and sorted as a whole before its first row is known.
IN_ORDER = "SET LOCAL enable_bitmapscan = off"
_CHECKPOINT = "SELECT position FROM event_index_checkpoint"

Connection = psycopg.Connection[Any]
Clause = sql.SQL | sql.Composed


def indexed_to(connection: Connection) -> Position | None:
    """Return the last position in the event index; None without one."""
    row = _rows(connection).execute(_CHECKPOINT).fetchone()
    return None if row is None else Position(row[0])


def find(
    connection: Connection,
    selection: Selection,
    *,
    place: int | None,
    limit: int,
    scanned_max: int = SCANNED_MAX,
) -> Page:
    """Return the next events of a selection from a place downwards, at most `limit`.

    Raises `EventIndexOff` for a selection that needs the event index while there is none.
    """
    has_index = indexed_to(connection) is not None
    if selection.needs_index and not has_index:
        raise EventIndexOff
    found, last, parameters = statements(
        connection,
        selection,
        place=place,
        limit=limit,
        scanned_max=scanned_max,
        has_index=has_index,
    )
    with connection.transaction():
        cursor = _rows(connection)
        cursor.execute(IN_ORDER)
        rows = cursor.execute(found, parameters).fetchall()
        positions = [Position(position) for position, _ in rows]
        if len(rows) == limit:
            return Page(positions, rows[-1][1])
        row = cursor.execute(last, parameters).fetchone()
    assert row is not None
    last_place, scanned = row
    return Page(positions, last_place if scanned == parameters["scanned"] else None)


def statements(
    connection: Connection,
    selection: Selection,
    *,
    place: int | None,
    limit: int,
    scanned_max: int = SCANNED_MAX,
    has_index: bool,
) -> tuple[Clause, Clause, dict[str, Any]]:
    """Return the statement of a page, the one for the end of its scan, and their parameters."""
    scan, matches = _scan(selection, has_index=has_index)
    low, high = _bounds(connection, selection)
    before = POSITION_MAX if place is None else place
    parameters = {
        **msgspec.structs.asdict(selection),
        "low": low,
        "high": high if scan is _STREAM else min(high, before),
        "place": before,
        # Without anything to compare, each scanned event is on the page.
        "scanned": scanned_max if matches else limit,
        "limit": limit,
    }
    found = _FOUND.format(
        scan=scan,
        joined=_JOINED if selection.needs_index else sql.SQL(""),
        matches=sql.SQL(" AND ").join(matches) if matches else sql.SQL("true"),
    )
    return found, _LAST.format(scan=scan), parameters


def _scan(selection: Selection, *, has_index: bool) -> tuple[Clause, list[Clause]]:
    """Return the scan of the index that selects best, and the conditions left to compare."""
    matches: dict[str, Clause] = {name: _equal("indexed", name) for name in selection.ids}
    if selection.topic is not None:
        matches["topic"] = _equal("scanned", "topic")
    if selection.since is not None:
        matches["since"] = sql.SQL("recorded_at >= %(since)s")
    if selection.until is not None:
        matches["until"] = sql.SQL("recorded_at < %(until)s")
    if selection.stream is not None and selection.correlation is None:
        bounds = sql.SQL("scanned.position > %(low)s AND scanned.position < %(high)s")
        return _STREAM, [bounds, *matches.values()]
    if selection.stream is not None:
        matches["stream"] = _equal("indexed", "stream")
    lead = next(iter(selection.ids), "topic" if has_index and selection.topic else None)
    if lead is None:
        return _LOG, list(matches.values())
    del matches[lead]
    scan = _INDEX.format(column=sql.Identifier(lead), value=sql.Placeholder(lead))
    return scan, list(matches.values())


def _equal(table: str, column: str) -> Clause:
    return sql.SQL("{} = {}").format(sql.Identifier(table, column), sql.Placeholder(column))


def _bounds(connection: Connection, selection: Selection) -> tuple[int, int]:
    """Return the positions between which all selected events are."""
    low = START if selection.position_min is None else selection.position_min - 1
    high = POSITION_MAX if selection.position_max is None else selection.position_max + 1
    cursor = _rows(connection)
    if selection.since is not None:
        row = cursor.execute(_BEFORE, [selection.since - OUT_OF_ORDER]).fetchone()
        low = low if row is None else max(low, row[0])
    if selection.until is not None and selection.until < _LATEST:
        row = cursor.execute(_AFTER, [selection.until + OUT_OF_ORDER]).fetchone()
        high = high if row is None else min(high, row[0])
    return low, high


def _rows(connection: Connection) -> psycopg.Cursor[TupleRow]:
    return connection.cursor(row_factory=tuple_row)
