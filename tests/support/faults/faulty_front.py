"""A server in front of an API that does to requests what networks and proxies do."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType, TracebackType
from typing import NamedTuple, Self

import httpx

_HOP_BY_HOP = {"connection", "content-length", "transfer-encoding"}


class Refuse(NamedTuple):
    """Answer by itself; the request does not arrive."""

    status: int
    headers: Mapping[str, str] = MappingProxyType({})


class Lose(NamedTuple):
    """Close the connection instead of passing the answer on."""


class Cut(NamedTuple):
    """Close the connection after some bytes of the answer's body."""

    bytes_max: int


class Seen(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]


class FaultyFront(ThreadingHTTPServer):
    """Passes requests on; `faults` happen to the next ones, in order; `seen` are all of them."""

    daemon_threads = True

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.client = httpx.Client(base_url=target, timeout=30)
        self.faults: deque[Refuse | Lose | Cut] = deque()
        self.seen: list[Seen] = []
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), name="front")
        self._thread.start()

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()
        self.client.close()

    def __enter__(self) -> Self:
        return self

    def count(self, path: str) -> int:
        return sum(one.path == path for one in self.seen)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultyFront

    def _serve(self) -> None:
        front = self.server
        headers = {name.lower(): value for name, value in self.headers.items()}
        content = self.rfile.read(int(headers.get("content-length", 0)))
        front.seen.append(Seen(self.command, self.path, headers))
        fault = front.faults.popleft() if front.faults else None
        self.close_connection = True
        if isinstance(fault, Refuse):
            self._start(fault.status, {**fault.headers, "Content-Length": "0"})
            return
        passed = {name: value for name, value in headers.items() if name not in _HOP_BY_HOP}
        with front.client.stream(
            self.command, self.path, headers=passed, content=content
        ) as response:
            if isinstance(fault, Lose):
                response.read()
                return
            self._start(response.status_code, dict(response.headers))
            left = fault.bytes_max if isinstance(fault, Cut) else None
            for chunk in response.iter_raw():
                self.wfile.write(chunk if left is None else chunk[:left])
                self.wfile.flush()
                left = None if left is None else left - len(chunk)
                if left is not None and left <= 0:
                    return

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - names of the library.

    def _start(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name.
        """Write nothing to the standard error."""
