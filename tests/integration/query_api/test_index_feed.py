"""The index of the catalogue follows the read models.

It never reports a position that it has not reached.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import msgspec
import pytest

from projector.audit.auditor import Audit
from projector.following.follower import Follower
from projector.wiring import Wiring
from query_api.feed.changes import Changes
from query_api.feed.index_feed import IndexFeed
from shared.ids import START, Position
from shared.read_model.checkpoints import decode_checkpoint
from shared.read_model.checksum import with_checksum
from shared.read_model.generations import CHANGE_ORDER_SINCE, generation_copy
from shared.read_model.keys import CHANGES, GENERATIONS_KEY, MOVIES, PARTITIONS, partition_of
from shared.read_model.kinds import CHANGE_ORDER
from shared.read_model.statistics import statistics_of
from tests.support.api import AT_LEAST, POSITION
from tests.support.builders import a_movie, a_rating
from tests.support.commits import commit
from tests.support.index_loads import counted_loads
from tests.support.read_models import active
from tests.support.scenarios.mixed_history import History
from tests.support.scenarios.projector_steps import bootstrapped, built, follow_to_the_end
from tests.support.system import System, eventually


class Read:
    """A query API over read models that move only when a test says so."""

    def __init__(self, system: System) -> None:
        self._system = system
        self.wiring = system.projector_wiring()
        bootstrapped(self.wiring)
        self.history = History(system)
        self._follower = Follower(self.wiring.reader, self.wiring.store)
        self.catch_up()
        self._api = self._started()

    def catch_up(self) -> None:
        follow_to_the_end(self._follower, self.wiring)

    def load_anew(self) -> None:
        """Continue with another query API, which loads the index from the current read models."""
        self._api.close()
        self._api = self._started()

    def get(self, path: str, *, at_least: int = 0) -> httpx.Response:
        return self._api.get(path, headers={AT_LEAST: str(at_least)})

    def lists(self) -> dict[str, Any]:
        """What the newest list shows of each movie's ratings, no older than the log is now."""
        page = self.get("/v1/movies?limit=100", at_least=self.wiring.reader.head())
        assert page.status_code == 200, page.text
        return {one["movie_id"]: one["ratings"] for one in page.json()["items"]}

    def singles(self) -> dict[str, Any]:
        """The same from the movies' own documents."""
        shown = ("count", "average", "weighted_average")
        read = [self.get(f"/v1/movies/{movie}").json() for movie in self.history.movies]
        return {
            movie["movie_id"]: {name: movie["ratings"][name] for name in shown} for movie in read
        }

    def close(self) -> None:
        self._api.close()

    def _started(self) -> httpx.Client:
        api = httpx.Client(base_url=self._system.start_query_api().url, timeout=30)
        eventually(lambda: api.get("/ready").status_code == 200)
        return api


@pytest.fixture
def read(system: System) -> Iterator[Read]:
    started = Read(system)
    yield started
    started.close()


