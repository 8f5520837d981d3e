"""Read the past of the log from a replica of the database, so that replays spare the primary."""

from __future__ import annotations

import time
from uuid import UUID

import psycopg
import structlog
from eventsourcing.persistence import PersistenceError

from projector.log.reader import LogReader
from shared.errors import Misconfigured
from shared.ids import Position
from shared.log.codec import Codec
from shared.log.event_store import EventStore
from shared.log.sealing import KeyWrap

# How long to wait for a replica that lacks events, before the primary is read instead.
CAUGHT_UP_WITHIN_S = 10.0
POLL_S = 0.05

log = structlog.get_logger()


class ReplicatedReader(LogReader):
    """Follows the log on the primary, and reads the past from a replica that has all of it.

    A replica that lacked an erasure would still have the person's key.
    """

    def __init__(
        self, primary: EventStore, replica: EventStore, codec: Codec, key_wrap: KeyWrap
    ) -> None:
        super().__init__(primary, codec, key_wrap)
        self._stores = primary, replica
        self._replica = LogReader(replica, codec, key_wrap)
        self._is_checked = False

    def past(self, until: Position) -> LogReader:
        """Return the replica's reader once it has the position, else this one.

        Raises `Misconfigured` for a replica of another log.
        """
        give_up_at = time.monotonic() + CAUGHT_UP_WITHIN_S
        try:
            self._require_same_log()
            while (head := self._replica.head()) < until:
                if time.monotonic() > give_up_at:
                    log.warning("replica_behind", position=head, wanted=until)
                    return self
                time.sleep(POLL_S)
        except (PersistenceError, psycopg.Error) as error:
            log.warning("replica_unavailable", error=type(error).__name__)
            return self
        return self._replica

    def replica_head(self) -> Position:
        return self._replica.head()

    def _require_same_log(self) -> None:
        if self._is_checked:
            return
        primary, replica = map(_log_id, self._stores)
        if primary != replica:
            raise Misconfigured("STARFOLD_LOG_REPLICA_URL leads to another log")
        self._is_checked = True


def _log_id(store: EventStore) -> UUID:
    with store.connections.get_connection() as connection:
        row = connection.execute("SELECT log_id FROM log_identity").fetchone()
    assert row is not None
    log_id: UUID = row["log_id"]
    return log_id
