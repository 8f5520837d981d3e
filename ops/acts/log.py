"""The audit log of operators' acts, the table `operator_acts`.

A row is committed before its act and closed after it. Between the two, its process holds an
advisory lock on a connection of its own: an open row whose lock is free belongs to a process that
is gone, and is shown as interrupted.

A request with an Idempotency-Key is done once: `recorded` refuses its repeat while the act runs,
and within 24 hours of an act that is done. A repeat of an act that failed, was interrupted or is
older is a further act, whose own key follows from the first one, so that its repeats find it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple
from uuid import UUID, uuid5

import msgspec
import psycopg
import structlog
from psycopg import sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from ops.errors import OperatorError
from shared.errors import IdempotencyKeyReused
from shared.ids import new_uuid7
from shared.log.connections import cause_of, connect
from shared.process.clock import utc_now

Via = Literal["cli", "web", "key"]
State = Literal["running", "interrupted", "done", "failed"]

RESULT_CHARS_MAX = 2_000
PAGE_MAX = 1_000
# A row is committed a moment before its lock is taken.
LOCKED_WITHIN_S = 1.0
# As long as the command API keeps its answers.
REPEATED_WITHIN = timedelta(hours=24)

_LOCK_SEED = 0x5346_4143_5453  # "SFACTS" in ASCII.
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(%s::text, %s))"
_INSERT = (
    "INSERT INTO operator_acts (act_id, actor, via, act, parameters, request_id, repeat_key)"
    " VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (repeat_key) DO NOTHING"
)
_CLOSE = (
    "UPDATE operator_acts SET closed_at = clock_timestamp(), outcome = %s, result = %s"
    " WHERE act_id = %s"
)
_COLUMNS = sql.SQL(
    "SELECT act_id, at, actor, via, act, parameters, request_id, closed_at, result,"
    " CASE WHEN outcome IS NOT NULL THEN outcome"
    " WHEN at > clock_timestamp() - make_interval(secs => {locked_within})"
    " OR NOT pg_try_advisory_xact_lock_shared(hashtextextended(act_id::text, {seed}))"
    " THEN 'running' ELSE 'interrupted' END AS state FROM operator_acts"
).format(locked_within=sql.Literal(LOCKED_WITHIN_S), seed=sql.Literal(_LOCK_SEED))
_PAGE = sql.SQL(
    "{} WHERE (%(actor)s::text IS NULL OR actor = %(actor)s)"
    " AND (%(act)s::text IS NULL OR act = %(act)s)"
    " AND (%(since)s::timestamptz IS NULL OR at >= %(since)s)"
    " AND (%(until)s::timestamptz IS NULL OR at < %(until)s)"
    " AND (%(before)s::uuid IS NULL OR act_id < %(before)s)"
    " ORDER BY act_id DESC LIMIT %(limit)s"
).format(_COLUMNS)
_BY_REPEAT_KEY = sql.SQL("{} WHERE repeat_key = %s").format(_COLUMNS)
_BY_ID = sql.SQL("{} WHERE act_id = %s").format(_COLUMNS)

_lines = msgspec.json.Encoder().encode_lines

log = structlog.get_logger()


class By(NamedTuple):
    """The actor of an act; `repeat_key` is the keyed hash of the Idempotency-Key, if any."""

    actor: str
    via: Via
    request_id: UUID | None = None
    repeat_key: UUID | None = None


class Act(NamedTuple):
    """A row of the log."""

    act_id: UUID
    at: datetime
    actor: str
    via: Via
    act: str
    parameters: dict[str, Any]
    request_id: UUID | None
    closed_at: datetime | None
    result: dict[str, Any] | None
    state: State

    @property
    def json_line(self) -> bytes:
        """The row as a line of an export, with its end."""
        return _lines([self._asdict()])


class ActSelection(NamedTuple):
    """The rows of an actor, of an act's name, and of a time: from `since` until before `until`."""

    actor: str | None = None
    act: str | None = None
    since: datetime | None = None
    until: datetime | None = None


EVERY_ACT = ActSelection()


class Repeated(Exception):
    """Raised instead of an act that its request repeats: `first` is running or done."""

    def __init__(self, first: Act) -> None:
        super().__init__(f"act {first.act_id} has the same Idempotency-Key")
        self.first = first


