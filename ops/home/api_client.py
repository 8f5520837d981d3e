"""Client of both APIs for imports, with bounded concurrency and retries."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import httpx
import structlog

from ops.errors import OperatorError
from ops.home.folder import Addresses

TIMEOUT_S = 30.0
# Long enough for a server to restart.
PATIENCE_S = 60.0
PAUSE_FIRST_S = 0.1
PAUSE_MAX_S = 2.0
_TRY_AGAIN = {httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE}

Row = Mapping[str, Any]


log = structlog.get_logger()


class ApiClient:
    """Calls the APIs with a credential; thread-safe."""

    def __init__(self, addresses: Addresses, credential: str | None) -> None:
        self._addresses = addresses
        self._credential = {} if credential is None else {"Authorization": f"Bearer {credential}"}
        self._http = http_client(addresses.command_url, addresses.query_url)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    def command(self, method: str, path: str, body: object) -> httpx.Response:
        """Send a command that is safe to repeat; raise `OperatorError` if it is refused."""
        response = self.send(method, path, body)
        if response.is_error:
            raise OperatorError(f"{method} {path} failed with {problem_text(response)}")
        return response

    def send(self, method: str, path: str, body: object) -> httpx.Response:
        """Send a command that is safe to repeat; return the answer, even if it is a refusal."""
        url = self._addresses.command_url + path
        return self._patiently(method, url, json=body, headers=self._credential)

    def rows(self, path: str, field: str, rows: Sequence[Row]) -> list[dict[str, Any]]:
        """Send rows in one bulk request; return a result for each row, in order."""
        response = self.command("POST", path, {field: list(rows)})
        results: list[dict[str, Any]] = response.json()["results"]
        return results

    def head(self) -> int:
        """Return the position of the last event in the log."""
        response = self._patiently("GET", f"{self._addresses.command_url}/ready")
        if response.is_error:
            raise OperatorError(f"the command API is not ready: {problem_text(response)}")
        head: int = response.json()["position"]
        return head

    def wait_query_ready(self, within_s: float) -> None:
        """Wait until the query API is ready; raise `OperatorError` after the given time."""
        url = f"{self._addresses.query_url}/ready"
        give_up_at = time.monotonic() + within_s
        while (ready := self._patiently("GET", url)).is_error:
            if time.monotonic() > give_up_at:
                raise OperatorError(f"the query API is not ready: {problem_text(ready)}")

    def query(self, path: str, *, at_least: int = 0, **parameters: Any) -> Any:
        """Return the result of a read no older than the given position."""
        headers = {"Starfold-At-Least": str(at_least)}
        url = self._addresses.query_url + path
        response = self._patiently("GET", url, params=parameters, headers=headers)
        if response.is_error:
            raise OperatorError(f"GET {path} failed with {problem_text(response)}")
        return response.json()

    def _patiently(self, method: str, url: str, **options: Any) -> httpx.Response:
        give_up_at = time.monotonic() + PATIENCE_S
        pause_s = PAUSE_FIRST_S
        while True:
            late = time.monotonic() > give_up_at
            try:
                response = self._http.request(method, url, **options)
            except httpx.TransportError as error:
                if late:
                    raise OperatorError(f"{url} does not answer: is Starfold running?") from error
            else:
                if response.status_code not in _TRY_AGAIN or late:
                    return response
            if pause_s == PAUSE_FIRST_S:
                log.info("waiting", to=f"{method} {url}", at_most_s=PATIENCE_S)
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, PAUSE_MAX_S)


def http_client(*urls: str) -> httpx.Client:
    """Return a client for these addresses that ignores proxy variables.

    It loads the machine's certificates only for https: that takes as long as many a command.
    """
    encrypted = any(url.lower().startswith("https:") for url in urls)
    return httpx.Client(timeout=TIMEOUT_S, trust_env=False, verify=encrypted)


def problem_text(response: httpx.Response) -> str:
    """Return the status and detail of a problem response."""
    try:
        detail = response.json().get("detail", "")
    except ValueError:
        detail = response.text[:200]
    return f"{response.status_code}: {detail}"