def test_the_load_of_a_large_catalogue_is_not_mistaken_for_a_frozen_task(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reports progress with every read, not only with every partition."""
    films = 2 * PARTITIONS
    for _ in range(films):
        read.history.made(a_movie())
    read.catch_up()
    progress: list[Position] = []
    step = IndexFeed.step

    async def counted(feed: IndexFeed, alive: Callable[[], None]) -> None:
        def noted() -> None:
            progress.append(feed.position)
            alive()

        await step(feed, noted)

    monkeypatch.setattr("query_api.feed.movie_source.MOVIES_A_READ", 1)
    monkeypatch.setattr(IndexFeed, "step", counted)
    read.load_anew()
    # Before the index was loaded, it had no position.
    assert progress.count(START) >= films


@pytest.mark.parametrize("changes_a_round", [2_000, 7])
def test_lists_show_what_the_movies_show(
    read: Read, changes_a_round: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("query_api.feed.change_feed.CHANGES_A_ROUND", changes_a_round)
    for _ in range(3):
        read.history.go_on(100)
        read.catch_up()
        assert read.lists() == read.singles()


def test_a_partition_that_lags_holds_the_position_back(read: Read) -> None:
    before = read.wiring.reader.head()
    read.history.go_on()
    _follow_changes_alone(read.wiring)
    behind = read.get("/v1/movies", at_least=read.wiring.reader.head())
    assert behind.status_code == 503
    assert int(read.get("/v1/movies").headers[POSITION]) <= before
    read.catch_up()
    assert read.lists() == read.singles()


def test_an_index_loaded_while_partitions_lag_catches_up(read: Read) -> None:
    read.history.go_on()
    _follow_changes_alone(read.wiring)
    read.load_anew()
    read.catch_up()
    assert read.lists() == read.singles()


def test_a_load_does_not_step_back_where_partitions_rest(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are brought up a moment later than those that an event concerns."""
    reached: list[Position] = []
    loads: list[Position] = []
    _noting(monkeypatch, IndexFeed, "_reached", reached)
    _noting(monkeypatch, Changes, "restart", loads)
    before = read.wiring.reader.head()
    commit(read.history.committer, a_rating(read.history.users[0], read.history.movies[0], 9))
    head = read.wiring.reader.head()
    monkeypatch.setattr("projector.following.follower.IDLE_ADVANCE_S", float("inf"))
    follower = Follower(read.wiring.reader, read.wiring.store)
    follower.follow(read.wiring.generations.all())
    while follower.run_pass():
        pass
    stored = read.wiring.store.checkpoints(active(read.wiring, MOVIES).all_keys)
    assert {decode_checkpoint(one).position for one in stored} == {before, head}
    eventually(lambda: reached[-1:] == [head])
    reached.clear()
    generation = built(read.wiring, CHANGES)
    assert read.wiring.generations.switch(CHANGES, generation.number)
    assert read.wiring.generations.publish(read.wiring.store)
    eventually(lambda: loads)
    eventually(lambda: len(reached) > 1)
    assert set(reached) == {head}


def _noting(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, noted: list[Position]) -> None:
    """Note the position that a method is called with."""
    method = getattr(owner, name)

    def note(self: object, position: Position, *others: object) -> None:
        noted.append(position)
        method(self, position, *others)

    monkeypatch.setattr(owner, name, note)


def test_an_index_follows_however_far_it_is_behind(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A movie that changed often is read once, and nothing is loaded again."""
    loads = counted_loads(monkeypatch)
    monkeypatch.setattr("projector.documents.working_set.STREAM_ENTRIES_MAX", 5)
    monkeypatch.setattr("query_api.feed.change_feed.CHANGES_A_ROUND", 2)
    for _ in range(3):
        read.history.go_on()
        read.catch_up()
    assert read.lists() == read.singles()
    assert loads == []


def test_an_index_that_the_stream_of_an_earlier_release_has_outrun_is_loaded_again(
    read: Read, system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projector.documents.working_set.STREAM_ENTRIES_MAX", 5)
    generation = active(read.wiring, CHANGES)
    stored: Any = system.redis.get(GENERATIONS_KEY)
    copies = json.loads(stored)
    earlier = generation_copy(CHANGES, generation.number, CHANGE_ORDER_SINCE - 1, 1)
    copies[CHANGES] = msgspec.to_builtins(earlier)
    system.redis.set(GENERATIONS_KEY, json.dumps(copies))
    system.redis.delete(generation.keys(0).document(CHANGE_ORDER))
    read.load_anew()
    for events in (3, 300):
        read.history.go_on(events)
        read.catch_up()
        assert read.lists() == read.singles()


def _follow_changes_alone(wiring: Wiring) -> None:
    follower = Follower(wiring.reader, wiring.store)
    follower.follow([active(wiring, CHANGES)])
    while follower.run_pass() or follower.lagging:
        pass


def test_a_repaired_movie_is_shown_as_it_was_repaired(read: Read, system: System) -> None:
    """No change in the log says so: the partition's build does."""
    right, movie = read.lists(), read.history.movies[0]
    generation = active(read.wiring, MOVIES)
    key = generation.keys(partition_of(movie)).document("stats", movie.hex)
    wrong = msgspec.json.encode(statistics_of((0,) * 9 + (1,), Position(1)))
    system.redis.set(key, with_checksum(wrong))
    read.load_anew()
    assert read.lists() != right
    Audit(read.wiring.reader, read.wiring.store).verify(generation, repair=True)
    eventually(lambda: read.lists() == right)