class Record:
    """The open row of an act, whose `result` is written when it is closed."""

    def __init__(self, act_id: UUID) -> None:
        self.act_id = act_id
        self.result: dict[str, Any] = {}


class ActLog:
    """The table, over connections of its own; raises psycopg's errors."""

    def __init__(self, dsn: str, *, schema: str, pooler: bool = False) -> None:
        self._dsn = dsn
        self._schema = schema
        self._pooler = pooler

    @contextmanager
    def recorded(self, by: By, act: str, parameters: Mapping[str, Any]) -> Iterator[Record]:
        """Append a row, and close it with the outcome of the block.

        Raises `Repeated`, `IdempotencyKeyReused` if the Idempotency-Key was used for another act,
        and `OperatorError` without permission.
        """
        with self._connection() as connection:
            record = self._opened(connection, by, act, parameters)
            try:
                yield record
            except BaseException as error:
                text = str(error) or type(error).__name__
                self._close(connection, record, "failed", {"error": text[:RESULT_CHARS_MAX]})
                raise
            self._close(connection, record, "done", record.result)

    def page(
        self,
        selection: ActSelection = EVERY_ACT,
        *,
        before: UUID | None = None,
        limit: int = PAGE_MAX,
    ) -> list[Act]:
        """Return selected rows, newest first, that were appended before the row `before`."""
        asked = {**selection._asdict(), "before": before, "limit": limit}
        with self._connection() as connection:
            return connection.cursor(row_factory=class_row(Act)).execute(_PAGE, asked).fetchall()

    def get(self, act_id: UUID) -> Act | None:
        with self._connection() as connection:
            cursor = connection.cursor(row_factory=class_row(Act))
            return cursor.execute(_BY_ID, [act_id]).fetchone()

    def pages(self, selection: ActSelection = EVERY_ACT) -> Iterator[list[Act]]:
        """Yield all selected rows in pages, newest first."""
        before = None
        while page := self.page(selection, before=before):
            yield page
            before = page[-1].act_id

    def _opened(
        self,
        connection: psycopg.Connection[Any],
        by: By,
        act: str,
        parameters: Mapping[str, Any],
    ) -> Record:
        """Append the row of the act, or of a further one, and hold its lock; raise `Repeated`."""
        act_id, repeat_key = new_uuid7(), by.repeat_key
        row = (act_id, by.actor, by.via, act, Jsonb(dict(parameters)), by.request_id)
        while not self._is_added(connection, (*row, repeat_key)):
            cursor = connection.cursor(row_factory=class_row(Act))
            first = cursor.execute(_BY_REPEAT_KEY, [repeat_key]).fetchone()
            assert first is not None
            if (first.act, first.parameters) != (act, parameters):
                raise IdempotencyKeyReused("the Idempotency-Key was used with another act before")
            is_recent = utc_now() < first.at + REPEATED_WITHIN
            if first.state == "running" or (first.state == "done" and is_recent):
                raise Repeated(first)
            repeat_key = uuid5(first.act_id, str(repeat_key))
        connection.execute("BEGIN")
        connection.execute(_LOCK, [str(act_id), _LOCK_SEED])
        return Record(act_id)

    def _is_added(self, connection: psycopg.Connection[Any], row: Sequence[object]) -> bool:
        try:
            return bool(connection.execute(_INSERT, row).rowcount)
        except psycopg.errors.InsufficientPrivilege as error:
            raise OperatorError(
                "acts are recorded in operator_acts: this needs the worker's database role"
                " or the database's owner, in STARFOLD_OWNER_DATABASE_URL"
            ) from error

    def _close(
        self,
        connection: psycopg.Connection[Any],
        record: Record,
        outcome: str,
        result: Mapping[str, Any],
    ) -> None:
        """Close the row; without the server it stays open, and is shown as interrupted."""
        values = [outcome, Jsonb(dict(result)), record.act_id]
        try:
            try:
                connection.execute(_CLOSE, values)
                connection.execute("COMMIT")
            except psycopg.OperationalError:  # The server was restarted during the act.
                with self._connection() as another:
                    another.execute(_CLOSE, values)
        except psycopg.Error as error:
            log.warning("act_not_closed", act_id=str(record.act_id), error=cause_of(error))

    @contextmanager
    def _connection(self) -> Iterator[psycopg.Connection[Any]]:
        with connect(
            self._dsn, schema=self._schema, pooler=self._pooler, autocommit=True
        ) as connection:
            yield connection
