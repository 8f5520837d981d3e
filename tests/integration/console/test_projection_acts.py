"""Acts on projections over HTTP: replay, cancel, switch, purge, verify, retry, discard."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from uuid import UUID

import pytest

from console.acts import executor
from shared.ids import MovieId, UserId
from shared.read_model.keys import partition_of
from tests.support.api import Api
from tests.support.builders import impossible_rating
from tests.support.log import append_raw
from tests.support.operated import Operated
from tests.support.read_models import active, wait_until_applied
from tests.support.system import WITHIN_S, System, eventually


@pytest.fixture(scope="module")
def operated(module_system: System, api: Api) -> Iterator[Operated]:
    for _ in range(3):
        api.rate(api.sign_up(), api.movie(), 4)
    one = Operated(module_system)
    one.hire_worker()
    yield one
    one.close()


def test_a_replay_is_ordered_built_switched_to_and_rolled_back(operated: Operated) -> None:
    shown = operated.version_of("movies")
    path, key = "/projections/movies/replays", "one-replay"
    how = {"workers": 2, "switch": False}
    ordered = operated.act("POST", path, how, status=202, version=shown, key=key)
    assert ordered["location"] == "/v1/operator/replays/movies-2"
    # A repeat is the same act, although the version has changed since.
    again = operated.act("POST", path, how, status=202, version=shown, key=key)
    assert again == ordered
    refused = operated.act("POST", path, how, status=412, version=shown)
    assert refused["type"].endswith(":stale-version")
    refused = operated.act("POST", path, how, status=409)
    assert "is building already" in refused["detail"]
    before = operated.get("/replays/movies-2")
    assert before["state"]["state"] == "building"
    assert before["state"]["build"]["events"] == 0
    assert before["waits_for"].startswith("0 of 2 shares are built")
    operated.work()
    eventually(lambda: operated.get("/replays/movies-2")["state"]["audit"] == "passed")
    body = {"generation": 2}
    version = operated.version_of("movies")
    # A projector takes it up first.
    switched = operated.http.post(
        "/projections/movies/switch", json=body, headers={"If-Match": f'"{version}"'}
    )
    assert switched.status_code in (200, 202), switched.text
    eventually(lambda: operated.generation("movies", 2)["state"] == "active")
    back = operated.act("POST", "/projections/movies/switch", {"generation": 1})
    assert back["state"] == "active"
    assert operated.generation("movies", 2)["state"] == "retired"
    version = operated.generation("movies", 2)["version"]
    purge = "/projections/movies/generations/2"
    assert operated.act("DELETE", purge, version=version)["keys"] > 0
    assert "is purged" in operated.act("DELETE", purge, status=409)["detail"]
    assert (
        "is active"
        in operated.act("DELETE", "/projections/movies/generations/1", status=409)["detail"]
    )
    assert operated.get("/replays/movies-2")["state"]["state"] == "purged"
    replays = operated.recorded("replay")
    assert [one.state for one in replays] == ["failed", "failed", "done"]
    assert (replays[-1].via, replays[-1].result) == ("key", {"generation": 2})
    assert replays[-1].parameters == {
        "projection": "movies",
        "workers": 2,
        "switch": False,
        "audit": True,
        "throttle": None,
    }
    assert {one.state for one in operated.recorded("switch")} == {"done"}


def test_a_replay_is_cancelled_unless_it_is_live(operated: Operated) -> None:
    ordered = operated.act("POST", "/projections/changes/replays", {}, status=202)
    replay = ordered["replay_id"]
    version = operated.get(f"/replays/{replay}")["state"]["version"]
    cancelled = operated.act("DELETE", f"/replays/{replay}", version=version)
    assert cancelled["state"] == "purged"
    operated.act("DELETE", f"/replays/{replay}", status=412, version=version)
    assert "is active" in operated.act("DELETE", "/replays/changes-1", status=409)["detail"]
    # Its job finds nothing to do.
    operated.work()
    assert operated.generation("changes", ordered["generation"]) is None
    assert [one.state for one in operated.recorded("cancel")] == ["failed", "failed", "done"]


def test_what_does_not_exist_is_not_found_and_what_cannot_be_done_is_said(
    operated: Operated,
) -> None:
    absent: list[tuple[str, str, object]] = [
        ("POST", "/projections/nonsense/replays", {}),
        ("POST", "/projections/nonsense/switch", {"generation": 1}),
        ("POST", "/projections/movies/switch", {"generation": 99}),
        ("DELETE", "/projections/movies/generations/99", None),
        ("DELETE", "/replays/movies-99", None),
        ("DELETE", "/replays/nonsense", None),
        ("POST", "/verifications", {"projection": "nonsense"}),
        ("POST", "/verifications", {"projection": "movies", "generation": 99}),
        ("POST", f"/parked/movies-{UUID(int=1)}/retry", None),
        ("POST", f"/parked/movies-{UUID(int=1)}/discard", {"reason": "test"}),
        ("POST", "/parked/nonsense/retry", None),
    ]
    for method, path, asked in absent:
        operated.act(method, path, asked, status=404)
    for path in ("/replays/movies-99", f"/verifications/{UUID(int=1)}", f"/acts/{UUID(int=1)}"):
        operated.get(path, 404)
    wrong: list[tuple[str, dict[str, object]]] = [
        ("/projections/movies/replays", {"workers": 17}),
        ("/projections/movies/replays", {"throttle": 0.5}),
        ("/projections/movies/switch", {}),
        ("/verifications", {"movie": "x"}),
        (f"/parked/movies-{UUID(int=1)}/discard", {"reason": " "}),
    ]
    for path, body in wrong:
        operated.act("POST", path, body, status=422)
    both = {"movie": str(UUID(int=1)), "user": str(UUID(int=2))}
    assert "not both" in operated.act("POST", "/verifications", both, status=409)["detail"]
    operated.dismiss_worker()
    refused = operated.act("POST", "/projections/profiles/replays", {}, status=409)
    assert "no worker is running" in refused["detail"]
    operated.hire_worker()


def test_a_verification_finds_a_difference_and_repairs_it(
    operated: Operated, module_system: System, api: Api
) -> None:
    movie = UUID(api.movie())
    wiring = module_system.projector_wiring()
    wait_until_applied(wiring)
    # The index has read the movie: otherwise it would report the missing document, to be healed.
    api.read("/v1/movies")
    key = active(wiring, "movies").keys(partition_of(movie)).document("stats", movie.hex)
    module_system.redis.delete(key)
    for repair, differs in ((False, 1), (True, 1), (False, 0)):
        body = {"movie": str(movie), "repair": repair}
        begun = operated.act("POST", "/verifications", body, status=202)
        operated.ended(begun["verification_id"])
        found = operated.get(begun["location"].removeprefix("/v1/operator"))
        assert (found["state"], found["differences"]) == ("done", differs), found
        assert found["generations"][0]["projection"] == "movies"
        assert [one["entity"] for one in found["shown"]] == [str(movie)] * differs
    page = operated.get("/verifications?limit=2")
    assert [one["differences"] for one in page["items"]] == [0, 1]
    rest = operated.get(f"/verifications?cursor={page['next_cursor']}")
    assert rest["items"][0]["repair"] is False


def test_long_acts_are_bounded_and_end_with_the_console(
    module_system: System, operated: Operated, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(executor, "LONG_MAX", 0)
        refused = operated.act("POST", "/verifications", {}, status=503)
        assert refused["type"].endswith(":overloaded")
    console, begins = module_system.start_console(), threading.Event()
    require_running = executor.LongAct.require_running

    def wait_for_the_stop(act: executor.LongAct, progress: int = 0) -> None:
        begins.set()
        assert act.stopping.wait(WITHIN_S)
        require_running(act, progress)

    monkeypatch.setattr(executor.LongAct, "require_running", wait_for_the_stop)
    operated.http.base_url = f"{console.url}/v1/operator"
    key, body = "one-verification", {"projection": "movies"}
    begun = operated.act("POST", "/verifications", body, status=202, key=key)
    assert begins.wait(WITHIN_S)
    again = operated.act("POST", "/verifications", body, status=202, key=key)
    assert again["verification_id"] == begun["verification_id"]
    operated.http.base_url = f"{operated.url}/v1/operator"
    console.stop()
    ended = operated.get(f"/acts/{begun['verification_id']}")
    assert ended["state"] == "failed"
    assert "the console was stopped" in ended["result"]["error"]


def test_what_is_parked_is_listed_retried_and_discarded(
    operated: Operated, module_system: System, api: Api
) -> None:
    member, movie_id = api.sign_up(), api.movie()
    user, movie = UserId(UUID(member.user_id)), MovieId(UUID(movie_id))
    bad = append_raw(module_system, impossible_rating(user, movie))
    wiring = module_system.projector_wiring()
    wait_until_applied(wiring)
    found = {one["parked_id"]: one for one in operated.get("/parked")["items"]}
    parked_id = f"movies-{movie}"
    shown = found[parked_id]
    assert (shown["position"], shown["state"], shown["generations"]) == (bad, "parked", [1])
    assert (shown["event"], shown["waiting_events"]) == ("RatingSubmitted", None)
    assert shown["since"] is not None
    path = f"/parked/{parked_id}"
    begun = operated.act("POST", f"{path}/retry", status=202, version=shown["version"])
    assert begun["location"] == f"/v1/operator/acts/{begun['act_id']}"
    assert operated.ended(begun["act_id"])["result"] == {"still_parked": 1}
    reason = {"reason": "the rating is a test's"}
    operated.act("POST", f"{path}/discard", reason, version=shown["version"])
    operated.act("POST", f"{path}/discard", reason, status=412, version=shown["version"])
    assert operated.recorded("discard")[1].parameters == {
        "projection": "movies",
        "entity": movie_id,
        **reason,
    }
    states = {one["parked_id"]: one["state"] for one in operated.get("/parked")["items"]}
    assert states == {parked_id: "discarded", f"profiles-{user}": "parked"}
    api.rate(member, movie_id, 4)
    wait_until_applied(wiring)
    # As good as a release that can apply it.
    module_system.owner().execute("DELETE FROM events WHERE notification_id = %s", [bad])
    every = operated.act("POST", "/parked/retry", status=202)
    assert operated.ended(every["act_id"])["result"] == {"retried": 1, "still_parked": 0}
    begun = operated.act("POST", f"{path}/retry", status=202)
    assert operated.ended(begun["act_id"])["result"] == {"still_parked": 0}
    assert operated.get("/parked")["items"] == []
