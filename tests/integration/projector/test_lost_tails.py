"""The log loses its tail for real: to a standby that had not received it, to an older backup."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest

from projector.projections import DEFINITIONS
from projector.wiring import Wiring
from shared.ids import Position
from shared.read_model.checkpoints import decode_checkpoint
from tests.conftest import Starfold, Work
from tests.support.api import AT_LEAST
from tests.support.faults.standby import Pair, started_pair
from tests.support.read_models import active, wait_until_applied
from tests.support.scenarios.mixed_history import History
from tests.support.scenarios.projector_steps import built
from tests.support.system import System, eventually

DIVERGED = "has applied "


@pytest.fixture(scope="module")
def servers() -> Iterator[Pair]:
    """Replace the session's servers."""
    with started_pair() as pair:
        yield pair


def _fails_over(pair: Pair, lose: Callable[[], None]) -> None:
    pair.start_standby()
    pair.cut_standby_off()
    lose()
    pair.fail_over()


def _restores(pair: Pair, lose: Callable[[], None]) -> None:
    pair.back_up()
    lose()
    pair.restore()


# The backup first: a primary that was failed over from is not started again.
@pytest.mark.parametrize("happens", [_restores, _fails_over])
def test_a_lost_tail_is_noticed_and_a_replay_heals(
    system: System,
    servers: Pair,
    starfold: Starfold,
    work: Work,
    happens: Callable[[Pair, Callable[[], None]], None],
) -> None:
    history = History(system)
    history.go_on()
    query = system.start_query_api()
    system.start_projector()
    wait_until_applied(system.projector_wiring())

    def lose() -> None:
        history.go_on()
        wiring = system.projector_wiring()
        wait_until_applied(wiring)
        # The numbers that the replays below get: Redis keeps these, the table forgets them.
        for projection in DEFINITIONS:
            built(wiring, projection)

    kept = system.event_store().head()
    happens(servers, lose)
    wiring = system.projector_wiring()  # The old one's connections are lost.
    lost = _checkpoints(wiring)
    assert min(lost.values()) > kept
    # Positions run on past the checkpoints.
    while _head(wiring) <= max(lost.values()):
        History(system).go_on()
    eventually(lambda: _stopped(wiring) == set(DEFINITIONS))
    assert starfold("status").output.count(DIVERGED) == len(DEFINITIONS)
    assert _checkpoints(wiring) == lost
    path, new = f"{query.url}/v1/movies/{history.movies[0]}", str(wiring.reader.head())
    behind = httpx.get(path, headers={AT_LEAST: new})
    assert behind.status_code == httpx.codes.SERVICE_UNAVAILABLE
    assert behind.json()["type"].endswith("projection-behind")
    for projection in DEFINITIONS:
        assert starfold("replay", projection, "--detach").exit_code == 0
    work()
    eventually(lambda: _stopped(wiring) == set())
    wait_until_applied(wiring)
    assert httpx.get(path, headers={AT_LEAST: new}).status_code == httpx.codes.OK
    verified = starfold("verify")
    assert verified.exit_code == 0, verified.output
    assert verified.output.count("differences: 0") == len(DEFINITIONS)


def _head(wiring: Wiring) -> Position:
    return wiring.reader.head()


def _checkpoints(wiring: Wiring) -> dict[str, Position]:
    """The highest of each projection."""
    return {
        projection: max(
            decode_checkpoint(stored).position
            for stored in wiring.store.checkpoints(active(wiring, projection).all_keys)
        )
        for projection in DEFINITIONS
    }


def _stopped(wiring: Wiring) -> set[str]:
    """The projections that say that the log is another one."""
    return {
        one.projection
        for one in wiring.generations.all()
        if one.state == "active" and DIVERGED in str(one.stopped)
    }
