"""Ratings and reads while a cluster's nodes fail and its slots move, and what must be left."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import httpx

from tests.support.api import Api

MOVIES, USERS, READERS = 24, 40, 2
ROWS = 50
PAUSE_S = 0.05


class ClusterLoad:
    """One writer and some readers; `statuses`, `faults` and `longest_gap_s` are of the readers."""

    def __init__(self, api: Api, *, seed: int) -> None:
        self.api = api
        self.movies = [api.movie(f"Film {number}") for number in range(MOVIES)]
        rows = [{"external_id": str(uuid4()), "display_name": "Ann"} for _ in range(USERS)]
        answer = api.post("/v1/users/batch", {"users": rows}, api.service)
        self.users = [row["user_id"] for row in answer.json()["results"]]
        # Readers that state no position may be early.
        for path in self._entities():
            api.read(path)
        self.scores: dict[tuple[str, str], float] = {}
        self.statuses: Counter[int] = Counter()
        self.faults: list[str] = []
        self.longest_gap_s = 0.0
        self._draw = random.Random(seed)
        self._stop = threading.Event()
        self._lock = threading.Lock()

    def _entities(self) -> list[str]:
        movies = [f"/v1/movies/{movie}" for movie in self.movies]
        return movies + [f"/v1/users/{user}" for user in self.users]

    @contextmanager
    def running(self) -> Iterator[None]:
        with ThreadPoolExecutor(READERS + 1) as pool:
            tasks = [pool.submit(self._write)]
            tasks += [pool.submit(self._read, seed) for seed in range(READERS)]
            try:
                yield
            finally:
                self._stop.set()
            for task in tasks:
                task.result()

    def assert_exact(self) -> None:
        """Compare each movie and profile with the ratings that were accepted."""
        for movie in self.movies:
            self._assert_statistics(f"/v1/movies/{movie}", 1, movie)
        for user in self.users:
            self._assert_statistics(f"/v1/users/{user}", 0, user)

    def _assert_statistics(self, path: str, place: int, subject: str) -> None:
        histogram = [0] * 10
        for who, score in self.scores.items():
            if who[place] == subject:
                histogram[round(score * 2) - 1] += 1
        assert self.api.read(path)["ratings"]["histogram"] == histogram, path

    def _write(self) -> None:
        while not self._stop.is_set():
            pairs = {
                (self._draw.choice(self.users), self._draw.choice(self.movies)) for _ in range(ROWS)
            }
            rows = [
                {"user_id": user, "movie_id": movie, "score": self._draw.randint(1, 10) / 2}
                for user, movie in sorted(pairs)
            ]
            answer = self.api.post("/v1/ratings/batch", {"ratings": rows}, self.api.service)
            assert answer.status_code == httpx.codes.OK, answer.text
            for row, result in zip(rows, answer.json()["results"], strict=True):
                assert result["status"] in ("created", "changed", "unchanged"), result
                self.scores[str(row["user_id"]), str(row["movie_id"])] = float(str(row["score"]))
            time.sleep(PAUSE_S)

    def _read(self, seed: int) -> None:
        draw = random.Random(seed)
        seen: dict[str, int] = {}
        answered_at: dict[str, float] = {}
        with httpx.Client(base_url=self.api.query.base_url, timeout=10) as client:
            while not self._stop.is_set():
                path = self._path(draw)
                answer = client.get(path)
                now = time.monotonic()
                with self._lock:
                    self.statuses[answer.status_code] += 1
                    self.faults += _faults(answer, path, seen)
                    if answer.status_code == httpx.codes.OK:
                        gap_s = now - answered_at.setdefault(path, now)
                        self.longest_gap_s = max(self.longest_gap_s, gap_s)
                if answer.status_code == httpx.codes.OK:
                    # A gap counts from the first refusal on.
                    answered_at.pop(path)
                else:
                    answered_at.setdefault(path, now)

    def _path(self, draw: random.Random) -> str:
        movie, user = draw.choice(self.movies), draw.choice(self.users)
        return draw.choice(
            [
                f"/v1/movies/{movie}",
                f"/v1/movies/{movie}/ratings?limit=5",
                f"/v1/users/{user}",
                f"/v1/users/{user}/ratings?limit=5",
            ]
        )


def _faults(answer: httpx.Response, path: str, seen: dict[str, int]) -> list[str]:
    """Return what is wrong with an answer, and note its position."""
    if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        return [] if "Retry-After" in answer.headers else [f"{path}: 503 without Retry-After"]
    if answer.status_code != httpx.codes.OK:
        return [f"{path}: {answer.status_code} {answer.text}"]
    position = int(answer.headers["Starfold-Position"])
    body: dict[str, Any] = answer.json()
    found = []
    if position < seen.get(path, 0):
        found.append(f"{path}: position {position} after {seen[path]}")
    seen[path] = position
    statistics = body.get("ratings")
    if isinstance(statistics, dict) and statistics["count"] != sum(statistics["histogram"]):
        found.append(f"{path}: {statistics}")
    return found
