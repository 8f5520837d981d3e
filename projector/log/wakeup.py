"""Wait for the log to grow: LISTEN, with polling as a backstop for lost notifications."""

from __future__ import annotations

import time
from typing import Any

import psycopg
import structlog
from psycopg import sql

from shared.log.connections import Connection, cause_of, connect
from shared.log.event_store import CHANNEL

POLL_S = 1.0
# Poll interval where LISTEN is not available.
POLL_ALONE_S = 0.1
RECONNECT_EVERY_S = 1.0
# A connection that is silent for this long is probed: the server, or a proxy in between, may have
# dropped it silently.
SILENT_MAX_S = 5.0
ANSWER_WITHIN_S = 2.0

log = structlog.get_logger()


class WakeUp:
    """A listening connection.

    It listens before the caller's first fetch, so that no notification falls between the two.
    Without a DSN, behind a transaction pooler, it only polls.
    """

    def __init__(self, dsn: str | None) -> None:
        self._dsn = dsn
        self._connection: Connection[Any] | None = None
        self._connect_again_at = 0.0
        self._heard_at = 0.0

    def listen(self) -> None:
        """Start to listen if it does not already; without a server it only polls."""
        if self._connection is not None:
            self._require_answer(self._connection)
        if (
            self._dsn is None
            or self._connection is not None
            or time.monotonic() < self._connect_again_at
        ):
            return
        try:
            connection = connect(self._dsn, autocommit=True, answer_within_s=ANSWER_WITHIN_S)
            connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL)))
        except psycopg.Error as error:
            log.warning("listening_failed", error=cause_of(error))
            self._connect_again_at = time.monotonic() + RECONNECT_EVERY_S
            return
        self._connection = connection
        self._heard_at = time.monotonic()

    def forget(self) -> None:
        """Discard the notifications so far: a fetch after this call sees their events."""
        if self._connection is None:
            return
        try:
            self._connection.pgconn.consume_input()
            while self._connection.pgconn.notifies() is not None:
                self._heard_at = time.monotonic()
        except psycopg.Error as error:
            self._lost(error)

    def wait(self, seconds: float = POLL_S) -> None:
        """Return when the log has grown, or after the given time."""
        if self._connection is None:
            time.sleep(min(seconds, POLL_S if self._dsn else POLL_ALONE_S))
            return
        try:
            for _ in self._connection.notifies(timeout=seconds, stop_after=1):
                self._heard_at = time.monotonic()
        except psycopg.Error as error:
            self._lost(error)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _require_answer(self, connection: Connection[Any]) -> None:
        """Close a connection that no longer answers."""
        if time.monotonic() - self._heard_at < SILENT_MAX_S:
            return
        try:
            connection.execute("")
        except psycopg.Error as error:
            self._lost(error)
        else:
            self._heard_at = time.monotonic()

    def _lost(self, error: psycopg.Error) -> None:
        log.warning("listening_failed", error=cause_of(error))
        self.close()
