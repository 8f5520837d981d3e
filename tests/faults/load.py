"""A load of ratings that continues through faults, and remembers the answers."""

from __future__ import annotations

import random
import threading
from typing import Self
from uuid import uuid4

from starfold_client import NewMovie, NewRating
from tests.support.local_starfold import Local

USERS = 40
MOVIES = 25
ROWS = 40


class Load(threading.Thread):
    """Random opinions in batches until it is stopped; `acknowledged` holds the last one of each.

    `failed` is why it ended early, if it did.
    """

    def __init__(self, local: Local, seed: int) -> None:
        super().__init__(name="load")
        self._random = random.Random(seed)
        self._client = local.client()
        self._stop_asked = threading.Event()
        self.acknowledged: dict[tuple[str, str], float] = {}
        self.rows = 0
        self.failed: Exception | None = None
        name = uuid4().hex
        self.users = [
            str(self._client.create_external_user(f"{name}:{number}", "Ann").user_id)
            for number in range(USERS)
        ]
        self.movies = [
            str(self._client.create_movie(NewMovie(title=f"Film {number}", year=1970)).movie_id)
            for number in range(MOVIES)
        ]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop_asked.set()
        self.join()
        self._client.__exit__(None, None, None)

    def run(self) -> None:
        try:
            while not self._stop_asked.is_set():
                self._rate()
        except Exception as error:  # noqa: BLE001  # The test raises it.
            self.failed = error

    def _rate(self) -> None:
        pairs = self._random.sample([(u, m) for u in self.users for m in self.movies], ROWS)
        scores = [self._random.randint(1, 10) / 2 for _ in pairs]
        rows = [
            NewRating(user_id=user, movie_id=movie, score=score)
            for (user, movie), score in zip(pairs, scores, strict=True)
        ]
        statuses = {result.status for _, result in self._client.submit_ratings(rows)}
        assert statuses <= {"created", "changed", "unchanged"}
        self.acknowledged.update(zip(pairs, scores, strict=True))
        self.rows += len(rows)
