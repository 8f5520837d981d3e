"""Write the ratings that the worker has found in members' files, in the members' names.

The worker may write no event: it only proposes. Each step writes one part, under idempotency keys
of the import, so that a step that is repeated after a crash doubles nothing and reports the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

import msgspec

from command_api.bodies.bounded_json import validated
from command_api.bodies.models import MovieRatingBody
from command_api.commit.dispatcher import Dispatcher
from command_api.commit.idempotency import RequestKey, request_key
from command_api.commit.pending_command import Answer, Outcome
from command_api.deciding.principal import Member
from command_api.deciding.rating import SubmitRating
from command_api.imports.contents import outcome
from command_api.imports.parts import Proposal, ReportLine
from command_api.imports.shelf import Import, Shelf
from shared.errors import (
    AppendOutcomeUnknown,
    AppendRefused,
    Moved,
    NotAuthenticated,
    Overloaded,
    RatingSuperseded,
    Rejected,
    StorageFull,
    Unavailable,
)
from shared.ids import UserId, new_uuid7
from shared.process.clock import utc_now
from shared.process.tasks import TaskHealth, Tasks
from shared.web.problems import InvalidFields

IDLE_S = 1.0
# A part takes less than a second; the import of a process that died waits this long.
LEASE_S = 30.0
STALE_AFTER_S = 60.0
# The part is written once these have passed.
_PASSING = (
    AppendOutcomeUnknown,
    AppendRefused,
    OSError,
    Overloaded,
    StorageFull,
    Unavailable,
)
_STATUSES = {"created": "imported", "changed": "imported", "unchanged": "unchanged"}


class _ToWrite(NamedTuple):
    """A proposal, its place in the part, and the movie that it is written to."""

    place: int
    proposal: Proposal
    movie_id: UUID


class _Prepared(NamedTuple):
    """Commands with the sizes of their rows, what they are for, and lines of refused ones."""

    commands: list[SubmitRating]
    valid: list[_ToWrite]
    row_bytes: list[int]
    refused: list[ReportLine]


class ImportWriter:
    """The task that writes; every process of the command API has one."""

    def __init__(self, shelf: Shelf, dispatcher: Dispatcher, secret: bytes) -> None:
        self._shelf = shelf
        self._dispatcher = dispatcher
        self._secret = secret

    def start(self, tasks: Tasks) -> asyncio.Task[None]:
        """Start the task; commands are accepted even while it fails."""
        health: TaskHealth = tasks.health("imports", stale_after_s=STALE_AFTER_S, needed=False)

        async def step() -> None:
            while await self.write_part():
                health.succeeded()

        return tasks.start(health, step, every_s=IDLE_S)

    async def write_part(self) -> bool:
        """Write a part of an import; return whether there was one."""
        one = await self._shelf.take(LEASE_S)
        if one is None:
            return False
        try:
            lines = await self._written(one, await self._shelf.proposals(one))
            await self._shelf.written(one, lines)
        except NotAuthenticated:  # The member was erased meanwhile, and their imports with them.
            return True
        except _PASSING:
            await self._shelf.release(one)
            raise
        except Exception:  # It would come back at each attempt, and keep the others waiting.
            await self._shelf.fail(one)
            raise
        return True

    async def _written(self, one: Import, proposals: Sequence[Proposal]) -> list[ReportLine]:
        lines: list[ReportLine] = []
        to_write = [_ToWrite(place, it, it.movie_id) for place, it in enumerate(proposals)]
        while to_write:
            # Reviews are long: a second of computation.
            prepared = await asyncio.to_thread(_prepared, one.user_id, to_write)
            lines += prepared.refused
            answers = await self._dispatcher.dispatch_bulk(
                prepared.commands,
                Member(one.user_id),
                request_id=new_uuid7(),
                row_bytes=prepared.row_bytes,
                keys=[self._keys(one, valid) for valid in prepared.valid],
            )
            to_write = []
            for valid, row in zip(prepared.valid, answers, strict=True):
                if isinstance(row, Moved):
                    to_write.append(valid._replace(movie_id=row.into))
                else:
                    status, detail = _status(row)
                    lines += outcome(valid.proposal, status, valid.movie_id, detail)
        return lines

    def _keys(self, one: Import, valid: _ToWrite) -> tuple[RequestKey]:
        # No request's key has a space.
        text = f"import {one.import_id} {one.parts_written} {valid.place} {valid.movie_id}"
        return (request_key(text, ("", "", ""), b"", one.user_id, self._secret),)


def _prepared(user_id: UserId, to_write: Sequence[_ToWrite]) -> _Prepared:
    prepared = _Prepared([], [], [], [])
    for one in to_write:
        row = _row(one)
        try:
            command = validated(MovieRatingBody, row).command(user_id, one.movie_id, utc_now())
        except InvalidFields as error:
            said = "; ".join(message for _, message in error.wrong)
        except Rejected as error:
            said = str(error)
        else:
            prepared.commands.append(command)
            prepared.valid.append(one)
            prepared.row_bytes.append(len(row))
            continue
        prepared.refused.extend(outcome(one.proposal, "refused", one.movie_id, said))
    return prepared


def _row(one: _ToWrite) -> bytes:
    row: dict[str, object] = {
        "movie_id": one.movie_id,
        "score": one.proposal.half_stars / 2,
        "rated_at": one.proposal.rated_at,
    }
    # An empty one would remove the current review.
    if (one.proposal.review or "").strip():
        row["review"] = one.proposal.review
    return msgspec.json.encode(row)


def _status(row: Answer) -> tuple[str, str | None]:
    """Return what the report says; raise an error that is not the row's own."""
    if isinstance(row, Outcome):
        return _STATUSES[row.status], None
    if isinstance(row, RatingSuperseded):
        return "superseded", "a newer rating is there"
    if isinstance(row, Rejected) and not isinstance(row, NotAuthenticated):
        return "refused", str(row)
    raise row
