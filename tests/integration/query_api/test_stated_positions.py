"""Every answer holds all up to its position, and nothing after the newest position that it states.

Read while ratings are written and projected, and compared with the whole log afterwards.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple
from uuid import UUID

import httpx

from command_api.commit.pending_command import Outcome
from shared.ids import MovieId, UserId
from tests.support.api import POSITION
from tests.support.builders import a_movie, a_rating, a_user
from tests.support.commits import commit
from tests.support.scenarios.projector_steps import bootstrapped
from tests.support.system import System, eventually

NEWEST = "Starfold-Newest"
USERS = 24
MOVIES = 12
WRITES = 220
READERS = 2


class Seen(NamedTuple):
    """An answer that showed a number of a movie's or user's ratings, which were given in turn."""

    of: UUID
    ratings: int
    position: int
    newest: int


class Written(NamedTuple):
    """One rating; each user rates a movie once, so that every one adds to both counts."""

    user: UserId
    movie: MovieId
    position: int


class Log:
    """What was written, in order; each movie's ratings have averages that tell them apart."""

    def __init__(self, system: System) -> None:
        self._committer = system.committer()
        self.users = [UserId(self._made(a_user())) for _ in range(USERS)]
        self.movies = [MovieId(self._made(a_movie())) for _ in range(MOVIES)]
        self.written: list[Written] = []

    def write(self) -> None:
        pairs = [(user, movie) for user in self.users for movie in self.movies]
        random.Random(3).shuffle(pairs)
        for user, movie in pairs[:WRITES]:
            (outcome,) = commit(self._committer, a_rating(user, movie, 7))
            assert isinstance(outcome, Outcome)
            self.written.append(Written(user, movie, outcome.position))

    def _made(self, command: Any) -> UUID:
        (outcome,) = commit(self._committer, command)
        assert isinstance(outcome, Outcome)
        return outcome.subject

    def require(self, seen: Seen) -> None:
        """Fail unless what was seen is between the positions that were stated."""
        positions = [one.position for one in self.written if seen.of in (one.user, one.movie)]
        assert all(position > seen.position for position in positions[seen.ratings :]), seen
        assert all(position <= seen.newest for position in positions[: seen.ratings]), seen


class Reader:
    """Reads one thing after the other, and keeps what it has seen."""

    def __init__(self, url: str, log: Log, seed: int) -> None:
        self._api = httpx.Client(base_url=url, timeout=30)
        self._log = log
        self._random = random.Random(seed)
        self.seen: list[Seen] = []
        self.answers: set[str] = set()

    def read(self, stop: threading.Event) -> None:
        with self._api:
            while not stop.is_set():
                self._read_one()

    def _read_one(self) -> None:
        movie, user = self._random.choice(self._log.movies), self._random.choice(self._log.users)
        path = self._random.choice(
            [
                "/v1/movies?limit=100",
                "/v1/movies?q=stalker&limit=100",
                f"/v1/movies/{movie}",
                f"/v1/movies/{movie}/stats",
                f"/v1/movies/{movie}/ratings?limit=100",
                f"/v1/users/{user}",
                f"/v1/users/{user}/ratings?limit=100",
                f"/v1/users/{user}/ratings?limit=100&sort=score",
            ]
        )
        answer = self._api.get(path)
        assert answer.status_code == 200, answer.text
        position = int(answer.headers[POSITION])
        newest = int(answer.headers.get(NEWEST, position))
        assert newest >= position
        self.answers.add(path.replace(str(movie), "").replace(str(user), ""))
        for of, ratings in self._counts(answer.json(), path, movie, user):
            self.seen.append(Seen(of, ratings, position, newest))

    @staticmethod
    def _counts(
        body: dict[str, Any], path: str, movie: UUID, user: UUID
    ) -> Iterator[tuple[UUID, int]]:
        if "items" not in body:
            yield movie if path.startswith("/v1/movies") else user, body["ratings"]["count"]
        elif path.startswith("/v1/movies?"):
            for item in body["items"]:
                yield UUID(item["movie_id"]), item["ratings"]["count"]
        else:
            yield movie if path.startswith("/v1/movies") else user, len(body["items"])


def test_nothing_in_an_answer_is_newer_than_it_states(system: System) -> None:
    log = Log(system)
    bootstrapped(system.projector_wiring())
    system.start_projector()
    url = system.start_query_api().url
    eventually(lambda: httpx.get(f"{url}/ready").status_code == 200)
    stop = threading.Event()
    readers = [Reader(url, log, seed) for seed in range(READERS)]
    threads = [threading.Thread(target=one.read, args=[stop]) for one in readers]
    for thread in threads:
        thread.start()
    log.write()
    eventually(lambda: all(len(one.answers) == 8 for one in readers))
    stop.set()
    for thread in threads:
        thread.join()
    for one in readers:
        assert len(one.seen) > WRITES
        for seen in one.seen:
            log.require(seen)
