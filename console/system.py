"""What operators see beside the read models: the write rate, jobs, and servers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple, TypeVar

import structlog

from console.worker_thread import SERVER_ERRORS
from ops.failures import failure_text
from ops.jobs import JobQueue
from ops.jobs.counts import JobCounts, job_counts
from projector.wiring import Wiring
from shared.ids import Position
from shared.log.event_store import Datastore

# The write rate is the mean over this time.
RATE_S = 60.0

ServerRole = Literal["event store", "log replica", "read models", "jobs"]
Value = TypeVar("Value")

log = structlog.get_logger()

# Sizes and connections of others are visible to every role.
_DATABASE = """
SELECT current_setting('server_version') AS version,
    pg_database_size(current_database()) AS bytes,
    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS connections,
    current_setting('max_connections')::int AS connections_max
"""


class ServerState(NamedTuple):
    """A server and how full it is; `product` is None, as is all after it, if it does not answer.

    `bytes_used` is the size of the database, or the memory that Redis uses.
    """

    role: ServerRole
    answers: bool
    product: str | None = None
    version: str | None = None
    bytes_used: int | None = None
    bytes_max: int | None = None
    connections: int | None = None
    connections_max: int | None = None


class WriteRate:
    """Events that were appended a second, from the heads that were seen at some moments.

    One thread notes, others read: what they read is replaced as a whole.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._heads: tuple[tuple[float, Position], ...] = ()

    def note(self, head: Position) -> None:
        now = self._clock()
        # The oldest one is as old as the time of the mean, or a little older.
        old = [nth for nth, (at, _) in enumerate(self._heads) if now - at >= RATE_S]
        self._heads = (*self._heads[old[-1] if old else 0 :], (now, head))

    @property
    def per_s(self) -> float | None:
        """The mean over the time, or over what was seen of it; None before the second head."""
        heads = self._heads
        if len(heads) < 2:
            return None
        (began, first), (ended, last) = heads[0], heads[-1]
        return round((last - first) / (ended - began), 1) if ended > began else None


def server_states(wiring: Wiring, jobs: JobQueue) -> list[ServerState]:
    """Ask each server; one that does not answer is in the list too."""
    states = [_database("event store", wiring.events.connections)]
    if wiring.replica is not None:
        states.append(_database("log replica", wiring.replica.connections))
    return [
        *states,
        *_redis("read models", wiring.store.servers),
        *_redis("jobs", lambda: [jobs.connection]),
    ]


def counted_jobs(jobs: JobQueue) -> JobCounts | None:
    """Return the jobs and workers; None if their Redis does not answer."""
    return _answered("jobs", lambda: job_counts(jobs.queue))


def _database(role: ServerRole, connections: Datastore) -> ServerState:
    def ask() -> ServerState:
        with connections.get_connection() as connection:
            row: Any = connection.execute(_DATABASE).fetchone()
        return ServerState(
            role,
            answers=True,
            product="PostgreSQL",
            version=row["version"].partition(" ")[0],
            bytes_used=row["bytes"],
            connections=row["connections"],
            connections_max=row["connections_max"],
        )

    return _answered(role, ask) or ServerState(role, answers=False)


def _redis(role: ServerRole, servers: Callable[[], list[Any]]) -> Iterator[ServerState]:
    """Yield the state of the server, or of each primary of a cluster."""
    for server in _answered(role, servers) or [None]:
        found = None if server is None else _answered(role, server.info)
        if found is None:
            yield ServerState(role, answers=False)
            continue
        is_valkey = "valkey_version" in found
        yield ServerState(
            role,
            answers=True,
            product="Valkey" if is_valkey else "Redis",
            version=found["valkey_version" if is_valkey else "redis_version"],
            bytes_used=found["used_memory"],
            bytes_max=found.get("maxmemory") or None,
            connections=found["connected_clients"],
            connections_max=found.get("maxclients"),
        )


def _answered(role: ServerRole, ask: Callable[[], Value]) -> Value | None:
    """Return the answer of a server; None if there is none, and its error is logged."""
    try:
        return ask()
    except SERVER_ERRORS as error:
        log.warning("read_failed", server=role, error=failure_text(error))
        return None
