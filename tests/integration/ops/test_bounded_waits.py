"""Commands that wait say what for, give up in time, and leave nothing half done."""

from __future__ import annotations

from typing import Any

import pytest

from ops.acts import replay_waits
from ops.commands import replay
from ops.commands.replay import watched_replays
from ops.errors import OperatorError
from ops.home.folder import Home
from ops.options import DEFAULT_HOME
from projector.following.follower import Follower
from projector.generations.table import Generation
from projector.wiring import Wiring
from tests.conftest import Starfold, Work
from tests.support.read_models import active
from tests.support.scenarios.mixed_history import History
from tests.support.scenarios.projector_steps import bootstrapped, built
from tests.support.system import System


class Behind:
    """A generation that cannot become active: no projector follows it, and the log has grown."""

    def __init__(self, system: System) -> None:
        history = History(system)
        self.wiring: Wiring = system.projector_wiring()
        bootstrapped(self.wiring)
        self.generation = built(self.wiring, "movies")
        history.go_on(20)
        follower = Follower(self.wiring.reader, self.wiring.store)
        follower.follow([active(self.wiring, "movies")])
        while follower.run_pass() or follower.lagging:
            pass

    def now(self) -> Generation:
        found = self.wiring.generations.get("movies", self.generation.number)
        assert found is not None
        return found


@pytest.fixture
def behind(system: System) -> Behind:
    return Behind(system)


def test_a_switch_gives_up_in_time_and_says_why(
    behind: Behind, starfold: Starfold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay_waits, "SAY_EVERY_S", 0.1)
    refused = starfold("switch", "movies", "2", "--no-audit", "--wait", "1")
    assert refused.exit_code == 1
    said = str(refused.exception) + refused.output
    assert "did not become active within 1 s: no projector is running" in said
    assert behind.now().state == "following"
    assert not behind.now().switch_when_ready, "nor does it later"


def test_an_interrupted_switch_leaves_nothing_half_done(
    behind: Behind, starfold: Starfold, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_seconds: float) -> None:
        assert behind.now().switch_when_ready
        raise KeyboardInterrupt

    monkeypatch.setattr("ops.commands.replay.time.sleep", interrupted)
    with watched_replays(Home(DEFAULT_HOME)) as replays, pytest.raises(KeyboardInterrupt):
        replays.switch("movies", 2, audit=False)
    assert not behind.now().switch_when_ready


def test_a_switch_that_was_ordered_before_is_still_wanted_after_a_command_gave_up(
    behind: Behind, starfold: Starfold
) -> None:
    behind.wiring.generations.switch_when_ready("movies", 2)
    assert starfold("switch", "movies", "2", "--no-audit", "--wait", "0").exit_code == 1
    assert behind.now().switch_when_ready


@pytest.mark.parametrize("stopped", ["the log is another one", None])
def test_a_switch_names_what_stands_in_its_way(
    behind: Behind, starfold: Starfold, stopped: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay_waits, "PROJECTOR_SILENT_MAX_S", 1e9)
    monkeypatch.setattr(replay_waits, "_is_projector_silent", _never)
    behind.wiring.generations.set_stopped("movies", 2, stopped)
    refused = starfold("switch", "movies", "2", "--no-audit", "--wait", "0")
    assert (stopped or "it is at position") in str(refused.exception) + refused.output


def _never(_waiting: Any) -> bool:
    return False


def test_a_replay_of_which_nothing_moves_is_not_waited_for_forever(
    system: System, starfold: Starfold, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No projector runs, so what is built is never switched to."""
    monkeypatch.setattr(replay, "STILL_MAX_S", 0.5)
    History(system)
    bootstrapped(system.projector_wiring())
    with watched_replays(Home(DEFAULT_HOME)) as replays:
        generation = replays.acts.start("movies", shares=1, switch=True, audit=False)
        work()
        with pytest.raises(
            OperatorError, match="has made no progress for 0 s: no projector is running"
        ):
            replays.watch(generation)
