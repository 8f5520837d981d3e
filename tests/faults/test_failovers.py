"""PostgreSQL fails over to a synchronous standby again and again under load.

`STARFOLD_FAILOVERS` says how often, 20 without it.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import httpx
import pytest

from shared.log.events import RatingSubmitted
from tests.support.api import Api
from tests.support.faults.standby import Pair, started_pair
from tests.support.log import Entry, assert_unbroken, read_log
from tests.support.read_models import assert_exact_at_head
from tests.support.system import System

FAILOVERS = int(os.environ.get("STARFOLD_FAILOVERS", "20"))
WRITERS, MOVIES = 4, 10
UNDISTURBED_S = 1.0
FIRST = datetime(2020, 1, 1, tzinfo=UTC)
ANSWERED_WITHIN_S = 60.0
TAKEN = (httpx.codes.OK, httpx.codes.CREATED)


class Writers:
    """Each rates as a user of its own; every rating has a time that no other has."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self.movies = [api.movie(f"Film {number}") for number in range(MOVIES)]
        rows = [{"external_id": str(uuid4()), "display_name": "Ann"} for _ in range(WRITERS)]
        answer = api.post("/v1/users/batch", {"users": rows}, api.service)
        self.users = [row["user_id"] for row in answer.json()["results"]]
        self.acknowledged: list[tuple[str, str, datetime]] = []
        self.answers: Counter[str] = Counter()
        self.longest_gap_s = 0.0
        self._stop = threading.Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        with ThreadPoolExecutor(WRITERS) as pool:
            tasks = [pool.submit(self._write, user) for user in self.users]
            try:
                yield
            finally:
                self._stop.set()
            for task in tasks:
                task.result()

    def _write(self, user: str) -> None:
        acknowledged_at = time.monotonic()
        for number in itertools.count():
            if self._stop.is_set():
                return
            movie = self.movies[number % MOVIES]
            rated_at = FIRST + timedelta(minutes=number)
            row = {
                "user_id": user,
                "movie_id": movie,
                # Another one than the time before: the same opinion again records nothing.
                "score": 0.5 + (number + number // MOVIES) % 10 / 2,
                "rated_at": rated_at.isoformat(),
            }
            self._until_acknowledged(row)
            self.acknowledged.append((user, movie, rated_at))
            now = time.monotonic()
            self.longest_gap_s = max(self.longest_gap_s, now - acknowledged_at)
            acknowledged_at = now

    def _until_acknowledged(self, row: dict[str, object]) -> None:
        give_up_at = time.monotonic() + ANSWERED_WITHIN_S
        while True:
            answer = self._api.post("/v1/ratings", row, self._api.service)
            self.answers[str(answer.status_code)] += 1
            if answer.status_code in TAKEN:
                return
            assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE, answer.text
            assert "Retry-After" in answer.headers
            assert time.monotonic() < give_up_at, "it is never acknowledged"
            time.sleep(0.05)


@pytest.fixture
def pair() -> Iterator[Pair]:
    with started_pair() as pair:
        yield pair


@pytest.mark.timeout(1_800)
def test_no_acknowledged_rating_is_lost_or_doubled(pair: Pair) -> None:
    system = System(pair)
    command = system.start_command_api()
    system.start_projector()
    query = system.start_query_api()
    with Api(command.url, query.url, system.service_key()) as api:
        writers = Writers(api)
        pair.start_standby()
        with writers.running():
            for _ in range(FAILOVERS):
                pair.require_standby()
                time.sleep(UNDISTURBED_S)
                pair.fail_over()
                pair.swap()
        log = read_log(system.event_store(), system.key_wrap())
    assert_unbroken(log)
    assert_exact_at_head(system)
    given = Counter(_rated(entry) for entry in log if isinstance(entry.event, RatingSubmitted))
    system.close()
    print(f"{FAILOVERS} failovers, {len(writers.acknowledged)} ratings acknowledged")
    print(f"answers: {dict(writers.answers)}; longest gap {writers.longest_gap_s:.1f} s")
    missing = [one for one in writers.acknowledged if given[_key(*one)] == 0]
    doubled = [one for one, times in given.items() if times > 1]
    assert (missing, doubled) == ([], [])


def _rated(entry: Entry) -> tuple[UUID, UUID, datetime]:
    event = entry.event
    assert isinstance(event, RatingSubmitted)
    return event.user_id, event.movie_id, event.rated_at


def _key(user: str, movie: str, rated_at: datetime) -> tuple[UUID, UUID, datetime]:
    return UUID(user), UUID(movie), rated_at
