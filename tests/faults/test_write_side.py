"""The command API and PostgreSQL are killed during load, and 10,000 retries come at once.

`STARFOLD_KILLS` says how often, 50 without it.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple
from uuid import uuid4

import httpx
import pytest

from tests.support.api import POSITION, Api
from tests.support.faults.crashes import kill_in_turns, whole_log
from tests.support.faults.writers import Writers
from tests.support.local_starfold import Local
from tests.support.log import assert_unbroken, rating_of, read_log
from tests.support.processes import start_processes
from tests.support.system import System

KILLS = int(os.environ.get("STARFOLD_KILLS", "50"))
PROCESSES, CLIENTS = 4, 32
KEYS, TIMES = 1_000, 10


@pytest.mark.timeout(1_200)
def test_every_command_counts_once(local: Local) -> None:
    with Writers(local) as writers:
        killed = kill_in_turns(local, writers, kills=KILLS)
    log = whole_log(local)
    once = sum(len(writer.unacknowledged) for writer in writers.all)
    print(f"{killed} killed, {writers.acknowledged} acknowledged, {once} not, {len(log)} events")
    assert killed == KILLS
    writers.assert_exactly_once(log)
    writers.assert_answered_alike()


class Answer(NamedTuple):
    key: str
    status: int
    body: bytes
    position: str


def test_10_000_retries_of_1_000_keys_have_1_000_effects(system: System) -> None:
    """On four processes, in any order, on one rating: a repeat must not undo what came between."""
    service_key = system.service_key()
    apis = [Api(one.url, one.url, service_key) for one in start_processes(system, PROCESSES)]
    ann, movie_id = apis[0].sign_up(), apis[0].movie()
    keys = [str(uuid4()) for _ in range(KEYS)]
    retries = keys * TIMES
    random.Random(5).shuffle(retries)

    def send(numbered: tuple[int, str]) -> Answer:
        number, key = numbered
        answer: httpx.Response = apis[number % PROCESSES].command.put(
            f"/v1/movies/{movie_id}/rating",
            json={"score": 3.5, "review": key},
            headers=ann.headers | {"Idempotency-Key": key},
        )
        return Answer(key, answer.status_code, answer.content, answer.headers[POSITION])

    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = list(pool.map(send, enumerate(retries)))
    for api in apis:
        api.__exit__(None, None, None)
    _assert_one_answer_a_key(answers)
    log = read_log(system.event_store(), system.key_wrap())
    assert_unbroken(log)
    stream_id = rating_of(ann.user_id, movie_id)
    positions = [str(entry.position) for entry in log if entry.stream_id == stream_id]
    assert len(positions) == KEYS
    assert sorted({answer.position for answer in answers}) == sorted(positions)


def _assert_one_answer_a_key(answers: Sequence[Answer]) -> None:
    first = set(answers)
    assert len(answers) == KEYS * TIMES
    assert len(first) == KEYS
    assert Counter(answer.status for answer in first) == {201: 1, 200: KEYS - 1}
