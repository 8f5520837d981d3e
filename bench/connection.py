"""A blocking keep-alive connection, for measurements of single requests."""

from __future__ import annotations

from http.client import HTTPConnection
from types import TracebackType
from typing import NamedTuple, Self

from bench.load import HOST, SUCCESS, UnexpectedAnswersError

TIMEOUT_S = 60.0
POSITION = "Starfold-Position"
AT_LEAST = "Starfold-At-Least"


class Answer(NamedTuple):
    """An answer; `position` is the value of its position header, 0 without one."""

    body: bytes
    position: int


class Connection:
    """A connection that raises `UnexpectedAnswersError` for any status but 2xx and 304."""

    def __init__(self, port: int, credential: str | None = None) -> None:
        self._http = HTTPConnection(HOST, port, timeout=TIMEOUT_S)
        self._headers = {"content-type": "application/json"}
        if credential is not None:
            self._headers["authorization"] = f"Bearer {credential}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    def send(self, method: str, path: str, body: bytes = b"", *, at_least: int = 0) -> Answer:
        headers = {**self._headers, AT_LEAST: str(at_least)} if at_least else self._headers
        self._http.request(method, path, body=body or None, headers=headers)
        response = self._http.getresponse()
        content = response.read()
        if response.status not in SUCCESS:
            raise UnexpectedAnswersError(f"{method} {path}: {response.status} {content[:300]!r}")
        return Answer(content, int(response.headers.get(POSITION, 0)))
