"""The projector: exactly once under repeats, rivals, crashes and losses; replay equals live."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import msgspec
import pytest
import redis

from command_api.commit.pending_command import Outcome
from projector.building.builder import Builder
from projector.building.upkeep import purge
from projector.documents.calls import CALL_BYTES_MAX, CALL_COMMANDS_MAX, Call
from projector.documents.store import PartitionStore
from projector.following.followed_generation import Slice
from projector.following.follower import Follower
from projector.log.reader import LogReader
from projector.projections import DEFINITIONS
from shared.ids import MovieId, Position
from tests.support.builders import a_movie, a_rating
from tests.support.commits import commit
from tests.support.read_models import active, read_model, wait_until_applied
from tests.support.scenarios.mixed_history import History
from tests.support.scenarios.projector_steps import bootstrapped, built, follow_to_the_end
from tests.support.system import System, eventually


class FailingStore(PartitionStore):
    """Fails at every other call, before or after it reached Redis."""

    calls = 0

    def apply(
        self, calls: Sequence[Call], *, announce: Position | None = None
    ) -> list[bytes | None]:
        self.calls += 1
        if self.calls % 4 == 1:
            raise redis.ConnectionError("lost before it arrived")
        results = super().apply(calls, announce=announce)
        if self.calls % 4 == 3:
            raise redis.ConnectionError("lost after it was applied")
        return results


class WatchedStore(PartitionStore):
    """Remembers the calls."""

    def __init__(self, redis_url: str) -> None:
        super().__init__(redis_url)
        self.made: list[Call] = []

    def apply(
        self, calls: Sequence[Call], *, announce: Position | None = None
    ) -> list[bytes | None]:
        self.made += calls
        return super().apply(calls, announce=announce)


class OvertakenStore(PartitionStore):
    """Lets a rival write between two calls for a partition, once."""

    def __init__(self, redis_url: str, rival: Callable[[], object]) -> None:
        super().__init__(redis_url)
        self._rival: Callable[[], object] | None = rival

    def apply(
        self, calls: Sequence[Call], *, announce: Position | None = None
    ) -> list[bytes | None]:
        keys = [call.keys for call in calls]
        second = next((at for at in range(1, len(keys)) if keys[at] == keys[at - 1]), None)
        if second is None or self._rival is None:
            return super().apply(calls, announce=announce)
        first = super().apply(calls[:second])
        rival, self._rival = self._rival, None
        rival()
        return first + super().apply(calls[second:], announce=announce)


class NotingFollower(Follower):
    """Remembers the events that it has applied, with their partitions."""

    def __init__(self, reader: LogReader, store: PartitionStore) -> None:
        super().__init__(reader, store)
        self.noted: list[tuple[str, int]] = []

    def _applied(self, slices: Sequence[Slice]) -> None:
        super()._applied(slices)
        self.noted += [
            (one.partition.keys.prefix, event.position) for one in slices for event in one.events
        ]


@pytest.mark.parametrize("projection", list(DEFINITIONS))
def test_replay_equals_live(system: System, projection: str) -> None:
    wiring = system.projector_wiring()
    projector = system.start_projector()
    history = History(system)
    for _ in range(5):
        history.go_on()
    wait_until_applied(wiring)
    projector.stop()
    live = read_model(system, active(wiring, projection))
    assert live
    for shares in (1, 3):
        assert read_model(system, built(wiring, projection, shares=shares)) == live


def test_two_projectors_at_once_apply_each_event_once(system: System) -> None:
    wiring = system.projector_wiring()
    projectors = [system.start_projector(), system.start_projector()]
    history = History(system)
    for _ in range(10):
        history.go_on(50)
    wait_until_applied(wiring)
    for projector in projectors:
        projector.stop()
    for projection in DEFINITIONS:
        live = read_model(system, active(wiring, projection))
        assert read_model(system, built(wiring, projection)) == live


def test_a_paused_projector_that_wakes_up_changes_nothing(system: System) -> None:
    """Both read on from the same checkpoint; the later write is refused as a whole."""
    wiring, other = system.projector_wiring(), system.projector_wiring()
    history = History(system)
    bootstrapped(wiring)
    history.go_on()
    paused, awake = Follower(wiring.reader, wiring.store), Follower(other.reader, other.store)
    live = [one for one in wiring.generations.all() if one.state == "active"]
    paused.follow(live)
    follow_to_the_end(awake, other)
    history.go_on()
    before = {one.projection: read_model(system, one) for one in live}
    paused.run_pass()
    assert {one.projection: read_model(system, one) for one in live} == before
    follow_to_the_end(paused, wiring)
    for one in live:
        assert read_model(system, built(wiring, one.projection)) == read_model(system, one)


def test_a_projector_that_is_overtaken_notes_what_it_has_applied_itself(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projector.following.partition.CALL_COMMANDS_MAX", 16)
    wiring, other = system.projector_wiring(), system.projector_wiring()
    history = History(system)
    bootstrapped(wiring)
    history.go_on(100)
    rival = NotingFollower(other.reader, other.store)
    redis_url = system.projector_settings().redis_url.get_secret_value()
    store = OvertakenStore(redis_url, lambda: follow_to_the_end(rival, other))
    overtaken = NotingFollower(wiring.reader, store)
    follow_to_the_end(overtaken, wiring)
    store.close()
    assert overtaken.noted
    assert rival.noted
    assert max(Counter(overtaken.noted + rival.noted).values()) == 1


def test_crashes_between_any_two_steps_leave_each_event_applied_once(system: System) -> None:
    wiring = system.projector_wiring()
    history = History(system)
    bootstrapped(wiring)
    failing = FailingStore(system.projector_settings().redis_url.get_secret_value())
    for _ in range(20):
        history.go_on(40)
        try:
            follow_to_the_end(Follower(wiring.reader, failing), wiring)
        except redis.ConnectionError:
            continue
    failing.close()
    follow_to_the_end(Follower(wiring.reader, wiring.store), wiring)
    for projection in DEFINITIONS:
        live = read_model(system, active(wiring, projection))
        assert read_model(system, built(wiring, projection)) == live


def test_large_batches_are_cut_into_calls_of_bounded_size(system: System) -> None:
    wiring = system.projector_wiring()
    history = History(system)
    bootstrapped(wiring)
    user = history.users[0]
    movies = [MovieId(outcome.subject) for outcome in commit_many(history, 2_500)]
    reviewed = [
        msgspec.structs.replace(a_rating(user, movie), review="x" * 1_000) for movie in movies
    ]
    commit(history.committer, *reviewed)
    watched = WatchedStore(system.projector_settings().redis_url.get_secret_value())
    follow_to_the_end(Follower(wiring.reader, watched), wiring)
    watched.close()
    assert max(len(call.operations) for call in watched.made) <= CALL_COMMANDS_MAX
    sizes = [sum(operation.size_bytes for operation in call.operations) for call in watched.made]
    assert max(sizes) <= CALL_BYTES_MAX
    assert sum(len(call.operations) for call in watched.made) > CALL_COMMANDS_MAX


def commit_many(history: History, count: int) -> list[Outcome]:
    outcomes = commit(history.committer, *(a_movie() for _ in range(count)))
    return [outcome for outcome in outcomes if isinstance(outcome, Outcome)]


def test_an_emptied_redis_is_filled_again(system: System) -> None:
    wiring = system.projector_wiring()
    system.start_projector()
    history = History(system)
    history.go_on()
    wait_until_applied(wiring)
    before = read_model(system, active(wiring, "movies"))
    system.redis.flushall()
    eventually(lambda: all(one.number == 2 for one in wiring.generations.all()))
    wait_until_applied(wiring)
    assert read_model(system, active(wiring, "movies")) == before


def test_a_rewound_log_stops_the_projection(system: System) -> None:
    """The last event is gone and another stands in its place: positions alone would not tell."""
    wiring = system.projector_wiring()
    history = History(system)
    history.go_on()
    bootstrapped(wiring)
    follower = Follower(wiring.reader, wiring.store)
    follow_to_the_end(follower, wiring)
    owner = system.owner()
    head = wiring.reader.head()
    owner.execute("DELETE FROM events WHERE notification_id = %s", [head])
    owner.execute("SELECT setval('events_position_seq', %s, false)", [head])
    history.go_on()
    before = read_model(system, active(wiring, "movies"))
    follow_to_the_end(Follower(wiring.reader, wiring.store), wiring)
    follower.run_pass()
    assert read_model(system, active(wiring, "movies")) == before
    assert all("position" in str(followed.stopped) for followed in follower.followed.values())


def test_a_second_builder_of_a_share_takes_over_from_the_first(system: System) -> None:
    wiring = system.projector_wiring()
    history = History(system)
    history.go_on()
    generation = wiring.generations.create(
        DEFINITIONS["movies"], "replay", shares=1, switch_when_ready=False
    )
    second = Builder(wiring.reader, wiring.store, wiring.generations)
    other = system.projector_wiring()

    def interrupt() -> bool:
        """While the first is at it, the second builds the share from start to end."""
        second.build("movies", generation.number, 0)
        return True

    first = Builder(other.reader, other.store, other.generations, keep_on=interrupt)
    assert not first.build("movies", generation.number, 0)
    taken = read_model(system, generation)
    assert taken == read_model(system, built(wiring, "movies"))


def test_purging_a_generation_leaves_no_key(system: System) -> None:
    wiring = system.projector_wiring()
    History(system).go_on()
    generation = built(wiring, "profiles")
    assert purge(wiring.generations, wiring.store, generation) > 0
    assert list(system.redis.scan_iter(match="sf:{profiles:*")) == []
