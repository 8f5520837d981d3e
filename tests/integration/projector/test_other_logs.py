"""Redis holds the read models of another log than PostgreSQL: they are dropped, never served."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from projector.audit.auditor import Audit
from projector.building.builder import Builder
from projector.following.follower import Follower
from projector.projections import DEFINITIONS
from shared.read_model.keys import LOG_KEY
from tests.conftest import Starfold
from tests.support.builders import a_rating
from tests.support.commits import commit
from tests.support.read_models import active, assert_exact, wait_until_applied
from tests.support.scenarios.mixed_history import History
from tests.support.scenarios.projector_steps import bootstrapped, built
from tests.support.system import System, eventually


@pytest.fixture
def new(system: System) -> Iterator[System]:
    """A new database beside a Redis that was kept: it was filled from the log of `system`."""
    History(system).go_on()
    projector = system.start_projector()
    wait_until_applied(system.projector_wiring())
    projector.stop()
    made = System(system.servers, keep_redis=True)
    yield made
    made.close()


def test_a_new_database_beside_a_kept_redis_gets_its_own_read_models(new: System) -> None:
    history = History(new)
    history.go_on(50)
    new.start_projector()
    wiring = new.projector_wiring()
    wait_until_applied(wiring)
    assert_exact(wiring)
    assert any("belonged to another log" in one.what for one in wiring.incidents.recent())


def test_nothing_of_another_log_is_served(system: System, new: System) -> None:
    """Not even while the read models of this one are being built."""
    wiring = new.projector_wiring()
    movie = active(system.projector_wiring(), "movies")
    bootstrapped(wiring)
    query = new.start_query_api()
    (foreign,) = list(_a_movie(system))

    def settled() -> httpx.Response | None:
        answer = httpx.get(f"{query.url}/v1/movies/{foreign}")
        return None if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE else answer

    assert eventually(settled).status_code == httpx.codes.NOT_FOUND
    assert movie.number == active(wiring, "movies").number


def _a_movie(system: System) -> Iterator[str]:
    row = system.owner().execute(
        "SELECT originator_id FROM events WHERE topic = 'MovieCreated' LIMIT 1"
    )
    for (movie,) in row.fetchall():
        yield str(movie)


def test_what_stands_under_a_new_generations_number_is_dropped_before_the_first_attempt(
    system: System,
) -> None:
    """As after the restore of a database that has never heard of it."""
    History(system).go_on()
    wiring = system.projector_wiring()
    left: Any = system.redis
    for projection in ("movies", "profiles"):
        left.zadd(f"sf:{{{projection}:1:3}}:raters:00", {b"somebody": 1})
        left.set(f"sf:{{{projection}:1:15}}:stats:{16 * 'ab'}", b"{}")
        left.set(f"sf:{{{projection}:11:1}}:stats:{16 * 'ab'}", b"of another number")
    for projection in DEFINITIONS:
        assert built(wiring, projection).number == 1
        (one,) = (g for g in wiring.generations.all() if g.projection == projection)
        assert Audit(wiring.reader, wiring.store).verify(one).differences == []
    assert left.exists(f"sf:{{movies:11:1}}:stats:{16 * 'ab'}")


class TestTheIdentityBesideTheReadModels:
    def test_drops_nothing_where_it_is_damaged_or_missing(self, system: System) -> None:
        """A release without one may have written them, or a byte of it has changed."""
        History(system).go_on()
        wiring = system.projector_wiring()
        bootstrapped(wiring)
        before = {one: active(wiring, one).number for one in DEFINITIONS}
        stored = system.redis.get(LOG_KEY)
        for damage in (b"x" * 40, b"", None):
            if damage is None:
                system.redis.delete(LOG_KEY)
            else:
                system.redis.set(LOG_KEY, damage)
            bootstrapped(wiring)
            assert system.redis.get(LOG_KEY) == stored
        assert {one: active(wiring, one).number for one in DEFINITIONS} == before
        assert wiring.incidents.recent() == []


class TestAPartitionWithoutAReadableCheckpoint:
    @pytest.mark.parametrize("damage", ["cut", "flipped", "gone", "another type"])
    def test_is_rebuilt_in_place(self, system: System, starfold: Starfold, damage: str) -> None:
        history = History(system)
        history.go_on()
        wiring = system.projector_wiring()
        system.start_projector()
        wait_until_applied(wiring)
        generation = active(wiring, "profiles")
        key = generation.keys(5).checkpoint
        stored: Any = system.redis.get(key)
        match damage:
            case "cut":
                system.redis.set(key, stored[:-3])
            case "flipped":
                system.redis.setrange(key, 20, bytes([stored[20] ^ 1]))
            case "gone":
                system.redis.delete(key)
            case _:
                system.redis.delete(key)
                system.redis.hset(key, "a", "b")
        eventually(lambda: bool(wiring.incidents.recent()))
        history.go_on()
        wait_until_applied(wiring)
        assert active(wiring, "profiles") == generation
        assert_exact(wiring)
        assert "1 of 16 partitions of profiles generation 1" in starfold("status").output

    def test_is_taken_over_by_a_second_builder(self, system: System) -> None:
        History(system).go_on()
        wiring = system.projector_wiring()
        bootstrapped(wiring)
        generation = active(wiring, "movies")
        system.redis.delete(generation.keys(2).checkpoint)
        second = Builder(wiring.reader, wiring.store, wiring.generations)

        def overtaken() -> bool:
            """Asked between fetches: the second one does all of it meanwhile."""
            if not wiring.store.checkpoints([generation.keys(2)])[0]:
                assert second.rebuild(generation, [2])
            return True

        first = Builder(wiring.reader, wiring.store, wiring.generations, keep_on=overtaken)
        assert not first.rebuild(generation, [2])
        assert_exact(wiring)


class TestALogThatWasRestoredAndWentAnotherWay:
    def test_is_noticed_at_the_same_version_of_the_same_stream(self, system: System) -> None:
        """The same user has changed the same rating as often, to another score."""
        history = History(system)
        user, movie = history.users[0], history.movies[0]
        commit(history.committer, *(a_rating(user, movie, score) for score in (1, 2, 3)))
        wiring = system.projector_wiring()
        bootstrapped(wiring)
        rewritten = commit(history.committer, a_rating(user, movie, 9))
        assert len(rewritten) == 1
        with system.owner() as owner:
            (state,) = owner.execute(
                "SELECT state FROM events ORDER BY notification_id DESC LIMIT 1"
            ).fetchone() or (b"",)
            owner.execute("DELETE FROM events WHERE notification_id = %s", [wiring.reader.head()])
            owner.execute(
                "UPDATE events SET state = %s WHERE notification_id = %s",
                [state, wiring.reader.head()],
            )
        follower = Follower(wiring.reader, wiring.store)
        follower.follow(wiring.generations.all())
        follower.run_pass()
        stopped = {one.generation.projection for one in follower.followed.values() if one.stopped}
        assert stopped == set(DEFINITIONS)
