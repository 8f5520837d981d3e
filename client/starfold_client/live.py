"""Live updates: server-sent events, and where to resume."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import httpx
import msgspec

from starfold_client import errors
from starfold_client.answers import LiveReset, LiveUpdate
from starfold_client.caller import Caller
from starfold_client.errors import ConnectionFailed, NotAuthenticated, problem_of
from starfold_client.exchange import USER_AGENT, Patience, credential, renewal, with_caller
from starfold_client.rows import Id
from starfold_client.transport.steps import Api, Flow, Send

PATH = "/v1/stream"
API: Api = "query"
# The server sends a comment after 15 seconds without an event.
SILENCE_S = 45.0
RECONNECT_S = 2.0

_update = msgspec.json.Decoder(LiveUpdate).decode


class LiveUpdates:
    """The state of a subscription over its connections."""

    def __init__(
        self, caller: Caller, movies: Iterable[Id] | None, after: int | None, patience_s: float
    ) -> None:
        self._caller = caller
        self._query = {} if movies is None else {"movies": ",".join(map(str, movies))}
        self._position = after
        self._patience = Patience(patience_s)
        self._token: str | None = None
        self._refused_token: str | None = None
        self._reconnect_s = RECONNECT_S
        self._event, self._data, self._id = "", "", ""

    def request(self) -> Send:
        """Return the request of the next connection, which continues after the last event."""
        self._event, self._data, self._id = "", "", ""
        headers = {"User-Agent": USER_AGENT, "Accept": "text/event-stream"}
        if self._position is not None:
            headers["Last-Event-ID"] = str(self._position)
        self._token = credential(self._caller, API)
        request = Send(API, "GET", PATH, self._query, headers, None)
        return with_caller(request, self._caller, self._token)

    def opened(self) -> None:
        """A connection is open: the next failure is a new one."""
        self._patience.renew()
        self._refused_token = None

    def closed(self, response: httpx.Response) -> Flow[None]:
        """Prepare for another connection after this one has ended, or raise why there is none."""
        if response.is_success:
            return self.broken()
        return self._refused(response)

    def _refused(self, response: httpx.Response) -> Flow[None]:
        problem = problem_of(response)
        if (
            isinstance(problem, NotAuthenticated)
            and self._caller.session
            and self._token != self._refused_token
        ):
            self._refused_token = self._token
            yield from renewal(self._caller)
        elif isinstance(problem, errors.TryLater):
            yield self._patience.pause(problem)
        else:
            raise problem

    def broken(self, cause: Exception | None = None) -> Flow[None]:
        """Wait before the next connection, or raise that the patience has ended."""
        failed = ConnectionFailed(f"GET {PATH}: {cause!r}")
        yield self._patience.pause(failed, cause=cause, least_s=self._reconnect_s)

    def line(self, line: str) -> Iterator[LiveUpdate | LiveReset]:
        """Take a line of the connection; yield the event that it ends, if it ends one."""
        if line:
            self._field(*_parsed(line))
            return
        if self._id.isdecimal():
            self._position = int(self._id)
        event, data, self._event, self._data = self._event, self._data, "", ""
        if event == "reset":
            yield LiveReset(self._position or 0)
        elif data:
            update = _update(data)
            update.position = self._position or 0
            yield update

    def _field(self, name: str, value: str) -> None:
        if name == "data":
            self._data += value
        elif name == "event":
            self._event = value
        elif name == "id":
            self._id = value
        elif name == "retry" and value.isdecimal():
            self._reconnect_s = int(value) / 1_000


def _parsed(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name, value.removeprefix(" ")
