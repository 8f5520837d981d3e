"""The table of generations in PostgreSQL, which is authoritative, and the readers' copy in Redis.

    building -> following -> active -> retired -> purged

Every change is one transaction under one advisory lock, so that several projectors and operators
may attempt the same change at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, LiteralString, NamedTuple
from uuid import UUID

import msgspec
from psycopg import Cursor as AnyCursor
from psycopg import sql
from psycopg.rows import namedtuple_row

from projector.documents.store import PartitionStore
from projector.projections import Projection
from shared.ids import Position
from shared.log.event_store import Datastore
from shared.read_model.generations import generation_copy
from shared.read_model.keys import GENERATIONS_KEY, PartitionKeys

State = Literal["building", "following", "active", "retired", "purged"]
Reason = Literal["first start", "lost", "new definition", "replay"]
AuditState = Literal["none", "wanted", "passed", "failed"]
Cursor = AnyCursor[Any]

# A reader may still use the number of a retired generation, and an operator may want to switch back
# to it. After this time it is purged and cannot become active again.
RETIRED_KEPT_S = 600.0

_LOCK_ID = 0x5346_4745_4E53  # "SFGENS" in ASCII.

_COLUMNS = sql.SQL(
    "projection, number, definition_version, partitions, state, reason, switch_when_ready,"
    " audit, stopped, stopped_by, extract(epoch FROM now() - retired_at)::float8 AS retired_for_s"
)

_INSERT_GENERATION = """
INSERT INTO generations
    (projection, number, definition_version, partitions, state, reason, switch_when_ready, audit)
SELECT %s, coalesce(max(number), 0) + 1, %s, %s, 'building', %s, %s, %s
FROM generations WHERE projection = %s
RETURNING number
"""
_TAKE_BUILD = """
UPDATE builds b
SET build_token = %s, attempts = b.attempts + 1, folded_events = 0, target_position = %s
FROM generations g
WHERE b.projection = %s AND b.number = %s AND b.share = %s AND b.built_at IS NULL
    AND g.projection = b.projection AND g.number = b.number AND g.state = 'building'
RETURNING b.projection, b.number, b.share, b.partitions, b.attempts, b.folded_events,
    b.target_position, false
"""
_REPORT_PROGRESS = """
UPDATE builds b SET folded_events = %s
FROM generations g
WHERE b.projection = %s AND b.number = %s AND b.share = %s AND b.build_token = %s
    AND g.projection = b.projection AND g.number = b.number AND g.state = 'building'
"""
# Not followed until a projector takes it up; meanwhile readers of the active one are ahead.
_FOLLOW_WHEN_BUILT = """
UPDATE generations g SET state = 'following', stopped = (
    SELECT 'no projector follows it yet'
    FROM generations a WHERE a.projection = g.projection AND a.state = 'active'
)
WHERE g.projection = %s AND g.number = %s AND g.state = 'building'
    AND NOT EXISTS (
        SELECT FROM builds b
        WHERE b.projection = g.projection AND b.number = g.number AND b.built_at IS NULL
    )
"""


class Generation(NamedTuple):
    """One row of the table; `retired_for_s` counts from the switch to another generation.

    `audit` says whether an audit is required before the generation becomes active, and its result;
    `stopped` why it is not followed, None while it is, and `stopped_by` the projector that says so.
    """

    projection: str
    number: int
    definition_version: int
    partitions: int
    state: State
    reason: Reason
    switch_when_ready: bool
    audit: AuditState
    stopped: str | None
    stopped_by: UUID | None
    retired_for_s: float | None

    def keys(self, partition: int) -> PartitionKeys:
        return PartitionKeys(self.projection, self.number, partition)

    @property
    def may_switch(self) -> bool:
        """Whether its audit state allows it to become active.

        The replacement of a lost generation is audited afterwards: until then nothing can be read
        at all.
        """
        return (
            self.audit in ("none", "passed")
            or self.reason != "replay"
            or self.retired_for_s is not None
        )

    @property
    def all_keys(self) -> list[PartitionKeys]:
        return [self.keys(partition) for partition in range(self.partitions)]


class Build(NamedTuple):
    """The build of one share of a generation."""

    projection: str
    number: int
    share: int
    partitions: list[int]
    attempts: int
    folded_events: int
    target_position: int
    built: bool


class BuildProgress(NamedTuple):
    """The events that a generation's shares have read, and have to read, all of them together."""

    events: int
    events_wanted: int


