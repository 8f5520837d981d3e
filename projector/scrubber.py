"""Rewrite Redis's own files after an erasure, so that they no longer hold the person's data.

A document that was overwritten or deleted remains in the append-only file until the server rewrites
the file. The scrubber therefore orders a rewrite once every generation of `profiles` has applied
the last `UserErased`. Redis holds, beside the documents, the erasure up to which its files are
clean; if that record is lost, the scrubber rewrites the files once more.

A generation that was being built during the erasure may still write data that it read before it.
The record lists such generations, and the scrubber rewrites the files again when they have applied
the erasure or have been purged. A generation begun after the erasure never had the key.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
import redis
import structlog

from projector.documents.store import ABSENT, PartitionStore
from projector.generations.table import Generation, Generations
from shared.ids import Position, UserId
from shared.log.event_store import EventStore
from shared.read_model.checkpoints import decode_checkpoint
from shared.read_model.keys import PROFILES, SCRUBBED_KEY

# How long to wait for a lagging generation before scrubbing without it.
SETTLED_WITHIN_S = 30.0
# Timeout for the rewrite of one file; after it the scrubber orders the rewrite again.
REWRITTEN_WITHIN_S = 600.0
POLL_S = 0.05

_LAST_ERASURE = (
    "SELECT notification_id, originator_id FROM events WHERE topic = 'UserErased'"
    " ORDER BY notification_id DESC LIMIT 1"
)

log = structlog.get_logger()


class Erasure(msgspec.Struct, frozen=True):
    """The position and user of a `UserErased`; the user exposes a log that was rewound."""

    position: Position
    user_id: UserId


class Scrubbed(msgspec.Struct, frozen=True):
    """The erasure up to which the files are clean, except for the generations `unsettled`."""

    erasure: Erasure
    unsettled: tuple[int, ...]


class _File(NamedTuple):
    """One of the server's files: the command that rewrites it, and its fields of INFO."""

    command: str
    under_way: tuple[str, ...]
    status: str


_APPEND_ONLY = _File(
    "BGREWRITEAOF",
    ("aof_rewrite_in_progress", "aof_rewrite_scheduled"),
    "aof_last_bgrewrite_status",
)
_DUMP = _File("BGSAVE", ("rdb_bgsave_in_progress",), "rdb_last_bgsave_status")


class Scrubber:
    """Order rewrites of the files, at most one every `every_s`, on a thread of its own."""

    def __init__(
        self,
        events: EventStore,
        generations: Generations,
        redis_url: str,
        *,
        every_s: float,
        stop: threading.Event | None = None,
        on_progress: Callable[[], object] = lambda: None,
    ) -> None:
        self._events = events
        self._generations = generations
        self._store = PartitionStore(redis_url)
        self._every_s = every_s
        self._stop = stop or threading.Event()
        self.on_progress = on_progress
        self._rewritten_at: float | None = None
        # The erasure that the scrubber waits for, and when it began to wait.
        self._wanted: tuple[Erasure, float] | None = None

    def forget_connections(self) -> None:
        """Drop the connections, for example after an error."""
        self._store.forget_connection()

    def close(self) -> None:
        self._store.close()

    def run_once(self) -> bool:
        """Rewrite the files if a rewrite is due; return whether they were rewritten."""
        self._store.require_writable()
        now = time.monotonic()
        if self._rewritten_at is not None and now < self._rewritten_at + self._every_s:
            return False
        due = self._due(now)
        if due is None or not all(self._rewrite_files(one) for one in self._store.servers()):
            return False
        self._store.write(SCRUBBED_KEY, msgspec.json.encode(due))
        self._rewritten_at = time.monotonic()
        self._wanted = None
        log.info("files_scrubbed", position=due.erasure.position, unsettled=due.unsettled)
        return True

    def _due(self, now: float) -> Scrubbed | None:
        """Return the record that a rewrite now would justify; None if it would gain nothing.

        The scrubber keeps waiting for the erasure that it has chosen, however many follow.
        """
        last = self._last_erasure()
        if last is None:
            return None
        erasure, since = self._wanted or (last, now)
        unsettled = self._unsettled(erasure.position)
        scrubbed = self._scrubbed()
        if scrubbed is not None and scrubbed.erasure == erasure:
            left = tuple(number for number in scrubbed.unsettled if number in unsettled)
            self._wanted = None
            return Scrubbed(erasure, left) if left != scrubbed.unsettled else None
        self._wanted = erasure, since
        if unsettled and now < since + SETTLED_WITHIN_S:
            return None
        return Scrubbed(erasure, unsettled)

    def _unsettled(self, position: Position) -> tuple[int, ...]:
        """Return the generations in which some partition has not applied the position."""
        return tuple(
            generation.number
            for generation in self._generations.all()
            if generation.projection == PROFILES and not self._has_applied(generation, position)
        )

    def _has_applied(self, generation: Generation, position: Position) -> bool:
        stored: Sequence[bytes] = self._store.checkpoints(generation.all_keys)
        return ABSENT not in stored and all(
            decode_checkpoint(checkpoint).position >= position for checkpoint in stored
        )

    def _last_erasure(self) -> Erasure | None:
        with self._events.datastore.get_connection() as connection:
            row = connection.execute(_LAST_ERASURE).fetchone()
        return Erasure(row["notification_id"], row["originator_id"]) if row else None

    def _scrubbed(self) -> Scrubbed | None:
        stored = self._store.read(SCRUBBED_KEY)
        if stored is None:
            return None
        try:
            return msgspec.json.decode(stored, type=Scrubbed)
        except msgspec.MsgspecError:
            log.warning("scrubbed_damaged", consequence="Redis's files are rewritten once more")
            return None

    def _rewrite_files(self, server: redis.Redis) -> bool:
        """Rewrite the files of one server; return whether that succeeded."""
        return all(self._rewrite(server, file) for file in _files(server))

    def _rewrite(self, server: redis.Redis, file: _File) -> bool:
        """Rewrite a file; return whether that succeeded.

        A rewrite that was already running does not count: it may include data from before the
        erasure.
        """
        if not self._wait_until_none_is_under_way(server):
            return False
        try:
            server.execute_command(file.command)
        except redis.ResponseError as refusal:
            log.warning("rewrite_refused", command=file.command, reason=str(refusal))
            return False
        return (
            self._wait_until_none_is_under_way(server) and _persistence(server)[file.status] == "ok"
        )

    def _wait_until_none_is_under_way(self, server: redis.Redis) -> bool:
        """Wait for running rewrites; return False on a stop or a timeout."""
        give_up_at = time.monotonic() + REWRITTEN_WITHIN_S
        while not self._stop.is_set() and time.monotonic() < give_up_at:
            persistence = _persistence(server)
            fields = (*_APPEND_ONLY.under_way, *_DUMP.under_way)
            if not any(persistence.get(field) for field in fields):
                return True
            self.on_progress()
            self._stop.wait(POLL_S)
        return False


def _files(server: redis.Redis) -> list[_File]:
    """Return the files that the server keeps."""
    files = [_APPEND_ONLY] if _persistence(server)["aof_enabled"] else []
    saves: Any = server.config_get("save")
    return [*files, _DUMP] if saves.get("save") else files


def _persistence(server: redis.Redis) -> dict[str, Any]:
    persistence: dict[str, Any] = server.info("persistence")
    return persistence
