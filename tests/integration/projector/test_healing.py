"""What is damaged in Redis is healed without a hand and without a restart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from projector.audit.auditor import Audit
from projector.audit.healer import Healer
from projector.following.follower import Follower
from projector.log.reader import LogReader
from projector.projections import DEFINITIONS, LogEvent
from shared.errors import AuditImpossible
from shared.read_model.damage import DAMAGED_KEY, DamageReport
from shared.read_model.keys import (
    CHANGES,
    GENERATIONS_KEY,
    MOVIES,
    PROFILES,
    SCRUBBED_KEY,
    partition_of,
)
from shared.read_model.status import STATUS_KEY
from tests.conftest import Starfold
from tests.support.builders import a_movie, a_rating, impossible_rating
from tests.support.commits import commit
from tests.support.log import append_raw
from tests.support.read_models import active, assert_exact, wait_until_applied
from tests.support.scenarios.mixed_history import History
from tests.support.scenarios.projector_steps import bootstrapped, follow_to_the_end
from tests.support.system import System, eventually

HEALED_WITHIN_S = 30.0
Damage = Callable[[Any, str], object]


def _flip(client: Any, key: str) -> None:
    stored = client.get(key)
    place = len(stored) // 2
    client.setrange(key, place, bytes([stored[place] ^ 4]))


def _cut(client: Any, key: str) -> None:
    client.set(key, client.get(key)[:-7])


def _empty(client: Any, key: str) -> None:
    client.set(key, b"")


def _other_type(client: Any, key: str) -> None:
    # At once: the projector may write the key again meanwhile.
    with client.pipeline(transaction=True) as damage:
        damage.delete(key).zadd(key, {b"a": 1}).execute()


def _gone(client: Any, key: str) -> None:
    client.delete(key)


class Live:
    """A log and its read models, which are followed and healed when a test says so."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.redis: Any = system.redis
        self.history = History(system)
        self.history.go_on()
        self.wiring = system.projector_wiring()
        bootstrapped(self.wiring)
        self.follower = Follower(self.wiring.reader, self.wiring.store)
        self.healer = Healer(system.projector_wiring())
        self.follow()
        self.movie, self.user = self.history.movies[0], self.history.users[0]

    def follow(self) -> None:
        follow_to_the_end(self.follower, self.wiring)

    def rate(self, half_stars: int = 4) -> None:
        commit(self.history.committer, a_rating(self.user, self.movie, half_stars))

    def key(self, projection: str, kind: str) -> str:
        entity = self.movie if projection == MOVIES else self.user
        return active(self.wiring, projection).keys(partition_of(entity)).document(kind, entity.hex)

    def report(self, projection: str, kind: str = "") -> None:
        """As a reader does, of an entity, or without a kind of its partition."""
        entity = self.movie if projection == MOVIES else self.user
        generation = active(self.wiring, projection)
        partition = partition_of(entity, generation.partitions)
        report = DamageReport(projection, generation.number, partition, entity if kind else None)
        self.redis.sadd(DAMAGED_KEY, report.encoded())

    def parked(self) -> list[Any]:
        return [
            one
            for projection in DEFINITIONS
            for part in self.wiring.store.parked(active(self.wiring, projection).all_keys)
            for one in part
        ]


@pytest.fixture
def live(system: System) -> Live:
    return Live(system)


@pytest.mark.parametrize("damage", [_flip, _cut, _empty, _other_type, _gone])
@pytest.mark.parametrize(
    ("projection", "kind"),
    [(MOVIES, "movie"), (MOVIES, "stats"), (PROFILES, "profile"), (PROFILES, "stats")],
)
def test_a_reported_document_is_refolded(
    live: Live, projection: str, kind: str, damage: Damage
) -> None:
    damage(live.redis, live.key(projection, kind))
    live.report(projection, kind)
    assert live.healer.run_once() > 0
    assert live.redis.smembers(DAMAGED_KEY) == set()
    live.follow()
    assert_exact(live.wiring)
    assert live.healer.run_once() == 0


@pytest.mark.parametrize("damage", [_flip, _cut, _empty, _other_type, _gone])
def test_a_document_found_damaged_while_folding_parks_nobody_for_good(
    live: Live, damage: Damage
) -> None:
    """The rating that met it is folded too, once its movie is refolded."""
    damage(live.redis, live.key(MOVIES, "stats"))
    live.rate()
    live.follow()
    (parked,) = live.parked()
    assert (parked.entity, parked.damaged) == (live.movie, True)
    live.rate(9)
    live.follow()
    assert live.healer.run_once() > 0
    live.follow()
    assert_exact(live.wiring)
    live.rate(2)
    live.follow()
    assert_exact(live.wiring)


