"""A reader of one movie, who notices each error and each step back."""

from __future__ import annotations

import threading
from typing import Self

import httpx

from tests.support.api import Api

EVERY_S = 0.05


class Reader(threading.Thread):
    """Reads a movie all the time; `faults` are answers other than 200, and counts that fell."""

    def __init__(self, api: Api, movie_id: str) -> None:
        super().__init__(name="reader")
        self._url = str(api.query.base_url.join(f"/v1/movies/{movie_id}"))
        self._stop_asked = threading.Event()
        self.faults: list[str] = []
        self.counts: set[int] = set()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop_asked.set()
        self.join()

    def run(self) -> None:
        with httpx.Client(timeout=30) as client:
            while not self._stop_asked.wait(EVERY_S):
                answer = client.get(self._url)
                count = answer.json()["ratings"]["count"] if answer.is_success else -1
                if count < max(self.counts, default=0):
                    self.faults.append(answer.text)
                self.counts.add(count)
