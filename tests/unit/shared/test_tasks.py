"""Background tasks: an unexpected error never ends one, and a frozen one is noticed."""

from __future__ import annotations

import asyncio
import threading
from functools import partial

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from shared.process import tasks as tasks_module
from shared.process.tasks import Tasks


class ServerAway(Exception):
    """An error that says that a server does not answer."""


@pytest.fixture(autouse=True)
def resume_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks_module, "RESUME_FIRST_S", 0.001)
    monkeypatch.setattr(tasks_module, "RESUME_MAX_S", 0.002)


@pytest.fixture
def tasks() -> Tasks:
    return Tasks(expected=(ServerAway,))


def failures(name: str) -> float:
    return REGISTRY.get_sample_value("starfold_task_failures_total", {"task": name}) or 0.0


def last_success_age_s(name: str) -> float | None:
    return REGISTRY.get_sample_value("starfold_task_last_success_age_seconds", {"task": name})


async def turn_until_resumed(tasks: Tasks, name: str, errors: list[Exception]) -> None:
    """Run a task whose first steps raise the errors, until a step succeeds."""
    resumed = asyncio.Event()
    left, succeeded = list(errors), 0

    async def step() -> None:
        nonlocal succeeded
        if left:
            raise left.pop(0)
        succeeded += 1
        if succeeded == 2:  # The first success has been taken note of.
            resumed.set()

    running = tasks.start(tasks.health(name, stale_after_s=10.0), step)
    async with asyncio.timeout(5):
        await resumed.wait()
    assert tasks.problems() == {}
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


def test_a_task_resumes_after_an_unexpected_error_and_the_log_names_it(tasks: Tasks) -> None:
    before = failures("resuming")
    with capture_logs() as logs:
        asyncio.run(turn_until_resumed(tasks, "resuming", [TypeError("odd"), TypeError("odd")]))
    failed = [entry for entry in logs if entry["event"] == "task_failed"]
    # One traceback for an error that repeats itself.
    assert [(entry["task"], entry["exc_info"]) for entry in failed] == [
        ("resuming", True),
        ("resuming", False),
    ]
    assert failures("resuming") == before + 2
    assert (last_success_age_s("resuming") or 0.0) < 5.0


def test_a_server_that_is_away_is_one_warning_an_outage(tasks: Tasks) -> None:
    with capture_logs() as logs:
        errors: list[Exception] = [ServerAway("gone"), ServerAway("gone"), ServerAway("gone")]
        asyncio.run(turn_until_resumed(tasks, "waiting", errors))
    assert [entry["event"] for entry in logs] == ["task_waits", "task_recovered"]


def test_a_frozen_step_is_cancelled_and_started_again(tasks: Tasks) -> None:
    starts = 0

    async def scenario() -> None:
        health = tasks.health("freezing", stale_after_s=0.02)
        resumed = asyncio.Event()

        async def step() -> None:
            nonlocal starts
            starts += 1
            if starts < 3:
                await asyncio.Event().wait()
            resumed.set()

        running = tasks.start(health, step, every_s=0.001)
        async with asyncio.timeout(5):
            await resumed.wait()
        running.cancel()
        await asyncio.wait({running})

    before = failures("freezing")
    asyncio.run(scenario())
    assert starts >= 3
    assert failures("freezing") >= before + 2


def test_a_step_that_turns_its_cancellation_into_another_error_still_ends(tasks: Tasks) -> None:
    async def stubborn() -> None:
        for _ in range(3):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                continue
        raise ServerAway("closed while it was cancelled")

    async def scenario() -> None:
        running = tasks.start(tasks.health("stubborn", stale_after_s=10.0), stubborn)
        await asyncio.sleep(0)
        running.cancel()
        async with asyncio.timeout(5):
            await asyncio.wait({running})

    asyncio.run(scenario())


def test_a_thread_resumes_and_drops_what_may_be_broken(tasks: Tasks) -> None:
    stop = threading.Event()
    done: list[str] = []

    def step() -> None:
        done.append("step")
        if len(done) == 1:
            raise KeyError("odd")
        stop.set()

    health = tasks.health("threaded", stale_after_s=10.0)
    recover = partial(done.append, "recover")
    thread = threading.Thread(target=partial(tasks.run, health, step, stop=stop, recover=recover))
    thread.start()
    thread.join(timeout=5)
    assert done == ["step", "recover", "step"]
    assert tasks.problems() == {}


def test_a_thread_survives_a_recovery_that_fails_too(tasks: Tasks) -> None:
    stop = threading.Event()
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1
        if steps == 2:
            stop.set()
            return
        raise ServerAway("gone")

    def recover() -> None:
        raise OSError("gone too")

    health = tasks.health("recovering", stale_after_s=10.0)
    tasks.run(health, step, stop=stop, recover=recover)
    assert steps == 2


def test_a_frozen_thread_is_reported_by_another_one(tasks: Tasks) -> None:
    tasks.health("frozen", stale_after_s=0.0)
    stop = threading.Event()
    before = failures("frozen")
    with capture_logs() as logs:
        tasks.run(tasks.health("other", stale_after_s=10.0), stop.set, stop=stop)
    assert [entry["task"] for entry in logs if entry["event"] == "task_frozen"] == ["frozen"]
    assert failures("frozen") == before + 1
    assert list(tasks.problems()) == ["frozen"]


def test_readiness_asks_only_for_the_tasks_that_it_needs(tasks: Tasks) -> None:
    tasks.health("beside", stale_after_s=0.0, needed=False)
    assert list(tasks.problems()) == ["beside"]
    assert tasks.problems(needed_only=True) == {}
