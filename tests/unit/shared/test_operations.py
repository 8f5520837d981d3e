"""What the definition of an operation says: of one that is deprecated."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import httpx
import pytest

from shared.web.answer import Answer, AnswerKind, empty_answer
from shared.web.application import Service
from shared.web.operation import Deprecation, Parameters, Request, operation
from shared.web.problems import Refused
from tests.support.web.small_service import small_service

SINCE = datetime(2026, 12, 1, tzinfo=UTC)
SUNSET = datetime(2027, 6, 30, 23, 59, 59, tzinfo=UTC)
ANSWERS = {204: AnswerKind("Done")}

Plain = Request[Parameters, None]


class Room:
    @operation(
        "GET", "/old", tag="t", answers=ANSWERS, deprecated=Deprecation(SINCE, sunset=SUNSET)
    )
    async def old(self, _request: Plain) -> Answer:
        """It is going."""
        return empty_answer()

    @operation("POST", "/old", tag="t", answers=ANSWERS, deprecated=Deprecation(SINCE))
    async def refused(self, _request: Plain) -> Answer:
        """It is going too."""
        raise Refused("not-found", "no")

    @operation("GET", "/new", tag="t", answers=ANSWERS)
    async def new(self, _request: Plain) -> Answer:
        """It stays."""
        return empty_answer()


@pytest.fixture(scope="module")
def service() -> Service:
    return small_service(Room)


def ask(service: Service, method: str, path: str) -> httpx.Response:
    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(service)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path)

    return asyncio.run(asked())


def test_every_answer_of_a_deprecated_operation_says_so(service: Service) -> None:
    old, refused = ask(service, "GET", "/old"), ask(service, "POST", "/old")
    assert old.headers["deprecation"] == refused.headers["deprecation"] == "@1796083200"
    assert old.headers["sunset"] == "Wed, 30 Jun 2027 23:59:59 GMT"
    assert refused.status_code == 404
    assert "sunset" not in refused.headers


def test_no_other_operation_does(service: Service) -> None:
    assert not {"deprecation", "sunset"} & set(ask(service, "GET", "/new").headers)


def test_the_document_marks_it(service: Service) -> None:
    paths = service.openapi()["paths"]
    assert paths["/old"]["get"]["deprecated"] is True
    assert "deprecated" not in paths["/new"]["get"]


@pytest.mark.parametrize(("method", "path"), [("GET", "/nowhere"), ("PATCH", "/old")])
def test_what_no_operation_answers_is_charged_to_its_address(
    service: Service, method: str, path: str
) -> None:
    assert ask(service, method, path).headers["ratelimit"] == "none"
