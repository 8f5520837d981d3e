"""A client of the stream of changes, over a real socket."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import httpx
import msgspec

LAST_EVENT_ID = "Last-Event-ID"


class Event(NamedTuple):
    """What is between two empty lines. One without data only moves the id on."""

    id: int | None
    kind: str
    data: Any
    comment: str | None


class LiveUpdates:
    """An open stream: its answer's head, and its events as they come."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._blocks = _blocks(response.iter_lines())

    def __iter__(self) -> Iterator[Event]:
        return self._blocks

    def next(self) -> Event:
        """The next one with data."""
        return next(event for event in self._blocks if event.data is not None)

    def take(self, count: int) -> list[Event]:
        return [self.next() for _ in range(count)]


@contextmanager
def live_updates(
    url: str, *, last_event_id: int | str | None = None, **parameters: Any
) -> Iterator[LiveUpdates]:
    headers = {} if last_event_id is None else {LAST_EVENT_ID: str(last_event_id)}
    with (
        httpx.Client(base_url=url, timeout=20) as client,
        client.stream("GET", "/v1/stream", params=parameters, headers=headers) as response,
    ):
        assert response.status_code == 200, response.read()
        yield LiveUpdates(response)


def _blocks(lines: Iterator[str]) -> Iterator[Event]:
    event = Event(None, "message", None, None)
    for line in lines:
        name, _, value = line.partition(": ")
        match name:
            case "id":
                event = event._replace(id=int(value))
            case "event":
                event = event._replace(kind=value)
            case "data":
                event = event._replace(data=msgspec.json.decode(value))
            case "" if line:
                event = event._replace(comment=value)
            case "":
                yield event
                event = Event(None, "message", None, None)
            case _:
                assert name == "retry", line
