"""A replica of the database, which spares the primary the long reads of exports."""

from __future__ import annotations

import asyncio
import time
from uuid import UUID

import structlog

from command_api.store.store import Store
from shared.errors import Misconfigured, Unavailable
from shared.ids import Position

# How long to wait for a replica that lacks events, before the primary is read instead.
CAUGHT_UP_WITHIN_S = 1.0
POLL_S = 0.05

_LOG_ID = b"SELECT log_id FROM log_identity"

log = structlog.get_logger()


class Replica:
    """Lends the replica's store while it has what a reader needs."""

    def __init__(self, primary: Store, replica: Store) -> None:
        self._primary = primary
        self._replica = replica
        self._is_checked = False

    async def having(self, position: Position) -> Store | None:
        """Return the replica's store once it has the position, None if it soon does not.

        Raises `Misconfigured` for a replica of another log.
        """
        give_up_at = time.monotonic() + CAUGHT_UP_WITHIN_S
        try:
            await self._require_same_log()
            while (head := await self._replica.head()) < position:
                if time.monotonic() > give_up_at:
                    log.warning("replica_behind", position=head, wanted=position)
                    return None
                await asyncio.sleep(POLL_S)
        except Unavailable as error:
            log.warning("replica_unavailable", error=type(error).__name__)
            return None
        return self._replica

    async def close(self) -> None:
        await self._replica.close()

    async def _require_same_log(self) -> None:
        if self._is_checked:
            return
        if await _log_id(self._primary) != await _log_id(self._replica):
            raise Misconfigured("STARFOLD_LOG_REPLICA_URL leads to another log")
        self._is_checked = True


async def _log_id(store: Store) -> UUID:
    ((log_id,),) = await store.rows(_LOG_ID)
    found: UUID = log_id
    return found
