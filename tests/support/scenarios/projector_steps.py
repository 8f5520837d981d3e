"""A projector without its process, taken step by step."""

from __future__ import annotations

from projector.building.builder import Builder
from projector.building.upkeep import Upkeep
from projector.following.follower import Follower
from projector.generations.table import Generation
from projector.projections import DEFINITIONS
from projector.wiring import Wiring


def built(wiring: Wiring, projection: str, *, shares: int = 1) -> Generation:
    """A new generation, built and not switched to."""
    generation = wiring.generations.create(
        DEFINITIONS[projection], "replay", shares=shares, switch_when_ready=False
    )
    builder = Builder(wiring.reader, wiring.store, wiring.generations)
    for share in range(shares):
        assert builder.build(projection, generation.number, share)
    found = wiring.generations.get(projection, generation.number)
    assert found is not None
    assert found.state == "following"
    return found


def bootstrapped(wiring: Wiring) -> None:
    """One active generation of each projection, with no projector running."""
    builder = Builder(wiring.reader, wiring.store, wiring.generations)
    upkeep = Upkeep(wiring, builder)
    upkeep.run_once()
    upkeep.run_once()


def follow_to_the_end(follower: Follower, wiring: Wiring) -> None:
    live = [one for one in wiring.generations.all() if one.state != "building"]
    follower.follow(live)
    while follower.run_pass() or follower.lagging:
        follower.follow(live)
