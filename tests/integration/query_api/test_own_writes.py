"""A client that follows its own writes never sees an older state: a random walk against a model.

It writes, and asks now one and now the other of two query APIs, while the generations that they
read are switched. Each answer must be what the model says, whatever it joins.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from projector.wiring import Wiring
from tests.conftest import wait_ready
from tests.support.api import AT_LEAST, POSITION, Api, User
from tests.support.read_models import active
from tests.support.scenarios.projector_steps import built
from tests.support.system import System, eventually

STEPS = 250
USERS = 4
MOVIES = 3
SEED = 11


class Walk:
    """The client and what it knows that it has written."""

    def __init__(self, api: Api, queries: list[httpx.Client]) -> None:
        self._api = api
        self._queries = queries
        self._random = random.Random(SEED)
        self._users = [api.sign_up(name=f"Walker {n}") for n in range(USERS)]
        self._movies = [api.movie(f"Walked {n}", genres=[f"Genre {n}"]) for n in range(MOVIES)]
        self._names = {user.user_id: f"Walker {n}" for n, user in enumerate(self._users)}
        self._private: set[str] = set()
        # By user and movie, the latest last.
        self._scores: dict[tuple[str, str], float] = {}

    def step(self) -> None:
        self._write(self._random.choice(self._users), self._random.choice(self._movies))
        reads = (self._read_movie, self._read_raters, self._read_list)
        self._random.choice(reads)(self._random.choice(self._movies))
        self._read_user(self._random.choice(self._users))

    def _write(self, user: User, movie_id: str) -> None:
        match self._random.randrange(6):
            case 0:
                self._api.expect(204, self._api.withdraw(user, movie_id))
                self._scores.pop((user.user_id, movie_id), None)
            case 1:
                private = user.user_id not in self._private
                name = f"Walker {self._random.randrange(1_000)}"
                body = {"display_name": name, "visibility": "private" if private else "public"}
                self._api.note(
                    self._api.command.patch("/v1/users/me", json=body, headers=user.headers)
                )
                self._names[user.user_id] = name
                self._private ^= {user.user_id}
            case _:
                score = self._random.randint(1, 10) / 2
                assert self._api.rate(user, movie_id, score).is_success
                if self._scores.get((user.user_id, movie_id)) != score:
                    self._scores.pop((user.user_id, movie_id), None)
                self._scores[user.user_id, movie_id] = score

    def _get(self, path: str, user: User | None = None, **parameters: Any) -> Any:
        headers = {AT_LEAST: str(self._api.position)} | (user.headers if user else {})
        query = self._random.choice(self._queries)
        answer = query.get(path, params=parameters, headers=headers)
        assert answer.status_code == 200, answer.text
        assert int(answer.headers[POSITION]) >= self._api.position
        return answer.json()

    def _of_movie(self, movie_id: str) -> list[float]:
        return [score for (_, movie), score in self._scores.items() if movie == movie_id]

    def _read_movie(self, movie_id: str) -> None:
        self._compare(self._get(f"/v1/movies/{movie_id}")["ratings"], self._of_movie(movie_id))

    def _read_list(self, movie_id: str) -> None:
        items = self._get("/v1/movies", q="walked", limit=100)["items"]
        (shown,) = (item for item in items if item["movie_id"] == movie_id)
        self._compare(shown["ratings"], self._of_movie(movie_id))

    def _read_raters(self, movie_id: str) -> None:
        items = self._get(f"/v1/movies/{movie_id}/ratings", limit=100)["items"]
        shown = {item["user_id"]: (item["display_name"], item["score"]) for item in items}
        assert shown == {
            user_id: (self._names[user_id], score)
            for (user_id, movie), score in self._scores.items()
            if movie == movie_id and user_id not in self._private
        }

    def _read_user(self, user: User) -> None:
        own = {movie: s for (user_id, movie), s in self._scores.items() if user_id == user.user_id}
        profile = self._get(f"/v1/users/{user.user_id}", user)
        assert profile["display_name"] == self._names[user.user_id]
        self._compare(profile["ratings"], list(own.values()))
        assert sum(genre["count"] for genre in profile["ratings"]["genres"]) == len(own)
        items = self._get(f"/v1/users/{user.user_id}/ratings", user)["items"]
        assert {item["movie_id"]: item["score"] for item in items} == own
        for item in items:
            scores = self._of_movie(item["movie_id"])
            assert item["movie_average"] == mean(scores)

    def _compare(self, shown: dict[str, Any], scores: list[float]) -> None:
        assert (shown["count"], shown["average"]) == (len(scores), mean(scores))


def mean(scores: list[float]) -> float | None:
    """Four decimals, a half upwards."""
    if not scores:
        return None
    half_stars = round(2 * sum(scores))
    return (half_stars * 10_000 + len(scores)) // (2 * len(scores)) / 10_000


@pytest.fixture
def walk(system: System) -> Iterator[Walk]:
    command = system.start_command_api()
    urls = [system.start_query_api().url for _ in range(2)]
    system.start_projector()
    with (
        Api(command.url, urls[0], system.service_key()) as api,
        httpx.Client(base_url=urls[1], timeout=30) as other,
    ):
        wait_ready(api)
        eventually(lambda: other.get("/ready").status_code == 200)
        yield Walk(api, [api.query, other])


def test_a_client_never_sees_less_than_it_has_written(system: System, walk: Walk) -> None:
    wiring = system.projector_wiring()
    for step in range(STEPS):
        if step % 50 == 10:
            switch(wiring, ("movies", "profiles", "changes")[step // 50 % 3])
        walk.step()
    assert {active(wiring, one).number for one in ("movies", "profiles")} == {3}


def switch(wiring: Wiring, projection: str) -> None:
    """Build a generation; the projector makes it the active one as soon as it has caught up."""
    generation = built(wiring, projection)
    assert wiring.generations.switch_when_ready(projection, generation.number)
