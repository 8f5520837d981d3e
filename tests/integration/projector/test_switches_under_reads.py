"""Generations are replayed, switched to and back while clients read and write at full speed.

What a document shows is made by one event, whose position it states: two answers of one document
and one position that differ are mixed from two states.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, Self
from uuid import UUID

import httpx
import pytest

from projector.audit.auditor import Audit
from projector.generations.switch import switch_if_ready
from projector.wiring import Wiring
from shared.read_model.keys import partition_of
from tests.support.api import POSITION
from tests.support.read_models import active, wait_until_applied
from tests.support.scenarios.mixed_history import History
from tests.support.scenarios.projector_steps import built
from tests.support.system import System, eventually

READERS = 4
ROUNDS = 3
SWITCHED = ("movies", "profiles", "changes")


class Reader(threading.Thread):
    """Asks on one connection without a pause; `wrong` is what it must not have been answered."""

    def __init__(self, url: str, paths: Sequence[tuple[str, UUID]], bodies: dict[Any, str]) -> None:
        super().__init__(name="reader")
        self._client = httpx.Client(base_url=url, timeout=30)
        self._paths = paths
        self._bodies = bodies
        self._reached: dict[tuple[str, int], int] = {}
        self._stop_asked = threading.Event()
        self.answers = 0
        self.wrong: list[str] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop_asked.set()
        self.join()
        self._client.close()

    def run(self) -> None:
        while not self._stop_asked.is_set():
            for path, entity in self._paths:
                self._read(path, entity)

    def _read(self, path: str, entity: UUID) -> None:
        answer = self._client.get(f"{path}/{entity}")
        self.answers += 1
        if answer.status_code != httpx.codes.OK:
            # A user who is private at the time; there is none of whom nothing is known.
            if path != "/v1/users" or answer.status_code != httpx.codes.NOT_FOUND:
                self.wrong.append(f"{path}/{entity}: {answer.status_code} {answer.text}")
            return
        position = int(answer.headers[POSITION])
        partition = (path, partition_of(entity))
        if position < self._reached.get(partition, 0):
            self.wrong.append(f"{path}/{entity}: back to {position}")
        self._reached[partition] = position
        ratings = answer.json()["ratings"]
        of = ratings["position"] if ratings else 0
        # A change of a profile is none of its ratings: it is shown by the details.
        shown = answer.text if path == "/v1/movies" else str(ratings)
        if self._bodies.setdefault((path, entity, of), shown) != shown:
            self.wrong.append(f"{path}/{entity} at {position}: {shown}")
        if ratings and ratings["count"] != sum(ratings["histogram"]):
            self.wrong.append(f"{path}/{entity} at {position}: {ratings}")


@pytest.fixture
def history(system: System) -> History:
    history = History(system)
    history.go_on()
    system.start_projector()
    return history


@pytest.fixture
def readers(system: System, history: History) -> list[Reader]:
    """On two query APIs; all know what each of them was shown."""
    urls = [system.start_query_api().url for _ in range(2)]
    for url in urls:
        eventually(partial(_is_ready, url))
    paths: list[tuple[str, UUID]] = [("/v1/movies", movie) for movie in history.movies]
    paths += [("/v1/users", user) for user in history.users]
    bodies: dict[Any, str] = {}
    return [Reader(urls[n % 2], paths, bodies) for n in range(READERS)]


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allow slow reads.

    All threads share one process and its lock: on a busy machine a read may take more than a
    second, which is a 503 and not a fault of a switch.
    """
    monkeypatch.setattr("query_api.redis_reads.coalescing.TIMEOUT_S", 20.0)


def test_no_reader_sees_a_switch(
    system: System, history: History, readers: Sequence[Reader]
) -> None:
    wiring = system.projector_wiring()
    with ExitStack() as running:
        for reader in readers:
            running.enter_context(reader)
        for projection in SWITCHED * ROUNDS:
            before = active(wiring, projection)
            new = built(wiring, projection)
            _switch(wiring, history, projection, new.number)
            _switch(wiring, history, projection, before.number)
    assert [wrong for reader in readers for wrong in reader.wrong] == []
    assert min(reader.answers for reader in readers) > len(SWITCHED) * ROUNDS
    wait_until_applied(wiring)
    for projection in SWITCHED:
        assert Audit(wiring.reader, wiring.store).verify(active(wiring, projection)).passed


def _switch(wiring: Wiring, history: History, projection: str, number: int) -> None:
    """Switch while the log keeps growing."""

    def switched() -> bool:
        history.go_on(20)
        generation = wiring.generations.get(projection, number)
        assert generation is not None
        return switch_if_ready(wiring.generations, wiring.store, generation)

    eventually(switched)


def _is_ready(url: str) -> bool:
    return httpx.get(f"{url}/ready").status_code == httpx.codes.OK
