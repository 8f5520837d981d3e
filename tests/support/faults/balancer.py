"""A load balancer as a deployment has it: requests go in turn to the processes that are ready."""

from __future__ import annotations

import itertools
import threading
from types import TracebackType
from typing import Any, Self

import httpx

from tests.support.system import eventually

ASKED_EVERY_S = 0.1
ANSWERED_WITHIN_S = 30.0


class Balancer:
    """Asks the processes of one service for `/ready`, again and again."""

    def __init__(self) -> None:
        self._known: list[str] = []
        self.ready: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask, name="balancer", daemon=True)
        self._thread.start()

    def add(self, url: str) -> None:
        self._known.append(url)
        eventually(lambda: url in self.ready, within_s=60.0)

    def remove(self, url: str) -> None:
        self._known.remove(url)
        eventually(lambda: url not in self.ready)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _ask(self) -> None:
        with httpx.Client(timeout=5) as client:
            while not self._stop.wait(ASKED_EVERY_S):
                self.ready = [url for url in list(self._known) if _is_ready(client, url)]


class Balanced:
    """One client: a kept connection to each process, the next ready process for each request.

    It sends nothing twice: a request that fails is the client's error.
    """

    def __init__(self, balancer: Balancer) -> None:
        self._balancer = balancer
        self._turns = itertools.count()
        self._connections: dict[str, httpx.Client] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for connection in self._connections.values():
            connection.close()

    def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        ready = self._balancer.ready
        url = ready[next(self._turns) % len(ready)]
        if url not in self._connections:
            self._connections[url] = httpx.Client(base_url=url, timeout=ANSWERED_WITHIN_S)
        return self._connections[url].request(method, path, **options)


def _is_ready(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(f"{url}/ready").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
