"""What operators see of servers and jobs, whichever of them answers."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from console.system import RATE_S, WriteRate
from shared.ids import Position
from tests.support.api import Api
from tests.support.operated import Operated
from tests.support.pages import log_in
from tests.support.ports import free_port
from tests.support.system import System, eventually


@pytest.fixture(scope="module")
def operated(module_system: System, api: Api) -> Iterator[Operated]:
    one = Operated(module_system, command_url=str(api.command.base_url).rstrip("/"))
    yield one
    one.close()


@pytest.fixture(scope="module")
def url(operated: Operated) -> str:
    return operated.url


def test_each_server_with_its_size_and_the_jobs(
    operated: Operated, api: Api, visitor: httpx.Client
) -> None:
    state = operated.get("/system")
    assert [one["role"] for one in state["servers"]] == ["event store", "read models", "jobs"]
    assert [one["product"] for one in state["servers"]] == ["PostgreSQL", "Valkey", "Valkey"]
    for server in state["servers"]:
        assert server["answers"]
        assert server["bytes_used"] > 0
        assert 0 < server["connections"] <= server["connections_max"]
    assert state["jobs"]["workers"] == 0
    log_in(visitor, api, "operator")
    assert "No worker runs" in visitor.get("/").text
    operated.hire_worker()
    assert operated.get("/system")["jobs"]["workers"] == 1
    assert "No worker runs" not in visitor.get("/").text
    eventually(lambda: operated.get("/system")["events_per_s"] is not None)
    assert "events a second" in visitor.get("/").text


def test_the_overview_says_which_server_does_not_answer(module_system: System, api: Api) -> None:
    nobody = f"redis://127.0.0.1:{free_port()}/0"
    command_url = str(api.command.base_url).rstrip("/")
    url = module_system.start_console(redis_url=nobody, command_url=command_url).url
    with httpx.Client(base_url=url, headers={"Origin": url}, timeout=60) as visitor:
        log_in(visitor, api, "operator")
        answer = visitor.get("/")
    assert answer.status_code == 200
    assert "The server of the read models does not answer" in answer.text
    assert "The server of the jobs" not in answer.text
    assert "PostgreSQL" in answer.text
    assert nobody not in answer.text


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