class Generations:
    """The table, accessed through the event store's connections; it raises the library's errors."""

    def __init__(self, datastore: Datastore) -> None:
        self._datastore = datastore

    def all(self) -> list[Generation]:
        """Return every generation that is not purged, oldest first."""
        with self._rows() as cursor:
            return _select(cursor, "state <> 'purged'")

    def get(self, projection: str, number: int) -> Generation | None:
        with self._rows() as cursor:
            found = _select(cursor, "projection = %s AND number = %s", projection, number)
        return found[0] if found else None

    def newest_definitions(self) -> dict[str, int]:
        """Return the highest definition version that ever had a generation, by projection."""
        with self._rows() as cursor:
            rows = cursor.execute(
                "SELECT projection, max(definition_version) AS newest FROM generations"
                " GROUP BY projection"
            ).fetchall()
        return {row.projection: row.newest for row in rows}

    def create(
        self,
        definition: Projection,
        reason: Reason,
        *,
        shares: int,
        switch_when_ready: bool,
        audit: AuditState = "none",
    ) -> Generation:
        """Create a generation in state `building`, with its partitions spread over `shares`."""
        with self._changing() as cursor:
            name, version = definition.name, definition.version
            row = cursor.execute(
                _INSERT_GENERATION,
                [name, version, definition.partitions, reason, switch_when_ready, audit, name],
            ).fetchone()
            assert row is not None
            for share in range(shares):
                partitions = list(range(share, definition.partitions, shares))
                cursor.execute(
                    "INSERT INTO builds (projection, number, share, partitions)"
                    " VALUES (%s, %s, %s, %s)",
                    [name, row.number, share, partitions],
                )
            return _select(cursor, "projection = %s AND number = %s", name, row.number)[0]

    def builds(self, projection: str, number: int) -> list[Build]:
        with self._rows() as cursor:
            rows = cursor.execute(
                "SELECT projection, number, share, partitions, attempts, folded_events,"
                " target_position, built_at IS NOT NULL AS built FROM builds"
                " WHERE projection = %s AND number = %s ORDER BY share",
                [projection, number],
            ).fetchall()
        return [Build(*row) for row in rows]

    def build_progress(self, generation: Generation, head: Position) -> BuildProgress:
        """Return how far a build is; a share that no job has taken yet will read up to the head."""
        builds = self.builds(generation.projection, generation.number)
        wanted = [build.target_position or head for build in builds]
        read = [
            target if build.built else min(build.folded_events, target)
            for build, target in zip(builds, wanted, strict=True)
        ]
        return BuildProgress(sum(read), sum(wanted))

    def take_build(
        self, projection: str, number: int, share: int, token: UUID, target: Position
    ) -> Build | None:
        """Become the builder of a share; return None if it needs no build any more."""
        with self._changing() as cursor:
            row = cursor.execute(_TAKE_BUILD, [token, target, projection, number, share]).fetchone()
        return Build(*row) if row else None

    def report_progress(self, build: Build, token: UUID, folded_events: int) -> bool:
        """Store a build's progress; return False if it was taken over, or its generation purged."""
        with self._rows() as cursor:
            cursor.execute(
                _REPORT_PROGRESS,
                [folded_events, build.projection, build.number, build.share, token],
            )
            return cursor.rowcount == 1

    def finish_build(self, build: Build, token: UUID) -> None:
        """Mark a share as built; after the last one, the generation is followed."""
        with self._changing() as cursor:
            cursor.execute(
                "UPDATE builds SET built_at = now() WHERE projection = %s AND number = %s"
                " AND share = %s AND build_token = %s",
                [build.projection, build.number, build.share, token],
            )
            cursor.execute(_FOLLOW_WHEN_BUILT, [build.projection, build.number])

    def switch(self, projection: str, number: int) -> bool:
        """Make a followed or retired generation the active one; return False if it is neither.

        A generation that is retired long enough to be purged counts as neither.
        """
        with self._changing() as cursor:
            ready = _select(
                cursor,
                "projection = %s AND number = %s AND state IN ('following', 'retired')"
                " AND coalesce(now() - retired_at < make_interval(secs => %s), true)",
                projection,
                number,
                RETIRED_KEPT_S,
            )
            if not ready:
                return False
            cursor.execute(
                "UPDATE generations"
                " SET state = 'retired', retired_at = now(), switch_when_ready = false"
                " WHERE projection = %s AND state = 'active'",
                [projection],
            )
            cursor.execute(
                "UPDATE generations SET state = 'active', activated_at = now(), retired_at = NULL"
                " WHERE projection = %s AND number = %s",
                [projection, number],
            )
            return True

    def switch_when_ready(self, projection: str, number: int, *, wanted: bool = True) -> bool:
        """Set whether a generation becomes active on catching up; return False if it cannot."""
        with self._changing() as cursor:
            cursor.execute(
                "UPDATE generations SET switch_when_ready = %s WHERE projection = %s"
                " AND number = %s AND state IN ('building', 'following', 'retired')",
                [wanted, projection, number],
            )
            return cursor.rowcount == 1

    def set_audit(self, projection: str, number: int, audit: AuditState) -> None:
        self._set("audit = %s", audit, projection, number)

    def set_stopped(
        self, projection: str, number: int, reason: str | None, by: UUID | None = None
    ) -> None:
        self._set("stopped = %s, stopped_by = %s", reason, by, projection, number)

    def mark_purged(self, projection: str, number: int) -> None:
        self._set("purged_at = now(), state = %s", "purged", projection, number)

    def _set(self, change: LiteralString, *parameters: object) -> None:
        statement: LiteralString = "UPDATE generations SET {} WHERE projection = %s AND number = %s"
        with self._changing() as cursor:
            cursor.execute(statement.format(change), parameters)

    def publish(self, store: PartitionStore) -> bool:
        """Update the readers' copy; return False if it was up to date.

        Serialized by the lock, so that an older copy never replaces a newer one.
        """
        with self._changing() as cursor:
            active = _select(cursor, "state = 'active'")
            copy = {
                generation.projection: generation_copy(
                    generation.projection,
                    generation.number,
                    generation.definition_version,
                    generation.partitions,
                )
                for generation in active
            }
            encoded = msgspec.json.encode(copy)
            if store.read(GENERATIONS_KEY) == encoded:
                return False
            store.write(GENERATIONS_KEY, encoded)
            store.announce_generations()
            return True

    def log_id(self) -> UUID:
        """Return the identity of the log in this database; every new database has its own."""
        with self._rows() as cursor:
            row = cursor.execute("SELECT log_id FROM log_identity").fetchone()
        assert row is not None
        log_id: UUID = row.log_id
        return log_id

    @contextmanager
    def bootstrap_locks(self, projections: Sequence[str]) -> Iterator[list[str]]:
        """Hold the projections' bootstrap locks; yield those that no other projector holds."""
        if self._datastore.pooler:
            with self._rows() as cursor, cursor.connection.transaction():
                take = "pg_try_advisory_xact_lock"
                yield [one for one in projections if _locked(cursor, take, one)]
            return
        with self._rows() as cursor:
            held = [one for one in projections if _locked(cursor, "pg_try_advisory_lock", one)]
            try:
                yield held
            finally:
                for one in held:
                    _locked(cursor, "pg_advisory_unlock", one)

    @contextmanager
    def _changing(self) -> Iterator[Cursor]:
        with self._rows() as cursor, cursor.connection.transaction():
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK_ID])
            yield cursor

    @contextmanager
    def _rows(self) -> Iterator[Cursor]:
        with self._datastore.get_connection() as connection:
            yield connection.cursor(row_factory=namedtuple_row)


def _locked(cursor: Cursor, function: LiteralString, projection: str) -> bool:
    statement: LiteralString = "SELECT {}(hashtextextended(%s, %s)) AS held"
    row = cursor.execute(statement.format(function), [projection, _LOCK_ID]).fetchone()
    return bool(row and row.held)


def _select(cursor: Cursor, condition: LiteralString, *parameters: object) -> list[Generation]:
    statement = sql.SQL("SELECT {} FROM generations WHERE {} ORDER BY projection, number")
    found = cursor.execute(statement.format(_COLUMNS, sql.SQL(condition)), parameters)
    rows: Sequence[Any] = found.fetchall()
    return [Generation(*row) for row in rows]
