"""What operators see of servers and jobs, whichever of them answers."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from console.system import RATE_S, WriteRate
from shared.ids import Position
from tests.support.api import PASSWORD, Api
from tests.support.operated import Operated
from tests.support.ports import free_port
from tests.support.system import System, eventually


@pytest.fixture
def visitor() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=60) as client:
        yield client


def overview(visitor: httpx.Client, url: str, api: Api) -> str:
    visitor.base_url = httpx.URL(url)
    form = {"email": api.sign_up(role="operator").email, "password": PASSWORD, "next": "/"}
    assert visitor.post("/login", data=form, headers={"Origin": url}).status_code == 303
    shown = visitor.get("/")
    assert shown.status_code == 200, shown.text
    return shown.text


def test_each_server_with_its_size_and_the_jobs(
    module_system: System, api: Api, visitor: httpx.Client
) -> None:
    operated = Operated(module_system, command_url=str(api.command.base_url).rstrip("/"))
    state = operated.get("/system")
    assert [one["role"] for one in state["servers"]] == ["event store", "read models", "jobs"]
    assert [one["product"] for one in state["servers"]] == ["PostgreSQL", "Valkey", "Valkey"]
    for server in state["servers"]:
        assert server["answers"]
        assert server["bytes_used"] > 0
        assert 0 < server["connections"] <= server["connections_max"]
    assert state["jobs"]["workers"] == 0
    assert "No worker runs" in overview(visitor, operated.url, api)
    operated.hire_worker()
    assert operated.get("/system")["jobs"]["workers"] == 1
    assert "No worker runs" not in visitor.get("/").text
    eventually(lambda: operated.get("/system")["events_per_s"] is not None)
    assert "events a second" in visitor.get("/").text
    operated.close()


def test_the_overview_says_which_server_does_not_answer(
    module_system: System, api: Api, visitor: httpx.Client
) -> None:
    nobody = f"redis://127.0.0.1:{free_port()}/0"
    command_url = str(api.command.base_url).rstrip("/")
    console = module_system.start_console(redis_url=nobody, command_url=command_url)
    shown = overview(visitor, console.url, api)
    assert "The server of the read models does not answer" in shown
    assert "The server of the jobs" not in shown
    assert "PostgreSQL" in shown
    assert nobody not in shown


def test_the_write_rate_is_the_mean_of_a_minute() -> None:
    moments = iter([*range(0, 200, 5), 195 + RATE_S])
    rate = WriteRate(lambda: float(next(moments)))
    rate.note(Position(1_000))
    before = rate.per_s
    for second in range(5, 200, 5):
        rate.note(Position(1_000 + 20 * second))
    assert (before, rate.per_s) == (None, 20.0)
    rate.note(Position(1_000 + 20 * 195))
    assert rate.per_s == 0.0
