"""Damaged values in Redis: never served, reported, and no other entity's matter."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import httpx
import pytest
from msgspec import to_builtins

from projector.audit.auditor import Audit
from projector.following.follower import Follower
from projector.generations.table import Generation
from query_api.feed import index_feed
from shared.read_model.damage import DAMAGED_KEY, decoded_report
from shared.read_model.generations import RATING_POSITIONS_SINCE, generation_copy
from shared.read_model.keys import CHANGES, GENERATIONS_KEY, MOVIES, PROFILES, partition_of
from shared.read_model.kinds import CHANGE_ORDER, POSITIONS, position_field, positions_suffix
from tests.support.api import AT_LEAST, POSITION
from tests.support.builders import a_rating
from tests.support.commits import commit
from tests.support.index_loads import counted_loads
from tests.support.read_models import active
from tests.support.scenarios.mixed_history import History
from tests.support.scenarios.projector_steps import bootstrapped, follow_to_the_end
from tests.support.system import System, eventually

Damager = Callable[[bytes], bytes]


class Store:
    """A query API over read models that nobody repairs but the test."""

    def __init__(self, system: System) -> None:
        self.redis: Any = system.redis
        self.wiring = system.projector_wiring()
        self.history = History(system)
        self.movie, self.user = self.history.movies[0], self.history.users[0]
        self.other = self.history.movies[1]
        self.rate(10)
        bootstrapped(self.wiring)
        self._follower = Follower(self.wiring.reader, self.wiring.store)
        self.catch_up()
        self.api = httpx.Client(base_url=system.start_query_api().url, timeout=30)
        eventually(lambda: self.get("/ready").status_code == 200)

    def rate(self, half_stars: int) -> None:
        """The user rates both movies, with a review."""
        commit(
            self.history.committer,
            *(
                a_rating(self.user, movie, half_stars, review=f"{half_stars} of ten.")
                for movie in (self.movie, self.other)
            ),
        )

    def catch_up(self) -> None:
        follow_to_the_end(self._follower, self.wiring)

    def reconnect(self) -> None:
        """The projector reads the checkpoints again, as after a restart of Redis."""
        self._follower.forget()

    def get(self, path: str, *, at_least: int = 0) -> httpx.Response:
        return self.api.get(path, headers={AT_LEAST: str(at_least)})

    def head(self) -> int:
        return self.wiring.reader.head()

    def key(self, kind: str) -> str:
        """`<projection>/<kind>` of the movie or the user."""
        projection, _, name = kind.partition("/")
        entity = self.movie if projection == MOVIES else self.user
        suffix = f"{entity.hex}:{_YEAR}" if name == "history" else entity.hex
        keys = active(self.wiring, projection).keys(partition_of(entity))
        return keys.document(name, suffix)

    def reported(self) -> set[tuple[str, UUID | None]]:
        reports = map(decoded_report, self.redis.smembers(DAMAGED_KEY))
        return {(one.projection, one.entity) for one in reports if one is not None}


_YEAR = 2026


@pytest.fixture
def store(system: System) -> Iterator[Store]:
    made = Store(system)
    yield made
    made.api.close()


def require_damaged(answer: httpx.Response) -> None:
    assert answer.status_code == 503, answer.text
    assert answer.json()["type"].endswith(":document-damaged")
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["x-request-id"]


def flipped(value: bytes) -> bytes:
    """A digit or letter that is still JSON."""
    place = len(value) // 2
    return value[:place] + bytes([value[place] ^ 1]) + value[place + 1 :]


DAMAGERS: list[Damager] = [flipped, lambda value: value[:-9], lambda _: b"", lambda _: b"{}"]


@pytest.mark.parametrize("damage", DAMAGERS)
@pytest.mark.parametrize(
    ("kind", "paths"),
    [
        ("movies/movie", ["", "/ratings", "/stats", "/history"]),
        ("movies/stats", ["", "/stats", "/history"]),
        ("profiles/profile", ["", "/ratings", "/ratings/{movie}"]),
        ("profiles/stats", [""]),
    ],
)
def test_a_damaged_document_is_not_served_and_is_reported(
    store: Store, kind: str, paths: list[str], damage: Damager
) -> None:
    key = store.key(kind)
    of_movie = kind.startswith(MOVIES)
    entity = store.movie if of_movie else store.user
    base = f"/v1/{'movies' if of_movie else 'users'}/{entity}"
    before = {path: store.get(base + path.format(movie=store.movie)).text for path in paths}
    stored = store.redis.get(key)
    store.redis.set(key, damage(stored))
    for path in paths:
        require_damaged(store.get(base + path.format(movie=store.movie)))
    assert store.get(f"/v1/movies/{store.other}").status_code == 200
    assert store.get("/ready").status_code == 200
    eventually(lambda: (kind.partition("/")[0], entity) in store.reported())
    store.redis.set(key, stored)
    for path, text in before.items():
        assert store.get(base + path.format(movie=store.movie)).text == text


@pytest.mark.parametrize(
    ("kind", "paths"),
    [
        ("movies/movie", ["/v1/movies/{movie}", "/v1/movies/{movie}/ratings"]),
        ("movies/stats", ["/v1/movies/{movie}"]),
        ("movies/raters", ["/v1/movies/{movie}/ratings"]),
        ("profiles/profile", ["/v1/users/{user}", "/v1/users/{user}/ratings"]),
        ("profiles/ratings", ["/v1/users/{user}/ratings", "/v1/users/{user}/ratings/{movie}"]),
        ("profiles/reviews", ["/v1/users/{user}/ratings", "/v1/users/{user}/ratings/{movie}"]),
    ],
)
def test_a_key_of_another_type_is_damage_of_its_entity_alone(
    store: Store, kind: str, paths: list[str]
) -> None:
    key = store.key(kind)
    is_set = store.redis.type(key) == b"zset"
    store.redis.delete(key)
    if is_set:
        store.redis.hset(key, "no", "set")
    else:
        store.redis.zadd(key, {"no string": 1})
    for path in paths:
        require_damaged(store.get(path.format(movie=store.movie, user=store.user)))
    assert store.get(f"/v1/movies/{store.other}").status_code == 200
    assert store.get(f"/v1/users/{store.history.users[1]}").status_code in (200, 404)
    assert store.get("/ready").status_code == 200


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("movies/raters", "/v1/movies/{movie}/ratings"),
        ("profiles/ratings", "/v1/users/{user}/ratings"),
        ("profiles/ratings", "/v1/users/{user}/ratings/{movie}"),
    ],
)
@pytest.mark.parametrize("change", [1, -1, 16, 12_345_678_912, float("inf")])
def test_a_damaged_rank_is_not_served(store: Store, kind: str, path: str, change: float) -> None:
    key = store.key(kind)
    member = store.user.bytes if kind == "movies/raters" else store.movie.bytes
    store.redis.zincrby(key, change, member)
    require_damaged(store.get(path.format(movie=store.movie, user=store.user)))


def test_a_damaged_member_or_review_is_not_served(store: Store) -> None:
    wrong = bytes([store.movie.bytes[0] ^ 4]) + store.movie.bytes[1:]
    ratings, reviews = store.key("profiles/ratings"), store.key("profiles/reviews")
    review = store.redis.hget(reviews, store.movie.bytes)
    store.redis.hset(reviews, store.movie.bytes, flipped(review))
    require_damaged(store.get(f"/v1/users/{store.user}/ratings"))
    require_damaged(store.get(f"/v1/movies/{store.movie}/ratings"))
    store.redis.hset(reviews, store.movie.bytes, review)
    assert store.get(f"/v1/users/{store.user}/ratings").status_code == 200
    rank = store.redis.zscore(ratings, store.movie.bytes)
    store.redis.zrem(ratings, store.movie.bytes)
    store.redis.zadd(ratings, {wrong: rank})
    require_damaged(store.get(f"/v1/users/{store.user}/ratings"))


def test_damaged_or_lost_positions_of_ratings_are_not_served(store: Store) -> None:
    suffix = positions_suffix(store.user.hex, store.movie.bytes)
    keys = active(store.wiring, PROFILES).keys(partition_of(store.user))
    positions, ratings = keys.document(POSITIONS, suffix), store.key("profiles/ratings")
    path = f"/v1/users/{store.user}/ratings?changed_since=0&limit=100"
    before = store.get(path).json()
    field = position_field(store.movie.bytes)
    value = store.redis.hget(positions, field)
    store.redis.hset(positions, field, flipped(value))
    require_damaged(store.get(path))
    store.redis.hdel(positions, field)
    require_damaged(store.get(path))
    eventually(lambda: (PROFILES, store.user) in store.reported())
    store.redis.hset(positions, field, value)
    assert store.get(path).json() == before
    stored = store.redis.dump(positions)
    store.redis.set(positions, b"no hash")
    require_damaged(store.get(path))
    store.redis.restore(positions, 0, stored, replace=True)
    store.redis.delete(ratings)
    require_damaged(store.get(path))


def test_a_read_model_without_positions_has_all_but_their_order(store: Store) -> None:
    """A release before positions wrote it, and the next one is being built."""
    generation = active(store.wiring, PROFILES)
    path = f"/v1/users/{store.user}/ratings"
    before = store.get(path).json()
    copies = json.loads(store.redis.get(GENERATIONS_KEY))
    version = RATING_POSITIONS_SINCE - 1
    earlier = generation_copy(PROFILES, generation.number, version, generation.partitions)
    copies[PROFILES] = to_builtins(earlier)
    store.redis.set(GENERATIONS_KEY, json.dumps(copies))
    eventually(lambda: store.get(f"{path}?changed_since=0").status_code == 503)
    assert store.get(path).json() == before


def test_a_movie_whose_documents_are_gone_is_damaged_and_not_unknown(store: Store) -> None:
    store.redis.delete(store.key("movies/movie"), store.key("movies/stats"))
    require_damaged(store.get(f"/v1/movies/{store.movie}"))
    store.redis.delete(store.key("profiles/profile"))
    require_damaged(store.get(f"/v1/users/{store.user}"))


@pytest.mark.parametrize("projection", [MOVIES, PROFILES])
def test_a_damaged_checkpoint_is_503_for_its_partition(store: Store, projection: str) -> None:
    entity, path = (store.movie, "movies") if projection == MOVIES else (store.user, "users")
    key = active(store.wiring, projection).keys(partition_of(entity)).checkpoint
    stored = store.redis.get(key)
    for damaged in (b"", b"\x96", flipped(stored), b"garbage"):
        store.redis.set(key, damaged)
        require_damaged(store.get(f"/v1/{path}/{entity}"))
    eventually(lambda: (projection, None) in store.reported())
    store.redis.set(key, stored)
    assert store.get(f"/v1/{path}/{entity}").status_code == 200


@pytest.mark.parametrize("damage", DAMAGERS)
def test_the_index_leaves_a_damaged_movie_as_it_was_and_moves_on(
    store: Store, damage: Damager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("query_api.feed.index_feed.LOOK_EVERY_S", 0.05)
    key = store.key("movies/stats")
    shown = listed(store, at_least=0)[str(store.movie)]["ratings"]["average"]
    # The index may read a change before it is damaged, and then misses nothing: change it again.
    for half_stars in (2, 4) * 20:
        store.rate(half_stars)
        store.catch_up()
        stored = store.redis.get(key)
        store.redis.set(key, damage(stored))
        after = listed(store, at_least=store.head())
        movie = after[str(store.movie)]
        assert movie["ratings"]["average"] in (shown, half_stars / 2)
        if "stale" in movie:
            break
        shown = half_stars / 2
    assert movie["stale"]
    single = store.get(f"/v1/movies/{store.other}").json()["ratings"]
    assert after[str(store.other)]["ratings"]["average"] == single["average"]
    assert store.get("/ready").status_code == 200
    store.redis.set(key, stored)
    eventually(lambda: "stale" not in listed(store)[str(store.movie)])
    assert listed(store)[str(store.movie)]["ratings"]["average"] == half_stars / 2


def test_an_index_is_loaded_without_a_damaged_movie_and_takes_it_in_once_it_is_whole(
    store: Store, system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_feed, "HEALING_MAX_S", 0.0)
    monkeypatch.setattr("query_api.feed.index_feed.LOOK_EVERY_S", 0.05)
    key = store.key("movies/movie")
    stored = store.redis.get(key)
    store.redis.set(key, stored[:20])
    with httpx.Client(base_url=system.start_query_api().url, timeout=30) as fresh:
        eventually(lambda: fresh.get("/ready").status_code == 200)
        found = {one["movie_id"] for one in fresh.get("/v1/movies?limit=100").json()["items"]}
        assert found == {str(one) for one in store.history.movies} - {str(store.movie)}
        store.redis.set(key, stored)
        eventually(lambda: len(fresh.get("/v1/movies?limit=100").json()["items"]) == len(found) + 1)


def test_an_order_of_change_that_is_damaged_freezes_nothing_unnoticed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rank that is not its movie's is passed until its repair; no order at all is not ready."""
    monkeypatch.setattr(index_feed, "BEHIND_AFTER_S", 0.5)
    monkeypatch.setattr(index_feed, "LOOK_EVERY_S", 0.05)
    generation: Generation = active(store.wiring, CHANGES)
    key = generation.keys(0).document(CHANGE_ORDER)
    store.rate(4)
    store.catch_up()
    held = dict(store.redis.zrange(key, 0, -1, withscores=True))
    last = max(held, key=held.__getitem__)
    store.redis.zadd(key, {last: held[last] + 1})
    assert listed(store, at_least=store.head())
    assert store.get("/ready").status_code == 200
    loads = counted_loads(monkeypatch)
    store.rate(5)
    store.catch_up()
    store.redis.zadd(key, {last: 2**52 + 1})
    eventually(lambda: (CHANGES, None) in store.reported())
    assert listed(store, at_least=store.head())
    assert loads == []
    Audit(store.wiring.reader, store.wiring.store).verify(generation, repair=True)
    eventually(lambda: loads)
    held = dict(store.redis.zrange(key, 0, -1, withscores=True))
    assert listed(store, at_least=store.head())
    store.redis.delete(key)
    store.redis.set(key, b"no order")
    eventually(lambda: store.get("/ready").status_code == 503)
    assert store.get("/v1/movies").status_code == 200
    store.redis.delete(key)
    store.redis.zadd(key, held)
    eventually(lambda: store.get("/ready").status_code == 200)
    eventually(lambda: (CHANGES, None) in store.reported())


