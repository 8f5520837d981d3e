"""Replays and audits read the log from a replica of the database if it has the events."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from projector.log.reader import LogReader
from projector.log.replica import ReplicatedReader
from projector.settings import ProjectorSettings
from projector.wiring import Wiring, wire
from shared.errors import Misconfigured
from shared.log.schema import PROJECTOR_ROLE
from shared.read_model.keys import PROFILES
from tests.conftest import Starfold
from tests.support.faults.standby import Pair, started_pair
from tests.support.read_models import active, wait_until_applied
from tests.support.scenarios.mixed_history import History
from tests.support.scenarios.projector_steps import built
from tests.support.system import System


@pytest.fixture(scope="module")
def servers() -> Iterator[Pair]:
    """Replace the session's servers."""
    with started_pair() as pair:
        yield pair


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("projector.log.replica.CAUGHT_UP_WITHIN_S", 0.2)


def settings(system: System, pair: Pair) -> ProjectorSettings:
    return system.projector_settings(log_replica_url=pair.replica_dsn(PROJECTOR_ROLE))


@pytest.fixture
def wiring(system: System, servers: Pair) -> Iterator[Wiring]:
    made = wire(settings(system, servers))
    yield made
    made.close()


def test_a_replica_is_read_while_it_has_the_events(
    system: System,
    servers: Pair,
    wiring: Wiring,
    starfold: Starfold,
    impatient: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    history = History(system)
    history.go_on()
    system.start_projector()
    wait_until_applied(system.projector_wiring())
    reader = wiring.reader
    assert reader.past(reader.head()) is reader, "there is none yet"
    servers.start_standby()
    until = reader.head()
    replica = reader.past(until)
    assert replica is not reader
    assert replica.fetch(until, 1) == reader.fetch(until, 1)
    built(wiring, PROFILES)
    servers.cut_standby_off()
    history.go_on()
    assert reader.past(until) is replica
    assert reader.past(reader.head()) is reader, "it lacks the last events"
    assert reader.replica_head() == until
    before = active(wiring, PROFILES)
    built(wiring, PROFILES)
    monkeypatch.setenv("STARFOLD_LOG_REPLICA_URL", servers.replica_dsn(PROJECTOR_ROLE))
    status = starfold("status")
    assert f"replica at position {until}, {reader.head() - until} events behind" in status.output
    verified = starfold("verify", "profiles", "--generation", str(before.number))
    assert verified.exit_code == 0, verified.output


def test_a_replica_of_another_log_is_refused(system: System, servers: Pair) -> None:
    primary, other = system.event_store(PROJECTOR_ROLE), System(servers)
    try:
        replica = other.event_store(PROJECTOR_ROLE)
        reader: LogReader = ReplicatedReader(primary, replica, system.codec(), system.key_wrap())
        with pytest.raises(Misconfigured, match="another log"):
            reader.past(reader.head())
    finally:
        other.close()
