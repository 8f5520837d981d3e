"""Movies that are in a catalogue twice, rated by many while they are merged, and what must be left.

What counts is derived from the answers alone: of the opinions that were taken, each user's last one
by `rated_at` on either movie of a pair, unless it was withdrawn.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple
from uuid import uuid4

import httpx

from shared.log.events import (
    MovieMergeCompleted,
    MovieMerged,
    RatingMoved,
    RatingSubmitted,
    RatingWithdrawn,
)
from tests.support.api import Api, User
from tests.support.log import Entry

USERS, MEMBERS, LOADERS = 36, 6, 3
# Raters of each movie before the load begins; they overlap.
RATERS = 8
ROWS = 20
FIRST = datetime(2020, 1, 1, tzinfo=UTC)
ANSWERED_WITHIN_S = 90.0
BUSY = (httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.TOO_MANY_REQUESTS)
TAKEN = ("created", "changed")


class Opinion(NamedTuple):
    rated_at: datetime
    half_stars: int


class Duplicates:
    """Pairs of movies: `old` is merged into `new`.

    `opinions` are the accepted ratings, by user and `new`, of each of the two movies.
    """

    def __init__(self, api: Api, *, pairs: int, seed: int) -> None:
        self.api = api
        self._seed = seed
        self.members = [api.sign_up() for _ in range(MEMBERS)]
        self.users = self._created(
            "users",
            [{"external_id": str(uuid4()), "display_name": "Ann"} for _ in range(USERS)],
            "user_id",
        )
        titles = [f"Film {n} {side}" for n in range(pairs) for side in ("again", "")]
        movies = self._created("movies", [{"title": t, "year": 1979} for t in titles], "movie_id")
        self.new_of = dict(zip(movies[::2], movies[1::2], strict=True))
        self.opinions: dict[tuple[str, str], dict[str, Opinion]] = defaultdict(dict)
        self.counts: Counter[str] = Counter()
        self._numbers = itertools.count()
        self._stop = threading.Event()
        draw = random.Random(seed)
        for chunk in _chunks(movies, 50):
            rows = [
                self._row(draw, user, movie)
                for movie in chunk
                for user in draw.sample(self.users, RATERS)
            ]
            self._rate(rows, api.service)

    @contextmanager
    def load(self) -> Iterator[None]:
        """Rate and withdraw on several threads, each for users of its own."""
        with ThreadPoolExecutor(LOADERS) as pool:
            running = [pool.submit(self._load, number) for number in range(LOADERS)]
            try:
                yield
            finally:
                self._stop.set()
            for one in running:
                one.result()

    def merge(self, old: str) -> None:
        into = self.new_of[old]
        path = f"/v1/movies/{old}/merge"
        answer = self._sent("POST", path, {"into": into}, self.api.service)
        assert answer.status_code == httpx.codes.ACCEPTED, answer.text

    def expected(self) -> dict[str, dict[str, Opinion]]:
        """By movie that stays and user."""
        ratings: dict[str, dict[str, Opinion]] = {new: {} for new in self.new_of.values()}
        for (user, new), taken in self.opinions.items():
            if taken:
                ratings[new][user] = max(taken.values())
        return ratings

    def assert_shown(self, log: Sequence[Entry]) -> None:
        """Compare movies, raters, histories, profiles and the old ids with what must be left."""
        expected = self.expected()
        histories = _histories(log)
        for old, new in self.new_of.items():
            self._assert_movie(new, expected[new], histories[new])
            assert self.api.get(f"/v1/movies/{old}").headers["Location"] == f"/v1/movies/{new}"
        for user in [*self.users, *(member.user_id for member in self.members)]:
            own = {new: ratings[user] for new, ratings in expected.items() if user in ratings}
            shown = {item["movie_id"]: item for item in self._items(f"/v1/users/{user}/ratings")}
            scores = {movie: item["score"] * 2 for movie, item in shown.items()}
            assert scores == {movie: opinion.half_stars for movie, opinion in own.items()}
            statistics = self.api.read(f"/v1/users/{user}")["ratings"]
            assert statistics["histogram"] == _histogram(own.values())

    def assert_moved(self, log: Sequence[Entry]) -> None:
        """Hold the log: after a merge nothing is given to the old movie, in the end none stands."""
        merged: set[str] = set()
        current: dict[tuple[str, str], bool] = {}
        completed: Counter[str] = Counter()
        for entry in log:
            match entry.event:
                case MovieMerged():
                    merged.add(str(entry.event.movie_id))
                case MovieMergeCompleted():
                    completed[str(entry.event.movie_id)] += 1
                case RatingSubmitted():
                    movie = str(entry.event.movie_id)
                    assert movie not in merged
                    current[str(entry.event.user_id), movie] = True
                case RatingWithdrawn() | RatingMoved():
                    current[str(entry.event.user_id), str(entry.event.movie_id)] = False
                case _:
                    pass
        assert merged == set(self.new_of)
        assert completed == Counter(self.new_of.keys())
        assert not any(there and movie in merged for (_, movie), there in current.items())

    def _assert_movie(
        self, movie: str, expected: dict[str, Opinion], history: dict[date, list[int]]
    ) -> None:
        shown = self.api.read(f"/v1/movies/{movie}")["ratings"]
        assert shown["count"] == len(expected)
        assert shown["histogram"] == _histogram(expected.values())
        raters = {
            item["user_id"]: Opinion(datetime.fromisoformat(item["rated_at"]), item["score"] * 2)
            for item in self._items(f"/v1/movies/{movie}/ratings")
        }
        assert raters == expected
        days = self._items(f"/v1/movies/{movie}/history")
        counts, current = {}, [0] * 10
        for day, added in sorted(history.items()):
            current = [one + more for one, more in zip(current, added, strict=True)]
            # Also a day on which opinions of the same scores came and went.
            counts[day.isoformat()] = sum(current)
        differing = {(day["date"], day["count"]) for day in days} ^ counts.items()
        assert differing == set(), (movie, sorted(differing))

    def _items(self, path: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        cursor: dict[str, Any] = {}
        while True:
            page = self.api.read(path, limit=100, **cursor)
            items += page["items"]
            if page["next_cursor"] is None:
                return items
            cursor = {"cursor": page["next_cursor"]}

    def _load(self, number: int) -> None:
        draw = random.Random(f"{self._seed}:{number}")
        users, members = self.users[number::LOADERS], self.members[number::LOADERS]
        movies = [*self.new_of.keys(), *self.new_of.values()]
        while not self._stop.is_set():
            drawn = {(draw.choice(users), draw.choice(movies)) for _ in range(ROWS)}
            self._rate([self._row(draw, *one) for one in sorted(drawn)], self.api.service)
            member = draw.choice(members)
            # A few movies, so that what is withdrawn was rated before.
            old = draw.choice([*self.new_of][:20])
            if draw.random() < 0.5:
                row = self._row(draw, member.user_id, draw.choice([old, self.new_of[old]]))
                self._rate([row], member.headers)
            else:
                self._withdraw(member, old)

    def _row(self, draw: random.Random, user: str, movie: str) -> dict[str, Any]:
        """Mostly later than the rows before it, and at a time that no other row has."""
        minutes = next(self._numbers) + draw.randrange(200)
        rated_at = FIRST + timedelta(minutes=minutes, milliseconds=next(self._numbers) % 60_000)
        return {
            "user_id": user,
            "movie_id": movie,
            "score": draw.randint(1, 10) / 2,
            "rated_at": rated_at.isoformat(),
        }

    def _rate(self, rows: list[dict[str, Any]], headers: dict[str, str]) -> None:
        """Send rows until each is taken or refused; those that have moved go where they are."""
        while rows:
            answer = self._sent("POST", "/v1/ratings/batch", {"ratings": rows}, headers)
            assert answer.status_code == httpx.codes.OK, answer.text
            again = []
            for row, result in zip(rows, answer.json()["results"], strict=True):
                self.counts[result["status"]] += 1
                if result["status"] == "moved":
                    again.append({**row, "movie_id": result["movie_id"]})
                elif result["status"] in TAKEN:
                    opinion = Opinion(
                        datetime.fromisoformat(row["rated_at"]), int(2 * row["score"])
                    )
                    movie = row["movie_id"]
                    self.opinions[row["user_id"], self.new_of.get(movie, movie)][movie] = opinion
                else:
                    assert result["status"] in ("unchanged", "superseded"), result
            rows = again

    def _withdraw(self, member: User, old: str) -> None:
        """From the old movie, or where it was merged from the one that stays, which is all."""
        taken = self.opinions[member.user_id, self.new_of[old]]
        answer = self._sent("DELETE", f"/v1/movies/{old}/rating", None, member.headers)
        if answer.status_code == httpx.codes.MOVED_PERMANENTLY:
            answer = self._sent("DELETE", answer.headers["Location"], None, member.headers)
            taken.clear()
        else:
            taken.pop(old, None)
        assert answer.status_code == httpx.codes.NO_CONTENT, answer.text
        self.counts["withdrawn"] += 1

    def _created(self, kind: str, rows: list[dict[str, Any]], subject: str) -> list[str]:
        made: list[str] = []
        for chunk in _chunks(rows, 1_000):
            answer = self._sent("POST", f"/v1/{kind}/batch", {kind: chunk}, self.api.service)
            made += [result[subject] for result in answer.json()["results"]]
        return made

    def _sent(
        self, method: str, path: str, body: object, headers: dict[str, str]
    ) -> httpx.Response:
        """Send until there is an answer: with its key it is done once."""
        named = headers | {"Idempotency-Key": str(uuid4())}
        give_up_at = time.monotonic() + ANSWERED_WITHIN_S
        while True:
            try:
                answer = self.api.command.request(method, path, json=body, headers=named)
            except httpx.TransportError:
                assert time.monotonic() < give_up_at, "the command API does not come back"
            else:
                if answer.status_code not in BUSY or time.monotonic() > give_up_at:
                    return answer
            time.sleep(0.05)


def _histories(log: Sequence[Entry]) -> dict[str, dict[date, list[int]]]:
    """What each day added to a movie's histogram, from the events alone."""
    days: dict[str, dict[date, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0] * 10))
    for entry in log:
        event = entry.event
        match event:
            case RatingSubmitted():
                added = days[str(event.movie_id)][event.rated_at.date()]
                added[event.half_stars - 1] += 1
            case RatingWithdrawn():
                added = days[str(event.movie_id)][event.withdrawn_at.date()]
            case RatingMoved():
                added = days[str(event.movie_id)][event.moved_at.date()]
            case _:
                continue
        if event.previous_half_stars is not None:
            added[event.previous_half_stars - 1] -= 1
    return days


def _histogram(opinions: Any) -> list[int]:
    counts = Counter(opinion.half_stars for opinion in opinions)
    return [counts[half_stars] for half_stars in range(1, 11)]


def _chunks(items: Sequence[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])
