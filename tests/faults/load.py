"""A load of ratings that continues through faults, and remembers the answers."""

from __future__ import annotations

import random
import threading
from typing import Any, Self
from uuid import uuid4

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
            self._created("users", external_id=f"{name}:{number}", display_name="Ann")
            for number in range(USERS)
        ]
        self.movies = [
            self._created("movies", title=f"Film {number}", year=1970) for number in range(MOVIES)
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
            {"user_id": user, "movie_id": movie, "score": score}
            for (user, movie), score in zip(pairs, scores, strict=True)
        ]
        results = self._client.rows("/v1/ratings/batch", "ratings", rows)
        assert {result["status"] for result in results} <= {"created", "changed", "unchanged"}
        self.acknowledged.update(zip(pairs, scores, strict=True))
        self.rows += len(rows)

    def _created(self, kind: str, **fields: Any) -> str:
        made: dict[str, str] = self._client.command("POST", f"/v1/{kind}", fields).json()
        return made[f"{kind.removesuffix('s')}_id"]
