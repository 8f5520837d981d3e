"""Projectors that share the partitions: each does its part, and takes over another's."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from uuid import UUID

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from projector.building.builder import Builder
from projector.following import followed_generation
from projector.following.follower import Follower
from projector.projections import DEFINITIONS, LogEvent
from projector.projections.selection import Share
from projector.sharing.assignment import share_of
from projector.wiring import Wiring
from projector.worker import REFRESH_EVERY_S
from shared.ids import Position
from shared.log.events import RatingSubmitted
from shared.read_model.keys import MOVIES, PROFILES, partition_of
from tests.support.processes import ProjectorProcess
from tests.support.read_models import (
    active,
    assert_exact,
    read_model,
    wait_until_applied,
)
from tests.support.scenarios.mixed_history import History
from tests.support.scenarios.projector_steps import bootstrapped, built, follow_to_the_end
from tests.support.standstill import StandstillMeter
from tests.support.system import System, eventually

STARTED_WITHIN_S = 60.0
READ = "starfold_projector_read_events_total"
ROUNDS, COMMANDS = 20, 50
HALVES = [share_of(0, 2), share_of(1, 2)]


def _started(system: System, wiring: Wiring, count: int) -> list[ProjectorProcess]:
    """Start projectors, and wait until each of them follows its share."""
    projectors = [
        system.closing(ProjectorProcess(system.projector_environment())) for _ in range(count)
    ]
    _wait_for_shares(wiring, projectors)
    wait_until_applied(wiring)
    return projectors


def _wait_for_shares(wiring: Wiring, projectors: Sequence[ProjectorProcess]) -> None:
    count = len(projectors)
    eventually(lambda: len(wiring.projectors.live()) == count, STARTED_WITHIN_S)
    eventually(lambda: all(one.metric("starfold_projectors") == count for one in projectors))


def test_two_projectors_divide_the_partitions_and_the_decoding(system: System) -> None:
    wiring = system.projector_wiring()
    history = History(system)
    first, second = _started(system, wiring, 2)
    for name, definition in DEFINITIONS.items():
        own = [
            one.metric("starfold_projector_partitions", projection=name) for one in (first, second)
        ]
        assert sum(own) == definition.partitions
    before = [(one.metric(READ), one.metric(READ, decoded="true")) for one in (first, second)]
    for _ in range(ROUNDS):
        history.go_on(COMMANDS)
    wait_until_applied(wiring)
    for one, (read_before, decoded_before) in zip((first, second), before, strict=True):
        read = one.metric(READ) - read_before
        decoded = one.metric(READ, decoded="true") - decoded_before
        print(f"read {read:.0f}, decoded {decoded:.0f}: {decoded / read:.0%}")
        assert 0 < decoded < read
    assert_exact(wiring)


@pytest.mark.parametrize(
    ("hurt", "back"),
    [
        (ProjectorProcess.kill, ProjectorProcess.start),
        (ProjectorProcess.hang, ProjectorProcess.resume),
    ],
    ids=["killed", "hanging"],
)
def test_the_others_take_over_from_one_that_is_gone_until_it_is_back(
    system: System,
    hurt: Callable[[ProjectorProcess], None],
    back: Callable[[ProjectorProcess], None],
) -> None:
    wiring = system.projector_wiring()
    history = History(system)
    gone, *others = projectors = _started(system, wiring, 2)
    with StandstillMeter(system.projector_wiring()) as meter:
        hurt(gone)
        for _ in range(ROUNDS):
            history.go_on(COMMANDS)
        wait_until_applied(wiring)
        print(f"longest standstill {meter.longest_s:.2f} s")
        assert others[0].metric("starfold_projectors") == 1
        back(gone)
        _wait_for_shares(wiring, projectors)
        for _ in range(ROUNDS):
            history.go_on(COMMANDS)
        wait_until_applied(wiring)
    assert_exact(wiring)


def test_one_that_stops_gives_its_partitions_back_at_once(system: System) -> None:
    wiring = system.projector_wiring()
    staying, leaving = _started(system, wiring, 2)
    leaving.stop()
    assert len(wiring.projectors.live()) == 1
    eventually(lambda: staying.metric("starfold_projectors") == 1)


def test_followers_with_a_share_each_add_up_to_one_with_all(system: System) -> None:
    wiring, other = system.projector_wiring(), system.projector_wiring()
    history = History(system)
    bootstrapped(wiring)
    history.go_on(500)
    followers = [Follower(one.reader, one.store) for one in (wiring, other)]
    for follower, share in zip(followers, HALVES, strict=True):
        _follow_share(follower, wiring, share)
    wait_until_applied(wiring)
    _assert_rebuilt_equally(system, wiring)


def test_a_follower_takes_over_partitions_and_gives_them_back(system: System) -> None:
    wiring, other = system.projector_wiring(), system.projector_wiring()
    history = History(system)
    bootstrapped(wiring)
    first, second = (Follower(one.reader, one.store) for one in (wiring, other))
    for share in (*HALVES, share_of(0, 1), *HALVES, {}):
        history.go_on()
        _follow_share(first, wiring, share)
    follow_to_the_end(second, other)
    _assert_rebuilt_equally(system, wiring)


def test_an_unreadable_rating_stops_only_the_projector_that_it_concerns(system: System) -> None:
    wiring = system.projector_wiring()
    history = History(system)
    bootstrapped(wiring)
    history.go_on()
    damaged = _rating_of_one_half(wiring)
    _set_state(system, damaged.position, damaged.state[:-1])
    for share in HALVES:
        follower = Follower(wiring.reader, wiring.store)
        _follow_share(follower, wiring, share)
        stopped = {name for (name, _), one in follower.followed.items() if one.stopped}
        assert isinstance(damaged.event, RatingSubmitted)
        concerned = partition_of(damaged.event.user_id) in share[PROFILES]
        assert {MOVIES, PROFILES} & stopped == ({MOVIES, PROFILES} if concerned else set())


def test_a_projector_that_follows_does_not_clear_the_reason_of_one_that_stopped(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followed_generation, "RETRY_STOPPED_EVERY_S", 0.5)
    wiring = system.projector_wiring()
    history = History(system)
    bootstrapped(wiring)
    history.go_on()
    damaged = _rating_of_one_half(wiring)
    _set_state(system, damaged.position, damaged.state[:-1])
    with capture_logs() as logged:
        for _ in HALVES:
            system.start_projector()
        eventually(lambda: sum(one.get("projectors") == len(HALVES) for one in logged) == 2)
    assert isinstance(damaged.event, RatingSubmitted)
    number = partition_of(damaged.event.movie_id)
    (rank,) = (half for half, share in enumerate(HALVES) if number in share[MOVIES])
    owner = wiring.projectors.live()[rank].projector_id
    # The first one may have stopped at the event before it gave that partition to the second one,
    # and resumes in the pass after that.
    eventually(lambda: _stops_seen(wiring, REFRESH_EVERY_S) == {(False, owner)})
    assert _stops_seen(wiring, 4 * REFRESH_EVERY_S) == {(False, owner)}
    _set_state(system, damaged.position, damaged.state)
    eventually(lambda: active(wiring, MOVIES).stopped is None)
    wait_until_applied(wiring)
    assert_exact(wiring)


def _stops_seen(wiring: Wiring, seconds: float) -> set[tuple[bool, UUID | None]]:
    """Watch whether the projection follows, and who stopped it last."""
    seen = set()
    watched_until = time.monotonic() + seconds
    while time.monotonic() < watched_until:
        generation = active(wiring, MOVIES)
        seen.add((generation.stopped is None, generation.stopped_by))
    return seen


def test_workers_that_build_a_share_each_do_not_decode_the_rest(system: System) -> None:
    wiring = system.projector_wiring()
    history = History(system)
    bootstrapped(wiring)
    history.go_on(500)
    follow_to_the_end(Follower(wiring.reader, wiring.store), wiring)
    head = wiring.reader.head()
    generation = wiring.generations.create(
        DEFINITIONS[MOVIES], "replay", shares=2, switch_when_ready=False
    )
    builder = Builder(wiring.reader, wiring.store, wiring.generations)
    decoded = []
    for share in range(2):
        before = _decoded_here()
        assert builder.build(MOVIES, generation.number, share)
        decoded.append(_decoded_here() - before)
    # All movies may be in one share; what concerns only them is never decoded by both.
    assert sum(decoded) < 1.5 * head
    assert read_model(system, generation) == read_model(system, active(wiring, MOVIES))


def _decoded_here() -> float:
    return REGISTRY.get_sample_value(READ, {"decoded": "true"}) or 0.0


def _rating_of_one_half(wiring: Wiring) -> LogEvent:
    """Return a rating, not the last, whose movie and user are in partitions of the same half."""
    half_of = {number: half for half, share in enumerate(HALVES) for number in share[MOVIES]}
    for event in reversed(wiring.reader.fetch(Position(1), 1_000)[:-1]):
        rating = event.event
        if isinstance(rating, RatingSubmitted) and (
            half_of[partition_of(rating.movie_id)] == half_of[partition_of(rating.user_id)]
        ):
            return event
    raise AssertionError("every rating concerns both halves")


def _set_state(system: System, position: Position, state: bytes) -> None:
    system.owner().execute(
        "UPDATE events SET state = %s WHERE notification_id = %s", [state, position]
    )


def _follow_share(follower: Follower, wiring: Wiring, share: Share) -> None:
    live = [one for one in wiring.generations.all() if one.state == "active"]
    follower.follow(live, share)
    while follower.run_pass() or follower.lagging:
        pass


def _assert_rebuilt_equally(system: System, wiring: Wiring) -> None:
    for name in DEFINITIONS:
        live = read_model(system, active(wiring, name))
        assert read_model(system, built(wiring, name)) == live