@pytest.mark.parametrize("garbage", [b"", b"{", b"\xff\xfe", b'{"movies":7}', None])
def test_a_damaged_copy_of_the_generations_changes_nothing(
    store: Store, garbage: bytes | None
) -> None:
    stored = store.redis.get(GENERATIONS_KEY)
    changed = json.loads(stored)
    changed[MOVIES]["number"] += 1
    store.redis.set(GENERATIONS_KEY, json.dumps(changed) if garbage is None else garbage)
    eventually(lambda: store.get("/ready").status_code == 503)
    assert store.get(f"/v1/movies/{store.movie}").status_code == 200
    assert store.get("/v1/movies").status_code == 200
    assert store.wiring.generations.publish(store.wiring.store)
    eventually(lambda: store.get("/ready").status_code == 200)


def test_damage_is_counted(store: Store) -> None:
    store.redis.set(store.key("movies/movie"), b"{}")
    store.get(f"/v1/movies/{store.movie}")
    metrics = store.get("/metrics").text
    counted = 'starfold_damaged_reads_total{projection="movies"} '
    (line,) = (one for one in metrics.splitlines() if one.startswith(counted))
    assert float(line.removeprefix(counted)) >= 1
    assert "starfold_task_failures_total" in metrics


def listed(store: Store, *, at_least: int = 0) -> dict[str, Any]:
    page = store.get("/v1/movies?limit=100", at_least=at_least)
    assert page.status_code == 200, page.text
    assert int(page.headers[POSITION]) >= at_least
    return {one["movie_id"]: one for one in page.json()["items"]}


def test_what_a_reader_has_seen_is_never_taken_back_by_a_redis_that_lost_its_tail(
    store: Store,
) -> None:
    """What was erased or revoked in between would be shown again."""
    paths = [
        f"/v1/movies/{store.movie}",
        f"/v1/movies/{store.movie}/ratings",
        f"/v1/users/{store.user}",
        f"/v1/users/{store.user}/ratings",
    ]
    earlier = {key: store.redis.dump(key) for key in store.redis.scan_iter(match="sf:{*")}
    store.rate(2)
    store.catch_up()
    seen = [store.get(path, at_least=store.head()).json() for path in paths]
    for key, value in earlier.items():
        store.redis.restore(key, 0, value, replace=True)
    for path in paths:
        answer = store.get(path)
        assert answer.status_code == 503, (path, answer.text)
        assert answer.json()["type"].endswith(":unavailable")
        assert answer.headers["retry-after"]
    store.reconnect()
    store.catch_up()
    assert [store.get(path).json() for path in paths] == seen
