"""The erasure ledger: a file outside the database with the ids of erased users.

A backup of the database that is older than an erasure restores its user with their key. The ledger
survives that, so that `starfold erase --reapply` can erase them again. Each line is a JSON object
with the user's id, which reveals nothing about the person once their key is gone.
"""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import structlog

from command_api.store.store import Store
from command_api.store.subjects import subject_pages
from shared.ids import START, Position, UserId

log = structlog.get_logger()


class LedgerEntry(msgspec.Struct, frozen=True):
    """One line; `noted_at` is when it was written."""

    user_id: UserId
    noted_at: datetime


class ErasureLedger:
    """Copies the log's erasures to the file. Several processes may share it.

    The file is derived: entries lost in a crash are added at the next start.
    """

    def __init__(self, path: Path, store: Store) -> None:
        self.path = path
        self._store = store
        self._lock = asyncio.Lock()
        self._noted: set[UserId] = set()
        self._noted_to: Position = START

    async def note(self, *, from_the_start: bool = False) -> None:
        """Append the users erased since the last call.

        `from_the_start` also finds erasures in a log that was rewound under this process.
        """
        async with self._lock:
            if from_the_start:
                self._noted = set(await asyncio.to_thread(read_ledger, self.path))
                self._noted_to = START
            async for page in subject_pages(self._store, "UserErased", self._noted_to):
                users = [UserId(stream_id) for _, stream_id in page]
                new = [user_id for user_id in users if user_id not in self._noted]
                # Writing waits for the disk.
                await asyncio.to_thread(self._append, new)
                self._noted.update(users)
                self._noted_to = page[-1][0]

    def _append(self, users: list[UserId]) -> None:
        if not users:
            return
        now = datetime.now(UTC)
        # The leading line feed ends a line that a crash has torn.
        lines = b"".join(b"\n" + msgspec.json.encode(LedgerEntry(user, now)) for user in users)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "ab") as stream:
            stream.write(lines + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
        log.info("erasures_noted", users=len(users))


def read_ledger(path: Path) -> list[UserId]:
    """Return the users in a ledger, each once; torn lines are skipped, no file is empty."""
    if not path.exists():
        return []
    users: dict[UserId, None] = {}
    for line in path.read_bytes().splitlines():
        try:
            users[msgspec.json.decode(line, type=LedgerEntry).user_id] = None
        except msgspec.DecodeError:
            continue
    return list(users)
