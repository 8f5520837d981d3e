"""An unexpected error is a problem with all that an answer has, and the connection stays."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from shared.web.application import RequestScope, Service
from shared.web.problems import install_problem_handlers
from tests.support.api import Api
from tests.support.system import RunningApp


async def fails(_scope: Scope, _receive: Receive, _send: Send) -> bool:
    raise RuntimeError("of a fast path")


def failing(app: FastAPI) -> None:
    @app.get("/fails")
    async def _fails() -> None:
        raise RuntimeError("of a route")


@pytest.fixture(params=["route", "fast path"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    app = Service()
    install_problem_handlers(app)
    app.add_middleware(RequestScope, access_log=False)
    failing(app)
    if request.param == "fast path":
        app.ahead = fails
    running = RunningApp(app)
    yield running.url
    running.stop()


def test_an_unexpected_error_is_a_problem_with_the_requests_id(url: str) -> None:
    request_id = str(uuid4())
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    for _ in range(2):  # The second on the same connection.
        connection.request("GET", "/fails", headers={"X-Request-ID": request_id})
        answer = connection.getresponse()
        problem = json.loads(answer.read())
        assert (answer.status, problem["type"]) == (500, "urn:starfold:problem:internal")
        assert answer.headers.get_all("x-request-id") == [request_id]
        assert answer.headers.get_all("x-content-type-options") == ["nosniff"]
        assert answer.headers["content-type"] == "application/problem+json"
        assert "of a" not in problem["detail"]
    connection.close()


def test_both_apis_answer_so_whatever_fails(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: object, **_named: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr("command_api.http.operations.json_web_key", broken)
    monkeypatch.setattr("query_api.http.operations.generate_latest", broken)
    for client, path in ((api.command, "/.well-known/jwks.json"), (api.query, "/metrics")):
        answer = client.get(path)
        assert answer.status_code == 500
        assert answer.headers["x-request-id"]
        assert answer.headers["x-frame-options"] == "DENY"
