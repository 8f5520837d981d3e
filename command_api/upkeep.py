"""Upkeep: what is kept for a while is deleted once that while is over."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog
from eventsourcing.persistence import PersistenceError
from starlette.concurrency import run_in_threadpool

from command_api.erasures import ErasureLedger
from command_api.idempotency import purge_answers
from command_api.sessions import Sessions
from shared.event_store import EventStore

EVERY_S = 600.0

log = structlog.get_logger()


class Upkeep:
    """Purges old answers and expired sessions and completes the erasure ledger, at start and every
    `EVERY_S`.
    """

    def __init__(self, store: EventStore, sessions: Sessions, ledger: ErasureLedger | None) -> None:
        self._store = store
        self._ledger = ledger
        self._sessions = sessions
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name="upkeep")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            try:
                await run_in_threadpool(self._once)
            except (PersistenceError, OSError) as error:
                log.warning("upkeep_postponed", error=str(error))
            await asyncio.sleep(EVERY_S)

    def _once(self) -> None:
        if self._ledger is not None:
            self._ledger.note(from_the_start=True)
        answers, sessions = purge_answers(self._store), self._sessions.purge()
        if answers or sessions:
            log.info("upkeep_done", purged_answers=answers, purged_sessions=sessions)
