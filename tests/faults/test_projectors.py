"""Projectors and Redis are killed and paused during load: read models stay exact.

`STARFOLD_FAULT_ROUNDS` says how often, 200 without it. `STARFOLD_SHARE_FAULTS_S` says for how long
four projectors are killed and suspended in turn: 15 s without it, 600 for ten minutes.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import psutil
import pytest
import redis

from ops.commands.read_models import wired
from projector.audit.auditor import Audit
from projector.projections import DEFINITIONS
from projector.wiring import Wiring
from shared.log.schema import PROJECTOR_ROLE
from tests.faults.load import Load
from tests.support.faults.tamperer import Fault, Tamperer
from tests.support.local_starfold import Local
from tests.support.processes import READY_WITHIN_S, ProjectorProcess
from tests.support.read_models import active, wait_until_applied
from tests.support.standstill import StandstillMeter
from tests.support.system import eventually

ROUNDS = int(os.environ.get("STARFOLD_FAULT_ROUNDS", "200"))
SHARE_FAULTS_S = int(os.environ.get("STARFOLD_SHARE_FAULTS_S", "15"))
PAUSED_S = 0.25
# The others take over from a suspended projector in less, and from a killed one.
SUSPENDED_S = 5.0
RECOVERED_S = 4.0
BETWEEN_S = 0.15
# The supervisor delays the restart of a failing child: kill one in this many rounds.
KILL_SUPERVISED_EVERY = 12
ROWS_MIN = 2_000
FAULTS = {"movies": 49, "profiles": 50, "changes": 1}


@pytest.fixture
def beside(local: Local) -> Iterator[Callable[[], ProjectorProcess]]:
    """Start projectors beside the supervised one."""
    started: list[ProjectorProcess] = []

    def start() -> ProjectorProcess:
        started.append(ProjectorProcess(local.home.environment(PROJECTOR_ROLE)))
        return started[-1]

    yield start
    for one in started:
        one.stop()


def _hit(
    local: Local, second: ProjectorProcess, draw: random.Random, round_number: int
) -> str | None:
    """Kill or pause one of them; returns what was done."""
    name = draw.choice(["second", "second", "projector", "valkey-server"])
    if not second.is_running:
        second.start()
    process = psutil.Process(second.pid) if name == "second" else local.supervised(name)
    if process is None:
        return None
    kill = draw.random() < 0.6 if name == "second" else round_number % KILL_SUPERVISED_EVERY == 0
    if kill:
        process.kill()
        return f"{name} killed"
    process.send_signal(signal.SIGSTOP)
    time.sleep(PAUSED_S)
    process.send_signal(signal.SIGCONT)
    return f"{name} paused"


@pytest.mark.timeout(1_200)
def test_read_models_stay_exact(local: Local, beside: Callable[[], ProjectorProcess]) -> None:
    second = beside()
    draw = random.Random(11)
    done: Counter[str] = Counter()
    with Load(local, seed=3) as load:
        for number in range(1, ROUNDS + 1):
            assert load.failed is None, load.failed
            what = _hit(local, second, draw, number)
            done[what or "not running"] += 1
            time.sleep(BETWEEN_S)
    assert load.failed is None, load.failed
    assert load.rows > ROUNDS
    with wired(local.home) as wiring:
        wait_until_applied(wiring)
        reports = _audited(wiring)
    print(f"{dict(done)}, {load.rows} rows, {reports}")
    with local.client() as client:
        client.caller.note(client.command_ready().position)
        for movie in load.movies:
            scores = [s for (_, rated), s in load.acknowledged.items() if rated == movie]
            ratings = client.get_movie(movie).ratings
            assert ratings.count == len(scores)
            half_stars = sum(half * n for half, n in enumerate(ratings.histogram, start=1))
            assert half_stars == 2 * sum(scores)


@pytest.mark.timeout(SHARE_FAULTS_S + 300)
def test_four_projectors_that_share_stay_exact(
    local: Local, beside: Callable[[], ProjectorProcess]
) -> None:
    """The supervised one is suspended, the others are suspended or killed and started again."""
    fleet = [beside() for _ in range(3)]
    draw = random.Random(13)
    done: Counter[str] = Counter()
    with wired(local.home) as wiring, wired(local.home) as watching:
        eventually(lambda: len(wiring.projectors.live()) == 1 + len(fleet), READY_WITHIN_S)
        with StandstillMeter(watching) as meter, Load(local, seed=5) as load:
            give_up_at = time.monotonic() + SHARE_FAULTS_S
            while time.monotonic() < give_up_at:
                assert load.failed is None, load.failed
                done[_hurt_one(local, fleet, draw)] += 1
                time.sleep(RECOVERED_S)
            wait_until_applied(wiring)
        assert load.failed is None, load.failed
        wait_until_applied(wiring)
        reports = _audited(wiring)
    print(f"{dict(done)}, {load.rows} rows, {reports}, longest standstill {meter.longest_s:.2f} s")


def _hurt_one(local: Local, fleet: Sequence[ProjectorProcess], draw: random.Random) -> str:
    """Kill one and start it again at once, or suspend one for longer than its row lives."""
    one = draw.choice([*fleet, None])
    if one is not None and draw.random() < 0.5:
        one.kill()
        one.start()
        return "killed"
    process = psutil.Process(one.pid) if one is not None else local.supervised("projector")
    assert process is not None
    process.suspend()
    time.sleep(SUSPENDED_S)
    process.resume()
    return "suspended"


def test_a_hundred_single_faults_are_found_and_repaired(local: Local) -> None:
    with Load(local, seed=4) as load:
        while load.rows < ROWS_MIN:
            assert load.failed is None, load.failed
            time.sleep(BETWEEN_S)
    connection = redis.Redis.from_url(local.home.redis_url())
    with wired(local.home) as wiring:
        wait_until_applied(wiring)
        for seed, (projection, count) in enumerate(FAULTS.items()):
            generation = active(wiring, projection)
            audit = Audit(wiring.reader, wiring.store)
            made = Tamperer(connection, seed).tamper(generation, count)
            found = audit.verify(generation, repair=True).differences
            assert len(made) == count
            assert {Fault(one.partition, *one.key) for one in found} == made
            assert audit.verify(generation).passed
    connection.close()


def _audited(wiring: Wiring) -> dict[str, int]:
    """The keys that were compared, by projection; none differs."""
    compared = {}
    for projection in DEFINITIONS:
        report = Audit(wiring.reader, wiring.store).verify(active(wiring, projection))
        assert report.differences == []
        assert report.parked == []
        compared[projection] = report.keys
    return compared
