"""`starfold verify`, `parked`, `replay` and `switch`; their jobs are run here."""

from __future__ import annotations

import msgspec
import pytest
from typer.testing import Result

from ops.commands.replay import watched_replays
from ops.errors import OperatorError
from ops.home.folder import Home
from ops.options import DEFAULT_HOME
from projector.generations.switch import switch_if_ready
from projector.generations.table import RETIRED_KEPT_S
from projector.wiring import Wiring
from shared.ids import MovieId, UserId
from shared.read_model.keys import GENERATIONS_KEY, partition_of
from tests.conftest import Starfold, Work
from tests.support.builders import a_movie, a_rating, a_user, impossible_rating
from tests.support.commits import commit
from tests.support.faults.tamperer import Tamperer
from tests.support.log import append_raw
from tests.support.read_models import active, wait_until_applied
from tests.support.scenarios.mixed_history import History
from tests.support.scenarios.projector_steps import bootstrapped, built
from tests.support.system import System, eventually


@pytest.fixture
def history(system: System) -> History:
    history = History(system)
    history.go_on()
    return history


@pytest.fixture
def wiring(system: System, history: History) -> Wiring:
    assert history.users
    system.start_projector()
    wiring = system.projector_wiring()
    wait_until_applied(wiring)
    return wiring


def refusal(result: Result) -> str:
    assert isinstance(result.exception, OperatorError), result.output
    return str(result.exception)


def test_verify_finds_and_mends(system: System, wiring: Wiring, starfold: Starfold) -> None:
    clean = starfold("verify")
    assert clean.exit_code == 0, clean.output
    assert clean.output.count("differences: 0") == 3
    Tamperer(system.redis, 3).tamper(active(wiring, "movies"), 5)
    found = starfold("verify", "movies")
    assert found.exit_code == 1
    # The projector of this process may log in between.
    header = next(line for line in found.output.splitlines() if "\t" in line)
    assert header.split("\t")[1:] == ["key", "part", "stored", "from the log"]
    assert "differences: 0" not in found.output
    mended = starfold("verify", "movies", "--repair")
    assert mended.exit_code == 1
    assert "repaired" in mended.output
    assert starfold("verify", "movies").exit_code == 0


def test_verify_looks_at_one_entity(
    system: System, wiring: Wiring, history: History, starfold: Starfold
) -> None:
    movie, other = history.movies[:2]
    movies = active(wiring, "movies")
    key = movies.keys(partition_of(movie)).document("stats", movie.hex)
    system.redis.delete(key)
    assert starfold("verify", "--movie", str(movie)).exit_code == 1
    assert starfold("verify", "--movie", str(other)).exit_code == 0
    assert starfold("verify", "--user", str(history.users[0])).exit_code == 0
    for arguments, words in (
        (("--movie", "x"), "not the id of a movie"),
        (("movies", "--user", str(history.users[0])), "cannot be compared for one user"),
        (("nonsense",), "no projection 'nonsense'"),
        (("movies", "--generation", "9"), "no generation 9 of movies"),
        (("--generation", "1"), "name the projection too"),
        (("--repair", "--detach"), "without repair"),
    ):
        assert words in refusal(starfold("verify", *arguments))


def test_what_is_parked_is_listed_retried_and_discarded(
    system: System, wiring: Wiring, history: History, starfold: Starfold
) -> None:
    user, movie = UserId(history.made(a_user())), MovieId(history.made(a_movie()))
    bad = append_raw(system, impossible_rating(user, movie))
    wait_until_applied(wiring)
    listed = [line.split("\t") for line in starfold("parked", "list").output.splitlines()]
    assert [row[:6] for row in listed[1:] if row[0] == "movies"] == [
        ["movies", "1", str(movie), str(bad), "RatingSubmitted", "parked"]
    ]
    shown = starfold("parked", "show", "movies", str(movie))
    assert "10 half stars" in shown.output
    refused = starfold("parked", "retry", "movies", str(movie))
    assert refused.exit_code == 1
    assert f"still parked at position {bad}" in refused.output
    assert starfold("parked", "discard", "movies", str(movie)).exit_code == 0
    assert "discarded" in starfold("parked", "list").output
    assert starfold("verify", "movies").exit_code == 0
    commit(history.committer, a_rating(user, movie, 9))
    wait_until_applied(wiring)
    # As good as a release that can apply it.
    system.owner().execute("DELETE FROM events WHERE notification_id = %s", [bad])
    for projection, entity in (("movies", movie), ("profiles", user)):
        assert starfold("parked", "retry", projection, str(entity)).exit_code == 0
    assert len(starfold("parked", "list").output.splitlines()) == 1
    assert starfold("verify", "movies").exit_code == 0
    assert starfold("verify", "profiles").exit_code == 0
    assert "is not parked" in refusal(starfold("parked", "show", "movies", str(movie)))


