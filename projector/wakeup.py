"""Waiting for the log to grow: LISTEN, with a poll as backstop for a notification that got lost."""

from __future__ import annotations

import time

import psycopg
import structlog
from psycopg import sql

from shared.event_store import CHANNEL

POLL_S = 1.0
CONNECT_TIMEOUT_S = 5
RECONNECT_EVERY_S = 1.0

log = structlog.get_logger()


class WakeUp:
    """A connection that listens. Listens before the caller's first fetch, so that nothing falls
    between.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: psycopg.Connection | None = None
        self._connect_again_at = 0.0

    def listen(self) -> None:
        """Start to listen, if that is not so already; without a server the poll alone goes on."""
        if self._connection is not None or time.monotonic() < self._connect_again_at:
            return
        self._connect_again_at = time.monotonic() + RECONNECT_EVERY_S
        try:
            connection = psycopg.connect(
                self._dsn, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S
            )
            connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL)))
        except psycopg.Error as error:
            log.warning("listening_failed", error=str(error))
            return
        self._connection = connection

    def forget(self) -> None:
        """Drop what was said so far: whoever fetches after this sees all of it."""
        if self._connection is None:
            return
        try:
            self._connection.pgconn.consume_input()
            while self._connection.pgconn.notifies() is not None:
                pass
        except psycopg.Error as error:
            log.warning("listening_failed", error=str(error))
            self.close()

    def wait(self, seconds: float = POLL_S) -> None:
        """Return when the log has grown, or after the given time."""
        if self._connection is None:
            time.sleep(min(seconds, POLL_S))
            return
        try:
            for _ in self._connection.notifies(timeout=seconds, stop_after=1):
                pass
        except psycopg.Error as error:
            log.warning("listening_failed", error=str(error))
            self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
