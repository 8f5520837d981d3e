"""An unexpected error is a problem with all that an answer has, and the connection stays."""

from __future__ import annotations

import http.client
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from fastapi import FastAPI

from shared.web.answer import Answer
from shared.web.application import Service
from shared.web.operation import Parameters, Request, operation
from tests.support.api import Api
from tests.support.system import RunningApp
from tests.support.web.small_service import small_service

Plain = Request[Parameters, None]


class Failing:
    @operation("GET", "/fails", tag="t", answers={})
    async def fails(self, _request: Plain) -> Answer:
        raise RuntimeError("of an operation")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    assert isinstance(app, Service)

    @app.get("/fails-too")
    async def _fails() -> None:
        raise RuntimeError("of the documentation")

    yield


@pytest.fixture
def url() -> Iterator[str]:
    running = RunningApp(small_service(Failing, lifespan))
    yield running.url
    running.stop()


@pytest.mark.parametrize("path", ["/fails", "/fails-too"])
def test_an_unexpected_error_is_a_problem_with_the_requests_id(url: str, path: str) -> None:
    request_id = str(uuid4())
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    for _ in range(2):  # The second on the same connection.
        connection.request("GET", path, headers={"X-Request-ID": request_id})
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
    monkeypatch.setattr("query_api.http.operations.exposed", broken)
    for client, path in ((api.command, "/.well-known/jwks.json"), (api.query, "/metrics")):
        answer = client.get(path)
        assert answer.status_code == 500
        assert answer.headers["x-request-id"]
        assert answer.headers["x-frame-options"] == "DENY"
