"""A request makes at most two round trips to Redis, whatever it lists and for any caller."""

from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio.connection import AbstractConnection

from shared.read_model.keys import GENERATIONS_KEY
from tests.support.api import Api, User

# What a query API asks by itself, a few times a second, and what a new connection says first.
BY_ITSELF = (
    GENERATIONS_KEY.encode(),
    b"XRANGE",
    b"HELLO",
    b"CLIENT",
    b"AUTH",
    b"SELECT",
    b"PING",
    b"SUBSCRIBE",
)
RATINGS = 60
# Other traffic can only add commands: the lowest of several counts is the request's own.
TRIES = 5


class Sent:
    """What the query API of this process sends to Redis, but for what it asks by itself."""

    def __init__(self) -> None:
        self._count = 0

    def note(self, command: bytes) -> None:
        if not any(own in command for own in BY_ITSELF):
            self._count += 1

    def take(self) -> int:
        """How often, since the last look."""
        taken, self._count = self._count, 0
        return taken


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    noted = Sent()
    send = AbstractConnection.send_packed_command

    async def counting(self: Any, command: Any, *arguments: Any, **options: Any) -> None:
        noted.note(command if isinstance(command, bytes) else b"".join(command))
        await send(self, command, *arguments, **options)

    monkeypatch.setattr(AbstractConnection, "send_packed_command", counting)
    monkeypatch.setattr("query_api.feed.index_feed.LOOK_EVERY_S", float("inf"))
    return noted


def settle(api: Api, user: User) -> None:
    """Wait until every read model and the index have what was written."""
    api.read("/v1/movies")
    api.read(f"/v1/users/{user.user_id}/ratings")


def test_no_read_needs_more_than_two(sent: Sent, own: Api) -> None:
    ann = own.sign_up()
    movies = [own.movie(f"Counted {n}", genres=["Drama"]) for n in range(RATINGS)]
    rows = [{"movie_id": movie_id, "score": 3, "review": "So."} for movie_id in movies]
    own.expect(200, own.post("/v1/ratings/batch", {"ratings": rows}, ann.headers))
    for other in [own.sign_up() for _ in range(25)]:
        own.rate(other, movies[0], 4)
    settle(own, ann)
    movie, user = f"/v1/movies/{movies[0]}", f"/v1/users/{ann.user_id}"
    wanted = {
        "/v1/movies": 0,
        "/v1/movies?q=counted&genre=drama&sort=title&limit=100": 0,
        movie: 1,
        f"{movie}/stats?as_of=2020-01-01": 1,
        f"{movie}/history": 1,
        f"{movie}/ratings?limit=100": 2,
        f"{movie}/ratings?limit=100&sort=score": 2,
        user: 1,
        "/v1/users/me": 1,
        f"{user}/ratings?limit=100": 1,
        f"{user}/ratings?limit=100&sort=score": 1,
        f"{user}/ratings?limit=100&sort=title": 1,
        f"{user}/ratings/{movies[0]}": 1,
    }
    for path, trips in wanted.items():
        for headers in ({}, ann.headers):
            if headers or path != "/v1/users/me":
                own.query.get(path, headers=headers)  # From now on scripts and genres are known.
                # With a credential what is known of the caller comes with the rest.
                least_trips = max(trips, 1) if headers else trips
                assert least(sent, own, path, headers) == least_trips, path


def least(sent: Sent, api: Api, path: str, headers: dict[str, str]) -> int:
    taken = []
    for _ in range(TRIES):
        sent.take()
        assert api.query.get(path, headers=headers).status_code == 200, path
        taken.append(sent.take())
    return min(taken)


def test_a_profile_takes_two_after_its_user_has_rated(sent: Sent, own: Api) -> None:
    ann = own.sign_up()
    own.rate(ann, own.movie(), 4)
    settle(own, ann)
    taken = []
    for _ in range(2):
        sent.take()
        own.query.get(f"/v1/users/{ann.user_id}")
        taken.append(sent.take())
    assert taken == [2, 1]
