"""Lag over time: measured by the console, kept in bounded rings, shown as charts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from console.lag import SPANS, LagHistory
from shared.ids import Position
from shared.process.clock import utc_now
from shared.read_model.status import GenerationStatus, Status
from tests.support.api import PASSWORD, Api, problem
from tests.support.system import System, eventually

# In the middle of an interval of each ring.
NOW = datetime(2026, 11, 27, 12, 5, 5, tzinfo=UTC)


def status(at: datetime, lag_events: int | None, state: str = "active") -> Status:
    measured = GenerationStatus(
        projection="movies",
        generation=1,
        state=state,
        definition=1,
        audit="none",
        checkpoint=Position(1),
        lag_events=lag_events,
        lag_s=None if lag_events is None else lag_events / 10,
        events_per_s=None,
        parked=0,
        stopped=None,
    )
    return Status(at=at, head=Position(1), generations=[measured])


@pytest.fixture
def history(system: System) -> LagHistory:
    return LagHistory(system.projector_wiring().events.connections)


def test_an_interval_has_its_highest_lag_and_an_older_clock_changes_nothing(
    history: LagHistory,
) -> None:
    now = utc_now().replace(microsecond=0)
    start = now - timedelta(seconds=now.timestamp() % 10)
    for seconds, lag_events in ((1, 5), (2, 70), (3, 6)):
        history.note(status(start + timedelta(seconds=seconds), lag_events))
    history.note(status(start, None))
    history.note(status(start, 900, state="building"))
    history.note(status(start - timedelta(seconds=900), 800))
    assert [tuple(one) for one in history.points("movies", "15m")] == [(start, 70, 7.0)]
    history.note(status(start + timedelta(seconds=900), 3))
    assert [one.lag_events for one in history.points("movies", "15m")] == [3]


def test_the_rings_are_bounded(system: System, history: LagHistory) -> None:
    for interval in range(200):
        history.note(status(NOW + timedelta(seconds=600 * interval), interval))
    found = system.owner().execute(
        "SELECT every_s, count(*), max(lag_events) FROM projection_lag GROUP BY 1 ORDER BY 1"
    )
    rows = {every_s: (count, newest) for every_s, count, newest in found.fetchall()}
    assert rows[600] == (SPANS["24h"].slots, 199) == (144, 199)
    assert rows[10][0] <= SPANS["15m"].slots == 90


def test_the_console_measures_and_shows_it_as_charts(module_system: System, api: Api) -> None:
    url = module_system.start_console(command_url=str(api.command.base_url).rstrip("/")).url
    credential = {"Authorization": f"Bearer {module_system.service_key(['operate'])}"}
    with httpx.Client(base_url=f"{url}/v1/operator/projections", headers=credential) as client:
        found = eventually(
            lambda: answer if (answer := client.get("/movies/lag").json())["points"] else None
        )
        assert (found["projection"], found["span_s"], found["every_s"]) == ("movies", 900, 10)
        assert client.get("/movies/lag?span=24h").json()["points"]
        assert client.get("/nothing/lag").status_code == 404
        refused = client.get("/movies/lag?span=7d")
        assert problem(refused)["errors"][0]["pointer"] == "/query/span"
    member = api.sign_up(role="operator")
    with httpx.Client(base_url=url, headers={"Origin": url}, timeout=30) as visitor:
        form = {"email": member.email, "password": PASSWORD, "next": "/"}
        assert visitor.post("/login", data=form).status_code == 303
        overview = visitor.get("/").text
        assert overview.count('<svg class="sparkline"') == 3
        page = visitor.get("/projections").text
        assert page.count('<figure class="lag">') == 6
        assert "<figcaption>movies is" in page
        assert "Events behind, at most" in page