def test_a_replay_is_audited_before_it_becomes_the_live_one(
    system: System, wiring: Wiring, starfold: Starfold, work: Work
) -> None:
    before = active(wiring, "movies")
    started = starfold("replay", "movies", "--no-switch", "--detach", "--throttle", "100000")
    assert started.exit_code == 0, started.output
    # The first generation of `profiles` is live at once, and audited when a worker comes to it.
    assert wiring.generations.all()[-1].audit == "wanted"
    work()
    (generation,) = (one for one in wiring.generations.all() if one.state == "following")
    assert generation.audit == "passed"
    Tamperer(system.redis, 5).tamper(generation, 1)
    assert starfold("verify", "movies", "--generation", "2", "--detach").exit_code == 0
    work()
    listed = [line.split("\t") for line in starfold("replays").output.splitlines()]
    assert ["movies", "2", "following", "failed"] in [[*row[:3], row[6]] for row in listed[1:]]
    # It is asked for again, and fails again; the live one stays.
    wiring.generations.switch_when_ready("movies", 2)
    wiring.generations.set_audit("movies", 2, "failed")
    (generation,) = (one for one in wiring.generations.all() if one.state == "following")
    assert not generation.may_switch
    with (
        watched_replays(Home(DEFAULT_HOME)) as replays,
        pytest.raises(OperatorError, match="has failed its audit"),
    ):
        replays.watch(generation)
    assert active(wiring, "movies") == before
    assert starfold("switch", "movies", "2", "--no-audit").exit_code == 0
    assert active(wiring, "movies").number == 2
    # Back at once: what was live needs no audit.
    assert starfold("switch", "movies", "1").exit_code == 0
    assert active(wiring, "movies").number == 1


def test_a_rollback_waits_for_nobody(system: System, history: History, starfold: Starfold) -> None:
    """There is no projector whose upkeep could do it; readers' copy and table are one."""
    assert history.users
    wiring = system.projector_wiring()
    bootstrapped(wiring)
    new = built(wiring, "movies")
    assert not switch_if_ready(wiring.generations, wiring.store, new), "nobody follows it"
    wiring.generations.set_stopped("movies", new.number, None)
    for number in (2, 1, 2):
        switched = starfold("switch", "movies", str(number))
        assert switched.exit_code == 0, switched.output
        assert active(wiring, "movies").number == number
        copy = msgspec.json.decode(wiring.store.read(GENERATIONS_KEY) or b"")
        assert copy["movies"]["number"] == number


def test_a_generation_that_may_be_being_purged_is_not_switched_to(
    system: System, history: History
) -> None:
    assert history.users
    wiring = system.projector_wiring()
    bootstrapped(wiring)
    assert wiring.generations.switch("movies", built(wiring, "movies").number)
    system.owner().execute(
        "UPDATE generations SET retired_at = now() - make_interval(secs => %s)"
        " WHERE state = 'retired'",
        [RETIRED_KEPT_S],
    )
    assert not wiring.generations.switch("movies", 1)
    assert wiring.generations.switch_when_ready("movies", 1)
    bootstrapped(wiring)
    assert [one.number for one in wiring.generations.all() if one.projection == "movies"] == [2]


def test_a_rewound_log_stops_a_projection_and_a_replay_heals_it(
    system: System, wiring: Wiring, history: History, starfold: Starfold, work: Work
) -> None:
    """As after a fail-over that lost the last events: other ones stand at their positions."""
    owner = system.owner()
    head = wiring.reader.head()
    owner.execute("DELETE FROM events WHERE notification_id > %s", [head - 20])
    owner.execute(
        "SELECT setval(pg_get_serial_sequence('events', 'notification_id'), %s)", [head - 20]
    )
    for _ in range(3):
        newcomer = UserId(history.made(a_user()))
        commit(history.committer, *(a_rating(newcomer, movie, 3) for movie in history.movies))
    assert wiring.reader.head() > head

    def stopped() -> bool:
        live = [one for one in wiring.generations.all() if one.state == "active"]
        return all("where the log now has" in str(one.stopped) for one in live)

    eventually(stopped)
    for projection in ("movies", "profiles", "changes"):
        assert starfold("replay", projection, "--detach").exit_code == 0
    work()
    eventually(lambda: active(wiring, "movies").number == 2)
    eventually(lambda: active(wiring, "profiles").number == 2)
    eventually(lambda: active(wiring, "changes").number == 2)
    wait_until_applied(wiring)
    assert starfold("verify").exit_code == 0
