"""Upkeep: delete records whose retention time has passed."""

from __future__ import annotations

import asyncio

import structlog

from command_api.commit.idempotency import purge_answers
from command_api.identity.mails import Mails
from command_api.identity.sessions import Sessions
from command_api.imports.shelf import Shelf
from command_api.privacy.erasure_ledger import ErasureLedger
from command_api.store.store import Store
from shared.process.tasks import Tasks

EVERY_S = 600.0

log = structlog.get_logger()


class Upkeep:
    """Purges old answers, sessions, mails and imports, and completes the erasure ledger.

    Runs at start and every `EVERY_S`.
    """

    def __init__(
        self,
        store: Store,
        sessions: Sessions,
        mails: Mails,
        shelf: Shelf,
        ledger: ErasureLedger | None,
    ) -> None:
        self._store = store
        self._mails = mails
        self._shelf = shelf
        self._ledger = ledger
        self._sessions = sessions

    def start(self, tasks: Tasks) -> asyncio.Task[None]:
        """Start the task; commands are accepted even while it fails."""
        health = tasks.health("upkeep", stale_after_s=3 * EVERY_S, needed=False)
        return tasks.start(health, self._step, every_s=EVERY_S)

    async def _step(self) -> None:
        if self._ledger is not None:
            await self._ledger.note(from_the_start=True)
        await self._mails.purge()
        answers, sessions = await purge_answers(self._store), await self._sessions.purge()
        imports = await self._shelf.purge()
        if answers or sessions or imports:
            log.info(
                "upkeep_done",
                purged_answers=answers,
                purged_sessions=sessions,
                purged_imports=imports,
            )
