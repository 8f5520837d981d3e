"""Group commit: commands wait in bounded queues, and a batch gathers during the previous commit.

There is no timer. A batch is everything that arrived while the last one was written, so that a lone
command leaves at once and a crowd shares one commit. Interactive commands and bulk rows have
separate queues and take turns; a bulk append is small, so that it does not delay the others.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Sequence
from functools import partial
from itertools import repeat
from uuid import UUID

import structlog
from prometheus_client import Histogram

from command_api.commit.committer import Committer
from command_api.commit.idempotency import RequestKey
from command_api.commit.pending_command import Answer, Outcome, PendingCommand
from command_api.deciding.principal import Principal
from command_api.deciding.use_cases import Command
from shared.errors import Overloaded, Unavailable
from shared.process.tasks import TaskHealth, Tasks

BATCH_COMMANDS_MAX = 1_000
BULK_BATCH_COMMANDS_MAX = 250
# Limit while interactive commands wait, or were just answered: their senders are about to send
# again, and would all wait for one large append.
BULK_BESIDE_INTERACTIVE_MAX = 50
# Bytes of rows in one bulk append, which holds the append lock while it writes them.
BULK_BATCH_BYTES_MAX = 512 * 1024
BULK_BYTES_BESIDE_INTERACTIVE_MAX = 64 * 1024
QUEUE_COMMANDS_MAX = 10_000
BULK_QUEUE_COMMANDS_MAX = 20_000
WAIT_MAX_S = 10.0
# The requests that wait for bulk rows limit their number.
NO_DEADLINE_S = math.inf

BATCH_COMMANDS = Histogram(
    "starfold_batch_commands",
    "Commands in one commit.",
    buckets=(1, 2, 5, 10, 20, 50, 100, 250, 1_000),
)
COMMIT_SECONDS = Histogram(
    "starfold_commit_seconds",
    "Time to load, decide and append one batch.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15),
)

log = structlog.get_logger()


class Dispatcher:
    """Accepts commands and commits them in batches, all on the event loop."""

    def __init__(
        self, committer: Committer, pending_kind: type[PendingCommand] = PendingCommand
    ) -> None:
        self._committer = committer
        self._pending_kind = pending_kind
        self._interactive: deque[PendingCommand] = deque()
        self._bulk: deque[PendingCommand] = deque()
        self._work = asyncio.Event()
        self._stopping = False
        self._committing = False
        self._drained = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self, tasks: Tasks) -> None:
        # A commit is never cancelled: its connection has its own timeouts.
        health = tasks.health("dispatcher", stale_after_s=math.inf)
        self._task = tasks.start(health, partial(self._run, health))

    async def stop(self) -> None:
        """Accept no more commands, commit the waiting ones, and end."""
        self._stopping = True
        self._work.set()
        if self._task is not None:
            await self._drained.wait()
            self._task.cancel()
            await asyncio.wait({self._task})
        await self._committer.close()

    async def dispatch(
        self,
        command: Command,
        principal: Principal,
        *,
        request_id: UUID,
        key: RequestKey | None = None,
    ) -> Outcome:
        """Commit one command and return its outcome, or the first outcome under `key`.

        Raises what the command's rules raise, and `Overloaded` at once when too many commands wait.
        A caller that is cancelled meanwhile changes nothing: the command is still decided.
        """
        self._require_room(self._interactive, 1, QUEUE_COMMANDS_MAX)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Outcome] = loop.create_future()
        pending = self._pending_kind(
            command,
            principal,
            request_id=request_id,
            deadline_s=loop.time() + WAIT_MAX_S,
            settle=partial(_resolve, future),
            keys=() if key is None else (key,),
        )
        self._interactive.append(pending)
        self._work.set()
        return await future

    def dispatch_bulk(
        self,
        commands: Sequence[Command],
        principal: Principal,
        *,
        request_id: UUID,
        row_bytes: Sequence[int] = (),
        keys: Sequence[tuple[RequestKey, ...]] = (),
    ) -> asyncio.Future[list[Answer]]:
        """Commit many commands in turns with interactive ones.

        Return a future of an answer or an error for each, in order. `row_bytes` are the sizes of
        their rows, `keys` the rows' idempotency keys; either may be empty. The commands are queued
        at once; raises `Overloaded` when too many wait.
        """
        self._require_room(self._bulk, len(commands), BULK_QUEUE_COMMANDS_MAX)
        answers = _BulkAnswers(len(commands))
        self._bulk.extend(
            self._pending_kind(
                command,
                principal,
                request_id=request_id,
                deadline_s=NO_DEADLINE_S,
                settle=partial(answers.settle, place),
                row_bytes=one_bytes,
                keys=row_keys,
            )
            for place, (command, one_bytes, row_keys) in enumerate(
                zip(commands, row_bytes or repeat(0), keys or repeat(()), strict=False)
            )
        )
        self._work.set()
        return answers.future

    def _require_room(self, queue: deque[PendingCommand], more: int, most: int) -> None:
        if self._stopping:
            raise Unavailable("the command API is stopping")
        if self._committing and self._committer.store_is_silent:
            # One batch at a time probes the store; all others are refused without waiting.
            raise Unavailable("the event store does not answer")
        if len(queue) + more > most:
            raise Overloaded(f"{len(queue)} commands are waiting already")

    async def _run(self, health: TaskHealth) -> None:
        loop = asyncio.get_running_loop()
        bulk_turn = False
        while True:
            if not self._interactive and not self._bulk:
                if self._stopping:
                    self._drained.set()
                    return
                self._work.clear()
                await self._work.wait()
                continue
            # The bulk queue has its turn after an interactive batch.
            beside = bulk_turn or bool(self._interactive)
            bulk_turn = bool(self._bulk) and (bulk_turn or not self._interactive)
            batch = self._take(bulk=bulk_turn, beside_interactive=beside, now_s=loop.time())
            bulk_turn = not bulk_turn
            if batch:
                BATCH_COMMANDS.observe(len(batch))
                for pending, answer in await self._commit(batch):
                    pending.settle(answer)
            health.succeeded()

    async def _commit(self, batch: Sequence[PendingCommand]) -> list[tuple[PendingCommand, Answer]]:
        """Commit a batch; any error is its answer, and the dispatcher continues."""
        self._committing = True
        try:
            with COMMIT_SECONDS.time():
                answers = await self._committer.commit(batch)
            return list(zip(batch, answers, strict=True))
        except Exception as error:  # An error must not end the only task that commits.
            log.exception("batch_failed", commands=len(batch))
            return [(pending, error) for pending in batch]
        finally:
            self._committing = False

    def _take(self, *, bulk: bool, beside_interactive: bool, now_s: float) -> list[PendingCommand]:
        """Take the next batch, without the commands whose callers have given up."""
        queue = self._bulk if bulk else self._interactive
        if not bulk:
            most, bytes_left = BATCH_COMMANDS_MAX, 1
        elif beside_interactive:
            most, bytes_left = BULK_BESIDE_INTERACTIVE_MAX, BULK_BYTES_BESIDE_INTERACTIVE_MAX
        else:
            most, bytes_left = BULK_BATCH_COMMANDS_MAX, BULK_BATCH_BYTES_MAX
        batch: list[PendingCommand] = []
        while queue and len(batch) < most and bytes_left > 0:
            bytes_left -= queue[0].row_bytes
            pending = queue.popleft()
            if pending.deadline_s < now_s:
                pending.settle(Overloaded("the command waited too long and was not decided"))
            else:
                batch.append(pending)
        return batch


class _BulkAnswers:
    """Answers of many commands; the future resolves once each has one."""

    def __init__(self, count: int) -> None:
        self.future: asyncio.Future[list[Answer]] = asyncio.get_running_loop().create_future()
        self._answers: dict[int, Answer] = {}
        self._count = count
        self._resolve_when_complete()

    def settle(self, place: int, answer: Answer) -> None:
        self._answers[place] = answer
        self._resolve_when_complete()

    def _resolve_when_complete(self) -> None:
        if len(self._answers) == self._count and not self.future.done():
            self.future.set_result([self._answers[place] for place in range(self._count)])


def _resolve(future: asyncio.Future[Outcome], answer: Answer) -> None:
    """Resolve the caller's future, unless the caller has left."""
    if future.done():
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)