def test_more_damage_than_may_be_parked_stops_nothing(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projector.following.fold.PARKED_MAX", 0)
    _flip(live.redis, live.key(MOVIES, "stats"))
    live.rate()
    live.follow()
    assert [one.damaged for one in live.parked()] == [True]
    live.healer.run_once()
    assert_exact(live.wiring)


def test_what_the_log_itself_cannot_say_stays_parked(live: Live) -> None:
    """A rating of a movie that was never created looks like a document that is gone."""
    stranger = live.history.users[1]
    append_raw(live.system, impossible_rating(stranger, live.movie))
    live.follow()
    before = live.parked()
    assert {one.damaged for one in before} == {False}
    live.report(MOVIES, "movie")
    live.healer.run_once()
    live.follow()
    assert live.parked() == before


@pytest.mark.parametrize("kind", ["raters", "ratings", "reviews", "catalogue"])
def test_a_key_of_another_type_is_met_by_a_write_and_healed(
    live: Live, system: System, kind: str
) -> None:
    projection = PROFILES if kind in ("ratings", "reviews") else MOVIES
    key = live.key(projection, kind)
    if kind == "catalogue":
        key = key.rpartition(":")[0]
    live.redis.delete(key)
    live.redis.set(key, b"not at all a set")
    while partition_of(live.history.made(a_movie())) != partition_of(live.movie):
        pass
    commit(live.history.committer, a_rating(live.user, live.movie, 3, review="Anew."))
    system.start_projector()
    eventually(lambda: live.redis.type(key) != b"string", HEALED_WITHIN_S)
    wait_until_applied(live.wiring)
    assert_exact(live.wiring)


class TestTheHashOfTheParked:
    @pytest.fixture
    def parked(self, live: Live) -> Iterator[tuple[Live, str]]:
        append_raw(live.system, impossible_rating(live.user, live.movie))
        live.follow()
        before = live.parked()
        assert before
        yield live, active(live.wiring, MOVIES).keys(partition_of(live.movie)).document("parked")
        live.system.start_projector()

        def healed() -> bool:
            live.follow()
            return live.parked() == before

        def exact() -> bool:
            audit = Audit(live.wiring.reader, live.wiring.store)
            try:
                return audit.verify(active(live.wiring, MOVIES)).differences == []
            except AuditImpossible:  # The projector may rebuild the partition at the moment.
                return False

        eventually(healed, HEALED_WITHIN_S)
        eventually(exact, HEALED_WITHIN_S)

    def test_may_have_a_damaged_value(self, parked: tuple[Live, str]) -> None:
        live, key = parked
        live.redis.hset(key, live.movie.bytes, b"nonsense")

    def test_may_have_a_field_of_nobody(self, parked: tuple[Live, str]) -> None:
        live, key = parked
        live.redis.hset(key, b"nobody", b"nonsense")

    def test_may_be_of_another_type(self, parked: tuple[Live, str]) -> None:
        live, key = parked
        live.redis.delete(key)
        live.redis.set(key, b"nonsense")


def test_a_reported_partition_is_compared_as_a_whole(live: Live) -> None:
    catalogue = live.key(MOVIES, "catalogue").rpartition(":")[0]
    live.redis.zadd(catalogue, {live.movie.bytes: 17})
    live.report(MOVIES)
    changes = active(live.wiring, CHANGES).keys(0)
    entry, _ = live.redis.xrange(changes.document("movies"))[3]
    live.redis.xdel(changes.document("movies"), entry)
    live.redis.zrem(changes.document("change_order"), live.movie.bytes)
    live.report(CHANGES)
    assert live.healer.run_once() > 0
    assert_exact(live.wiring)


def test_reports_of_what_is_gone_or_means_nothing_are_dropped(live: Live) -> None:
    live.redis.sadd(DAMAGED_KEY, b"nonsense", b"movies:77:1:", b"nothing:1:1:")
    assert live.healer.run_once() == 0
    assert live.redis.smembers(DAMAGED_KEY) == set()
    live.redis.set(DAMAGED_KEY, b"not a set")
    assert live.healer.run_once() == 0
    assert not live.redis.exists(DAMAGED_KEY)


@pytest.mark.parametrize("key", [GENERATIONS_KEY, STATUS_KEY, SCRUBBED_KEY])
@pytest.mark.parametrize("damage", [_flip, _cut, _other_type])
def test_what_belongs_to_no_partition_is_written_again(
    system: System, key: str, damage: Damage
) -> None:
    history = History(system)
    system.redis.set(SCRUBBED_KEY, b'{"erasure":{"position":1,"user_id":"0"},"unsettled":[]}')
    query = system.start_query_api()
    system.start_projector(scrub_every_s=0)
    path = f"{query.url}/v1/movies/{history.movies[0]}"
    eventually(lambda: httpx.get(path).status_code == httpx.codes.OK)
    eventually(lambda: system.redis.exists(STATUS_KEY))
    damage(system.redis, key)
    history.go_on(20)
    wait_until_applied(system.projector_wiring())
    eventually(lambda: httpx.get(path).status_code == httpx.codes.OK, HEALED_WITHIN_S)
    if key != SCRUBBED_KEY:
        eventually(lambda: system.redis.type(key) == b"string", HEALED_WITHIN_S)


def test_a_read_of_a_damaged_document_is_enough_to_heal_it(system: System) -> None:
    """Reported by the query API, refolded by the projector, with nobody's help."""
    history = History(system)
    history.go_on()
    query = system.start_query_api()
    system.start_projector()
    wiring = system.projector_wiring()
    wait_until_applied(wiring)
    movie = history.movies[0]
    path = f"{query.url}/v1/movies/{movie}"
    eventually(lambda: httpx.get(path).status_code == httpx.codes.OK)
    before = httpx.get(path).json()
    key = active(wiring, MOVIES).keys(partition_of(movie)).document("stats", movie.hex)
    _flip(system.redis, key)
    assert httpx.get(path).status_code == httpx.codes.SERVICE_UNAVAILABLE
    eventually(lambda: httpx.get(path).status_code == httpx.codes.OK, HEALED_WITHIN_S)
    assert httpx.get(path).json() == before
    eventually(
        lambda: any("damaged values of movies" in one.what for one in wiring.incidents.recent())
    )


def test_an_index_that_is_loaded_from_damaged_documents_lacks_no_movie(live: Live) -> None:
    """Its first lists are of after the healing; until then they are 503."""
    live.rate()
    live.follow()
    _flip(live.redis, live.key(MOVIES, "stats"))
    _other_type(live.redis, live.key(MOVIES, "movie"))
    query = live.system.start_query_api()
    movies = f"{query.url}/v1/movies?limit=100"
    eventually(lambda: live.redis.smembers(DAMAGED_KEY))
    assert httpx.get(movies).status_code == httpx.codes.SERVICE_UNAVAILABLE
    live.healer.run_once()
    eventually(lambda: httpx.get(movies).status_code == httpx.codes.OK, HEALED_WITHIN_S)
    shown = {one["movie_id"] for one in httpx.get(movies).json()["items"]}
    assert shown == {str(one) for one in live.history.movies}


def test_what_is_lost_is_rebuilt_in_one_pass_over_the_log(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    live.redis.flushall()
    fetched: list[int] = []
    fetch = LogReader.fetch

    def counted(reader: LogReader, *arguments: Any, **options: Any) -> list[LogEvent]:
        fetched.append(arguments[0])
        return fetch(reader, *arguments, **options)

    monkeypatch.setattr(LogReader, "fetch", counted)
    monkeypatch.setattr("projector.building.builder.FETCH_EVENTS", 50)
    bootstrapped(live.wiring)
    assert fetched == sorted(set(fetched)), "no part of the log is read twice"
    assert_exact(live.wiring)


def test_verify_repairs_all_of_it_without_a_projector(live: Live, starfold: Starfold) -> None:
    _flip(live.redis, live.key(MOVIES, "stats"))
    _other_type(live.redis, live.key(PROFILES, "profile"))
    _cut(live.redis, active(live.wiring, PROFILES).keys(3).checkpoint)
    live.redis.delete(active(live.wiring, MOVIES).keys(9).checkpoint)
    repaired = starfold("verify", "--repair")
    assert repaired.exit_code == 1, "something differed"
    assert starfold("verify").exit_code == 0
    assert_exact(live.wiring)
