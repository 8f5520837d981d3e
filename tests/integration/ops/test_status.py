"""How far each projection is: over HTTP, in a terminal and in Prometheus."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import httpx
import pytest
from typer.testing import CliRunner

from ops.cli import app
from projector.following.commit_delay import COMMIT_TO_APPLIED
from projector.generations.table import Generation, Generations
from projector.projections import DEFINITIONS
from projector.sharing.member import Member
from projector.status import Sampler
from shared.ids import MovieId, UserId, new_uuid7
from shared.log.schema import PROJECTOR_ROLE
from shared.read_model.keys import partition_of
from shared.read_model.status import BuildStatus
from tests.support.api import Api
from tests.support.builders import impossible_rating
from tests.support.log import append_raw
from tests.support.ports import free_port
from tests.support.read_models import active, wait_until_applied
from tests.support.scenarios.mixed_history import History
from tests.support.scenarios.projector_steps import bootstrapped
from tests.support.system import System, eventually


def started(system: System, **changes: Any) -> Api:
    command, query = system.start_command_api(), system.start_query_api()
    system.start_projector(**changes)
    return Api(command.url, query.url, system.service_key())


def test_lag_is_counted_in_events_and_seconds(system: System) -> None:
    wiring = system.projector_wiring()
    history = History(system)
    bootstrapped(wiring)
    sampler = Sampler(wiring)
    sampler.sample()
    behind = wiring.reader.head()
    history.go_on(30)
    status = sampler.sample()
    assert status.head == wiring.reader.head()
    assert [one.projection for one in status.generations] == ["changes", "movies", "profiles"]
    for one in status.generations:
        assert (one.checkpoint, one.lag_events) == (behind, status.head - behind)
        assert one.lag_s is not None
        assert one.lag_s > 0
        assert one.events_per_s == 0
        assert (one.parked, one.stopped, one.state) == (0, None, "active")
    wiring.store.drop([active(wiring, "movies").keys(3)])
    lost = sampler.sample().generations[1]
    assert (lost.checkpoint, lost.lag_events) == (None, None)


def test_a_build_shows_how_much_of_the_log_its_shares_have_read(system: System) -> None:
    wiring = system.projector_wiring()
    History(system).go_on(30)
    head, token = wiring.reader.head(), new_uuid7()
    movies = DEFINITIONS["movies"]
    built = wiring.generations.create(movies, "replay", shares=2, switch_when_ready=False)
    taken = wiring.generations.take_build("movies", built.number, 0, token, head)
    assert taken is not None
    sampler = Sampler(wiring)
    before = sampler.sample().generations[0].build
    assert before == BuildStatus(events=0, events_wanted=2 * head, events_per_s=None, left_s=None)
    wiring.generations.report_progress(taken, token, 10)
    during = sampler.sample().generations[0].build
    assert during is not None
    assert (during.events, during.events_wanted) == (10, 2 * head)
    assert during.events_per_s
    assert during.left_s == pytest.approx((2 * head - 10) / during.events_per_s, abs=0.1)
    wiring.generations.finish_build(taken, token)
    after = sampler.sample().generations[0].build
    assert after is not None
    assert after.events == head


def test_a_sample_reads_the_table_once(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    wiring = system.projector_wiring()
    bootstrapped(wiring)
    read = Generations.all
    reads = []

    def noted(self: Generations) -> list[Generation]:
        reads.append(self)
        return read(self)

    monkeypatch.setattr(Generations, "all", noted)
    Sampler(wiring).sample()
    assert len(reads) == 1


def test_operators_read_it_over_http(system: System) -> None:
    with started(system) as api:
        operator, member = api.sign_up(role="operator"), api.sign_up()
        api.rate(member, api.movie(), 4)
        eventually(lambda: api.get("/v1/projections", operator).status_code == 200)
        wiring = system.projector_wiring()

        def caught_up() -> bool:
            status = api.read("/v1/projections", operator)
            return bool(status["head"] == wiring.reader.head()) and all(
                one["state"] == "active" and one["lag_events"] == 0 for one in status["generations"]
            )

        eventually(caught_up)
        assert api.get("/v1/projections").status_code == 401
        assert api.get("/v1/projections", member).status_code == 403


def test_what_is_parked_is_shown_as_stale(system: System) -> None:
    with started(system) as api:
        member = api.sign_up()
        movie_id, sound = api.movie(), api.movie()
        api.rate(member, movie_id, 4)
        user, movie = UserId(UUID(member.user_id)), MovieId(UUID(movie_id))
        append_raw(system, impossible_rating(user, movie))
        wiring = system.projector_wiring()
        wait_until_applied(wiring)
        eventually(lambda: api.query.get("/ready").status_code == 200)
        shown = f"/v1/movies/{movie_id}"
        for path in (shown, f"{shown}/stats", f"/v1/users/{member.user_id}"):
            document = api.read(path)
            assert document["stale"] is True
            assert document["ratings"]["count"] == 1
            tag = api.get(path).headers["etag"]
            assert api.query.get(path, headers={"If-None-Match": tag}).status_code == 304
        assert "stale" not in api.read(f"/v1/movies/{sound}")
        # One whose very first event could not be applied is there all the same: no false 404.
        keys = active(wiring, "movies").keys(partition_of(movie))
        system.redis.delete(keys.document("movie", movie.hex))
        for path in (shown, f"{shown}/stats", f"{shown}/history"):
            refused = api.get(path)
            assert (refused.status_code, "retry-after" in refused.headers) == (503, True)


def test_prometheus_reads_it_from_the_projector(system: System) -> None:
    port = free_port()
    system.start_projector(metrics_port=port)
    url = f"http://127.0.0.1:{port}/metrics"

    def shown() -> str:
        try:
            return httpx.get(url).text
        except httpx.TransportError:
            return ""

    eventually(lambda: 'starfold_projection_checkpoint{projection="movies"}' in shown())
    assert 'starfold_projection_stopped_generations{projection="movies"} 0.0' in shown()
    assert 'starfold_projection_parked_entities{projection="profiles"} 0.0' in shown()
    assert 'generation="1",projection="movies",state="active"} 1.0' in shown()

    def observed() -> float:
        """The observations that other tests of this process and this one have made."""
        samples = [one for family in COMMIT_TO_APPLIED.collect() for one in family.samples]
        return sum(one.value for one in samples if one.name.endswith("_count"))

    before = observed()
    History(system).go_on(20)
    eventually(lambda: observed() > before)
    assert 'starfold_projection_commit_to_applied_seconds_bucket{le="0.005",projection=' in shown()


def test_a_terminal_shows_it(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = system.servers.home.environment(PROJECTOR_ROLE)
    for name, value in (settings | {"STARFOLD_DATABASE_SCHEMA": system.schema}).items():
        monkeypatch.setenv(name, value)
    wiring = system.projector_wiring()
    bootstrapped(wiring)
    member = Member(wiring.projectors)
    member.renew()
    shown = CliRunner().invoke(app, ["status"])
    assert shown.exit_code == 0, shown.output
    heading, projectors, index, columns, *rows = shown.output.splitlines()
    assert heading.startswith("log at position 0, ")
    assert projectors.startswith("1 projector: since 20")
    assert index == "there is no event index"
    assert columns.split("\t")[:3] == ["projection", "generation", "state"]
    assert [row.split("\t")[0] for row in rows] == ["changes", "movies", "profiles"]
    member.leave()
    assert "no projector is live" in CliRunner().invoke(app, ["status"]).output
