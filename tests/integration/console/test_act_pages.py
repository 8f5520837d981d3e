"""Buttons of the console, as a browser without script uses them."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import httpx
import pytest

from shared.ids import MovieId, UserId
from tests.support.api import Api
from tests.support.builders import impossible_rating
from tests.support.log import append_raw
from tests.support.operated import Operated
from tests.support.pages import confirmed, hidden, log_in
from tests.support.read_models import wait_until_applied
from tests.support.system import System, eventually


@pytest.fixture(scope="module")
def operated(module_system: System, api: Api) -> Iterator[Operated]:
    one = Operated(module_system, command_url=str(api.command.base_url).rstrip("/"))
    one.hire_worker()
    yield one
    one.close()


@pytest.fixture
def url(operated: Operated) -> str:
    return operated.url


def test_a_replay_to_the_end_by_buttons_and_back(
    operated: Operated, visitor: httpx.Client, api: Api
) -> None:
    api.rate(api.sign_up(), api.movie(), 4)
    log_in(visitor, api, "operator")
    ordered = confirmed(visitor, "/projections/movies/replay", workers="1", audit="on")
    assert (ordered.status_code, ordered.headers["location"]) == (303, "/projections")
    page = visitor.get("/projections").text
    assert "<progress" in page
    assert "/projections/movies/generations/2/cancel" in page
    operated.work()
    eventually(lambda: operated.generation("movies", 2)["audit"] == "passed")
    assert confirmed(visitor, "/projections/movies/generations/2/switch").status_code == 303
    eventually(lambda: operated.generation("movies", 2)["state"] == "active")
    assert "Roll back" in visitor.get("/projections/movies/generations/1/switch").text
    stale = hidden(visitor.get("/projections/movies/generations/1/switch").text)
    assert confirmed(visitor, "/projections/movies/generations/1/switch").status_code == 303
    assert operated.generation("movies", 1)["state"] == "active"
    refused = visitor.post(
        "/projections/movies/generations/1/switch", data={**stale, "key": "another"}
    )
    assert refused.status_code == 412
    purge = "/projections/movies/generations/2/purge"
    assert confirmed(visitor, purge, typed="movies").status_code == 422
    assert confirmed(visitor, purge, typed="movies-2").status_code == 303
    assert operated.generation("movies", 2) is None


def test_a_verification_and_parked_entities_by_buttons(
    operated: Operated, module_system: System, visitor: httpx.Client, api: Api
) -> None:
    log_in(visitor, api, "operator")
    begun = confirmed(visitor, "/verifications/begin", projection="changes")
    assert begun.status_code == 303
    eventually(lambda: "No difference" in visitor.get(begun.headers["location"]).text)
    assert confirmed(visitor, "/verifications/begin", movie="x").status_code == 422
    assert "changes" in visitor.get("/verifications").text
    user, movie = UserId(UUID(api.sign_up().user_id)), MovieId(UUID(api.movie()))
    append_raw(module_system, impossible_rating(user, movie))
    wait_until_applied(module_system.projector_wiring())
    one = f"/parked/movies-{movie}"
    assert f"{one}/retry" in visitor.get("/parked").text
    retried = confirmed(visitor, f"{one}/retry")
    assert retried.headers["location"].startswith("/acts/")
    eventually(lambda: "still_parked" in visitor.get(retried.headers["location"]).text)
    assert confirmed(visitor, f"{one}/discard", reason="a test", typed="x").status_code == 422
    assert (
        confirmed(visitor, f"{one}/discard", reason="a test", typed=str(movie)).status_code == 303
    )
    assert "discarded" in visitor.get("/parked").text
    assert confirmed(visitor, "/parked/retry").status_code == 303
    assert visitor.get("/acts").status_code == 200


def test_a_member_gets_no_page_and_no_act(visitor: httpx.Client, api: Api) -> None:
    log_in(visitor, api, "member")
    paths = (
        "/projections",
        "/verifications",
        "/parked",
        "/projections/movies/replay",
        "/projections/movies/generations/1/switch",
        "/projections/movies/generations/1/purge",
        "/verifications/begin",
        "/parked/retry",
    )
    for path in paths:
        assert visitor.get(path).status_code == 403, path
    for path in paths[3:]:
        assert visitor.post(path, data={"key": "one", "version": ""}).status_code == 403, path
