"""The log loses its tail for real: to a standby that had not received it, to an older backup."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from projector.projections import DEFINITIONS
from projector.wiring import Wiring
from shared.ids import Position
from shared.read_model.checkpoints import decode_checkpoint
from tests.conftest import Starfold, Work
from tests.support.api import AT_LEAST, Api
from tests.support.faults.standby import Pair, started_pair
from tests.support.read_models import active, wait_until_applied
from tests.support.scenarios.mixed_history import History
from tests.support.scenarios.projector_steps import built
from tests.support.system import System, eventually

DIVERGED = "has applied "
OPERATING = (Path(__file__).parents[3] / "docs/operating.md").read_text()
STEPS = [
    line.split("#")[0].split()[1:]
    for line in OPERATING.split("### After a fail-over")[1].split("```")[1].splitlines()
    if line.strip().startswith("starfold ")
]


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
    monkeypatch: pytest.MonkeyPatch,
    happens: Callable[[Pair, Callable[[], None]], None],
) -> None:
    history = History(system)
    history.go_on()
    query, command = system.start_query_api(), system.start_command_api()
    system.start_projector()
    wait_until_applied(system.projector_wiring())

    erased = history.users[0]

    def lose() -> None:
        history.go_on()
        with Api(command.url, query.url, system.service_key()) as api:
            answer = api.command.delete(f"/v1/users/{erased}", headers=api.service)
            assert answer.status_code == httpx.codes.NO_CONTENT
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
    assert _checkpoints(wiring) == lost
    path, new = f"{query.url}/v1/movies/{history.movies[0]}", str(wiring.reader.head())
    behind = httpx.get(path, headers={AT_LEAST: new})
    assert behind.status_code == httpx.codes.SERVICE_UNAVAILABLE
    assert behind.json()["type"].endswith("projection-behind")
    # To the letter, with the work of a worker before the new generations are listed.
    printed: dict[str, str] = {}
    for step in STEPS:
        if step == ["replays"]:
            work()
            eventually(lambda: _stopped(wiring) == set())
        with monkeypatch.context() as of_command_side:
            if step[0] == "erase":
                for name, value in system.command_environment().items():
                    of_command_side.setenv(name, value)
                owner = system.servers.home.owner_dsn()
                of_command_side.setenv("STARFOLD_OWNER_DATABASE_URL", owner)
            result = starfold(*step)
        assert result.exit_code == 0, result.output
        printed[" ".join(step)] = result.output
    assert printed["status"].count(DIVERGED) == len(DEFINITIONS)
    assert printed["erase --reapply"].endswith(", 1 erased again\n")
    assert printed["replays"].count("\tactive\t") == len(DEFINITIONS)
    assert printed["verify"].count("differences: 0") == len(DEFINITIONS)
    wait_until_applied(wiring)
    assert httpx.get(path, headers={AT_LEAST: new}).status_code == httpx.codes.OK
    profile = httpx.get(f"{query.url}/v1/users/{erased}", headers={AT_LEAST: str(_head(wiring))})
    assert (profile.json()["erased"], profile.json()["display_name"]) == (True, None)


def test_the_documented_steps_replay_every_projection() -> None:
    assert [step[1] for step in STEPS if step[0] == "replay"] == list(DEFINITIONS)


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
