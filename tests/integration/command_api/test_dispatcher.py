"""The queue before the commit: cancelled callers, full queues, deadlines, stopping."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import pytest

from command_api.commit import dispatcher as dispatcher_module
from command_api.commit.committer import Committer
from command_api.commit.dispatcher import (
    BULK_BATCH_BYTES_MAX,
    BULK_BYTES_BESIDE_INTERACTIVE_MAX,
    Dispatcher,
)
from command_api.commit.pending_command import Answer, Outcome, PendingCommand
from shared.errors import Overloaded, Unavailable
from shared.process.tasks import Tasks
from tests.support.builders import a_movie
from tests.support.commits import SERVICE
from tests.support.system import WITHIN_S, System


class HeldCommitter(Committer):
    """Commits only once it is released, so that commands gather behind the first."""

    def __init__(self, system: System) -> None:
        super().__init__(system.commit_store(), system.codec(), system.key_wrap())
        self.entered = asyncio.Event()
        self.released = asyncio.Event()
        self.batches: list[int] = []
        self.on_its_way: Sequence[PendingCommand] = ()

    async def commit(self, batch: Sequence[PendingCommand]) -> list[Answer]:
        self.on_its_way = batch
        self.entered.set()
        await asyncio.wait_for(self.released.wait(), WITHIN_S)
        self.batches.append(len(batch))
        return await super().commit(batch)


@pytest.fixture
def held(system: System) -> HeldCommitter:
    return HeldCommitter(system)


async def _dispatch(dispatcher: Dispatcher) -> Outcome:
    return await dispatcher.dispatch(a_movie(), SERVICE, request_id=uuid4())


async def _enter(held: HeldCommitter) -> None:
    await asyncio.wait_for(held.entered.wait(), WITHIN_S)


def test_a_bulk_append_has_so_many_bytes_and_fewer_after_interactive_commands(
    held: HeldCommitter,
) -> None:
    """It holds the append lock for as long as it takes to write them."""
    row_bytes = BULK_BYTES_BESIDE_INTERACTIVE_MAX // 2
    rows = 2 + BULK_BATCH_BYTES_MAX // row_bytes + 1

    async def run() -> None:
        dispatcher = Dispatcher(held)
        dispatcher.start(Tasks(expected=()))
        first = asyncio.create_task(_dispatch(dispatcher))
        await _enter(held)
        answers = dispatcher.dispatch_bulk(
            [a_movie() for _ in range(rows)],
            SERVICE,
            request_id=uuid4(),
            row_bytes=[row_bytes] * rows,
        )
        held.released.set()
        await asyncio.gather(first, answers)
        await dispatcher.stop()

    asyncio.run(run())
    assert held.batches == [1, 2, rows - 3, 1]


def test_commands_gather_while_a_commit_is_under_way(held: HeldCommitter) -> None:
    async def run() -> None:
        dispatcher = Dispatcher(held)
        dispatcher.start(Tasks(expected=()))
        first = asyncio.create_task(_dispatch(dispatcher))
        await _enter(held)
        rest = [asyncio.create_task(_dispatch(dispatcher)) for _ in range(10)]
        await asyncio.sleep(0)
        held.released.set()
        await asyncio.gather(first, *rest)
        await dispatcher.stop()

    asyncio.run(run())
    assert held.batches == [1, 10]


def test_a_cancelled_request_changes_neither_its_command_nor_a_neighbour(
    held: HeldCommitter, system: System
) -> None:
    async def run() -> Outcome:
        dispatcher = Dispatcher(held)
        dispatcher.start(Tasks(expected=()))
        first = asyncio.create_task(_dispatch(dispatcher))
        await _enter(held)
        cancelled, neighbour = (asyncio.create_task(_dispatch(dispatcher)) for _ in range(2))
        await asyncio.sleep(0)
        cancelled.cancel()
        held.released.set()
        outcomes = await asyncio.gather(first, neighbour)
        assert (await asyncio.gather(cancelled, return_exceptions=True))[0] is not None
        await dispatcher.stop()
        return outcomes[1]

    assert asyncio.run(run()).status == "created"
    assert system.event_store().head() == 3


def test_a_full_queue_refuses_at_once(held: HeldCommitter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher_module, "QUEUE_COMMANDS_MAX", 1)

    async def run() -> None:
        dispatcher = Dispatcher(held)
        dispatcher.start(Tasks(expected=()))
        first = asyncio.create_task(_dispatch(dispatcher))
        await _enter(held)
        waiting = asyncio.create_task(_dispatch(dispatcher))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await _dispatch(dispatcher)
        held.released.set()
        await asyncio.gather(first, waiting)
        await dispatcher.stop()

    asyncio.run(run())


def test_a_command_that_waited_too_long_is_dropped_before_it_is_decided(
    held: HeldCommitter, system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        dispatcher = Dispatcher(held)
        dispatcher.start(Tasks(expected=()))
        first = asyncio.create_task(_dispatch(dispatcher))
        await _enter(held)
        with monkeypatch.context() as patched:
            patched.setattr(dispatcher_module, "WAIT_MAX_S", -1.0)
            late = asyncio.create_task(_dispatch(dispatcher))
            await asyncio.sleep(0)
        neighbour = asyncio.create_task(_dispatch(dispatcher))
        await asyncio.sleep(0)
        held.released.set()
        await asyncio.gather(first, neighbour)
        with pytest.raises(Overloaded):
            await late
        await dispatcher.stop()

    asyncio.run(run())
    assert system.event_store().head() == 2


def test_a_command_on_its_way_is_answered_however_late_it_is(held: HeldCommitter) -> None:
    """Once the decision has begun, the only possible answer is the command's outcome."""

    async def run() -> Outcome:
        dispatcher = Dispatcher(held)
        dispatcher.start(Tasks(expected=()))
        task = asyncio.create_task(_dispatch(dispatcher))
        await _enter(held)
        for pending in held.on_its_way:
            pending.deadline_s = 0.0
        held.released.set()
        outcome = await task
        await dispatcher.stop()
        return outcome

    assert asyncio.run(run()).status == "created"


