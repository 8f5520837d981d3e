"""Two projectors and Redis are killed and paused during load: read models stay exact.

`STARFOLD_FAULT_ROUNDS` says how often, 200 without it.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator

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
from tests.support.read_models import active, wait_until_applied

ROUNDS = int(os.environ.get("STARFOLD_FAULT_ROUNDS", "200"))
PAUSED_S = 0.25
BETWEEN_S = 0.15
# The supervisor delays the restart of a failing child: kill one in this many rounds.
KILL_SUPERVISED_EVERY = 12
ROWS_MIN = 2_000
FAULTS = {"movies": 49, "profiles": 50, "changes": 1}


@pytest.fixture
def second(local: Local) -> Iterator[SecondProjector]:
    started = SecondProjector(local)
    yield started
    started.stop()


class SecondProjector:
    """Beside the supervised one, started again at once."""

    def __init__(self, local: Local) -> None:
        self._environment = {**os.environ, **local.home.environment(PROJECTOR_ROLE)}
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "projector"],
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    @property
    def process(self) -> psutil.Process:
        if self._process.poll() is not None:
            self._process = self._start()
        return psutil.Process(self._process.pid)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)


def _hit(
    local: Local, second: SecondProjector, draw: random.Random, round_number: int
) -> str | None:
    """Kill or pause one of them; returns what was done."""
    name = draw.choice(["second", "second", "projector", "valkey-server"])
    process = second.process if name == "second" else local.supervised(name)
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
def test_read_models_stay_exact(local: Local, second: SecondProjector) -> None:
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
        for movie in load.movies:
            scores = [s for (_, rated), s in load.acknowledged.items() if rated == movie]
            ratings = client.query(f"/v1/movies/{movie}", at_least=client.head())["ratings"]
            assert ratings["count"] == len(scores)
            half_stars = sum(half * n for half, n in enumerate(ratings["histogram"], start=1))
            assert half_stars == 2 * sum(scores)


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
