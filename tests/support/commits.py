"""Commit commands without HTTP."""

from __future__ import annotations

import asyncio
from uuid import uuid4

from command_api.commit.committer import Committer
from command_api.commit.idempotency import RequestKey
from command_api.commit.pending_command import Answer, PendingCommand
from command_api.deciding.principal import Principal, Service
from command_api.deciding.use_cases import Command
from shared.ids import new_uuid7

SERVICE = Service(new_uuid7(), frozenset({"users", "ratings", "movies", "roles", "erasure"}))


def pending(
    command: Command, principal: Principal = SERVICE, key: RequestKey | None = None
) -> PendingCommand:
    return PendingCommand(
        command,
        principal,
        request_id=uuid4(),
        deadline_s=float("inf"),
        settle=_nobody_waits,
        keys=() if key is None else (key,),
    )


def commit(
    committer: Committer, *commands: Command, principal: Principal = SERVICE
) -> list[Answer]:
    """Commit as one batch."""
    batch = [pending(command, principal) for command in commands]
    return asyncio.run(committer.commit(batch))


def _nobody_waits(_answer: Answer) -> None:
    """The tests look at what `commit` returns."""
