"""A thousand pairs of movies are merged under load, while the command API is killed.

`STARFOLD_PAIRS` says how many, 1,000 without it.
"""

from __future__ import annotations

import os
import time

import pytest

from shared.log.events import MovieMergeCompleted, RatingMoved
from tests.support.api import Api
from tests.support.faults.crashes import whole_log
from tests.support.faults.duplicates import Duplicates
from tests.support.local_starfold import Local
from tests.support.log import assert_unbroken
from tests.support.system import POLL_S

PAIRS = int(os.environ.get("STARFOLD_PAIRS", "1000"))
KILLS = 5
COMPLETED_WITHIN_S = 600.0
LOOK_EVERY_S = 2.0


@pytest.mark.timeout(3_600)
def test_a_thousand_pairs_are_merged_exactly(local: Local) -> None:
    access = local.access()
    addresses = access.addresses
    assert access.api_key is not None
    with Api(addresses.command_url, addresses.query_url, access.api_key) as api:
        duplicates = Duplicates(api, pairs=PAIRS, seed=11)
        started_at = time.monotonic()
        with duplicates.load():
            for number, old in enumerate(duplicates.new_of):
                if number % max(1, PAIRS // KILLS) == PAIRS // KILLS // 2:
                    _kill(local)
                duplicates.merge(old)
            merged_s = time.monotonic() - started_at
            _wait_until_complete(local)
        completed_s = time.monotonic() - started_at
        log = whole_log(local)
        api.position = log[-1].position
        assert_unbroken(log)
        duplicates.assert_moved(log)
        duplicates.assert_shown(log)
    verified = local.run("verify")
    moved = sum(isinstance(entry.event, RatingMoved) for entry in log)
    print(f"{PAIRS} pairs, {moved} ratings moved, {KILLS} kills, {len(log)} events")
    print(f"merged after {merged_s:.0f} s, all moved after {completed_s:.0f} s")
    print(f"answers to the load: {dict(duplicates.counts)}")
    print(verified.stdout)
    assert verified.returncode == 0, verified.stdout


def _kill(local: Local) -> None:
    while (process := local.supervised("command_api")) is None:
        time.sleep(POLL_S)
    process.kill()


def _wait_until_complete(local: Local) -> None:
    """Wait until every merge is complete."""
    give_up_at = time.monotonic() + COMPLETED_WITHIN_S
    while True:
        log = whole_log(local)
        if sum(isinstance(entry.event, MovieMergeCompleted) for entry in log) == PAIRS:
            return
        assert time.monotonic() < give_up_at, "some merges are never completed"
        time.sleep(LOOK_EVERY_S)
