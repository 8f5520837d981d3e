"""The table of live projectors: who counts, in which order, and who does what is not divided."""

from __future__ import annotations

import pytest
import redis

from projector.audit.healer import Healer
from projector.building.upkeep import Upkeep
from projector.following.follower import Follower
from projector.projections import DEFINITIONS
from projector.scrubber import Scrubber
from projector.sharing.assignment import share_of
from projector.sharing.member import Member
from shared.read_model.keys import MOVIES
from tests.support.read_models import assert_exact_at_head, wait_until_applied
from tests.support.scenarios.mixed_history import History
from tests.support.scenarios.projector_steps import bootstrapped
from tests.support.system import System, eventually

CHORES = {Upkeep: "run_once", Healer: "run_once", Scrubber: "run_once"}


@pytest.fixture
def members(system: System) -> list[Member]:
    """Three that joined one after the other, each with the share of its place."""
    wiring = system.projector_wiring()
    joined = [Member(wiring.projectors) for _ in range(3)]
    for one in (*joined, *joined):
        one.renew()
    return joined


def test_the_order_of_joining_decides_the_shares(members: list[Member]) -> None:
    assert [one.share for one in members] == [share_of(place, 3) for place in range(3)]
    assert [one.leads for one in members] == [True, False, False]


def test_one_that_leaves_or_does_not_renew_is_gone(system: System, members: list[Member]) -> None:
    first, second, third = members
    first.leave()
    system.owner().execute(
        "UPDATE projectors SET seen_at = now() - interval '4 seconds' WHERE projector_id = %s",
        [third.id],
    )
    second.renew()
    assert (second.share, second.leads) == (share_of(0, 1), True)
    assert second.live == {second.id}
    assert system.owner().execute("SELECT count(*) FROM projectors").fetchone() == (1,)


def test_one_that_comes_back_joins_as_the_last(system: System, members: list[Member]) -> None:
    first, *others = members
    system.owner().execute(
        "UPDATE projectors SET seen_at = now() - interval '4 seconds' WHERE projector_id = %s",
        [first.id],
    )
    for one in (*others, first, *others):
        one.renew()
    assert [one.share for one in (*others, first)] == [share_of(place, 3) for place in range(3)]


def test_projectors_of_other_definitions_do_not_share(
    members: list[Member], system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = DEFINITIONS[MOVIES]._replace(version=DEFINITIONS[MOVIES].version + 1)
    monkeypatch.setitem(DEFINITIONS, MOVIES, newer)
    upgraded = Member(system.projector_wiring().projectors)
    upgraded.renew()
    assert (upgraded.share, upgraded.leads) == (share_of(0, 1), True)
    members[0].renew()
    assert members[0].share == share_of(0, 3)
    assert members[0].live == {upgraded.id, *(one.id for one in members)}


def test_only_the_oldest_does_what_is_not_divided(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[type, object]] = []
    for kind, step in CHORES.items():
        monkeypatch.setattr(kind, step, lambda self: done.append((type(self), self)))
    wiring = system.projector_wiring()
    oldest = system.start_projector()
    eventually(lambda: len(wiring.projectors.live()) == 1)
    system.start_projector()
    eventually(lambda: len(wiring.projectors.live()) == 2)
    eventually(lambda: len(done) >= 3 * len(CHORES))
    by_oldest = set(done)
    assert {kind for kind, _ in by_oldest} == set(CHORES)
    assert len(by_oldest) == len(CHORES)
    oldest.stop()
    eventually(lambda: len(set(done)) == 2 * len(CHORES))


def test_the_others_take_over_from_one_whose_passes_fail(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    wiring = system.projector_wiring()
    history = History(system)
    bootstrapped(wiring)
    run_pass = Follower.run_pass
    cut_off: list[Follower] = []

    def run_or_fail(self: Follower) -> int:
        cut_off[:] = cut_off or [self]
        if self is cut_off[0]:
            raise redis.ConnectionError("it reaches no Redis")
        return run_pass(self)

    monkeypatch.setattr(Follower, "run_pass", run_or_fail)
    for _ in range(2):
        system.start_projector()
    eventually(lambda: len(wiring.projectors.live()) == 2)
    history.go_on()
    wait_until_applied(wiring)
    assert len(wiring.projectors.live()) == 1
    assert_exact_at_head(system)