def test_bulk_takes_turns_with_interactive_commands(held: HeldCommitter) -> None:
    async def run() -> None:
        dispatcher = Dispatcher(held)
        dispatcher.start(Tasks(expected=()))
        first = asyncio.create_task(_dispatch(dispatcher))
        await _enter(held)
        movies = [a_movie() for _ in range(600)]
        bulk = dispatcher.dispatch_bulk(movies, SERVICE, request_id=uuid4())
        interactive = asyncio.create_task(_dispatch(dispatcher))
        await asyncio.sleep(0)
        held.released.set()
        await asyncio.gather(first, interactive, bulk)
        await dispatcher.stop()

    asyncio.run(run())
    # Beside the one who waited, and who could have sent again, the bulk's turns were short.
    assert held.batches == [1, 50, 1, 50, 250, 250]


def test_stopping_commits_what_waits_and_takes_no_more(held: HeldCommitter) -> None:
    async def run() -> None:
        dispatcher = Dispatcher(held)
        dispatcher.start(Tasks(expected=()))
        tasks = [asyncio.create_task(_dispatch(dispatcher)) for _ in range(3)]
        await _enter(held)
        stopping = asyncio.create_task(dispatcher.stop())
        await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            await _dispatch(dispatcher)
        held.released.set()
        await asyncio.gather(*tasks)
        await stopping

    asyncio.run(run())


@pytest.mark.parametrize("fault", ["raises", "forgets an answer"])
def test_a_fault_of_a_commit_is_that_batchs_answer_and_the_next_one_works(
    held: HeldCommitter, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    async def faulty(_batch: Sequence[PendingCommand]) -> list[Answer]:
        if fault == "raises":
            raise LookupError("nobody expects this")
        return []

    async def run() -> Outcome:
        dispatcher = Dispatcher(held)
        dispatcher.start(Tasks(expected=()))
        with monkeypatch.context() as patched:
            patched.setattr(held, "commit", faulty)
            for _ in range(2):
                with pytest.raises((LookupError, ValueError)):
                    await _dispatch(dispatcher)
        held.released.set()
        outcome = await _dispatch(dispatcher)
        await dispatcher.stop()
        return outcome

    assert asyncio.run(run()).status == "created"


def test_the_dispatcher_resumes_after_an_error_of_its_own(
    held: HeldCommitter, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = Dispatcher._take
    failures = iter([TypeError("odd")])

    def take_or_fail(self: Dispatcher, *, bulk: bool, **options: Any) -> list[PendingCommand]:
        for failure in failures:
            raise failure
        return take(self, bulk=bulk, **options)

    async def run() -> Outcome:
        monkeypatch.setattr(Dispatcher, "_take", take_or_fail)
        dispatcher = Dispatcher(held)
        tasks = Tasks(expected=())
        dispatcher.start(tasks)
        held.released.set()
        async with asyncio.timeout(WITHIN_S):
            outcome = await _dispatch(dispatcher)
        assert tasks.problems() == {}
        await dispatcher.stop()
        return outcome

    assert asyncio.run(run()).status == "created"
