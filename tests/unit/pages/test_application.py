"""The kit of the pages without the APIs: header fields, origins, bodies, static files, errors."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

import web
from pages.application import Site, is_own_path
from pages.rendering import Renderer, StaticFiles
from pages.sessions import Visitor
from pages.settings import PagesSettings
from starfold_client.errors import ConnectionFailed, problem_of

OWN = "http://pages.test"
FOLDER = Path(web.__file__).parent
BODY_BYTES_MAX = 10_000
NONE: Mapping[str, str] = MappingProxyType({})


class Room:
    """A page that fails as asked, and one that takes a form."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def routes(self) -> Sequence[Route]:
        page = self._site.page
        return [page("/fails/{how}", self.fails), page("/form", self.form, methods=["POST"])]

    async def fails(self, request: Request, visitor: Visitor) -> Response:
        match request.path_params["how"]:
            case "away":
                raise ConnectionFailed("nobody answers")
            case "fault":
                raise ZeroDivisionError
            case how:
                answer = {"type": "urn:starfold:problem:x", "detail": "<script>"}
                kind = {"content-type": "application/problem+json"}
                raise problem_of(httpx.Response(int(how), json=answer, headers=kind))

    async def form(self, request: Request, visitor: Visitor) -> Response:
        return PlainTextResponse(str((await request.form()).get("said")))


def call(method: str, target: str, headers: Mapping[str, str] = NONE, **sent: Any) -> Any:
    """Send one request to an application of pages whose APIs are away."""
    site = Site(
        PagesSettings(command_url="http://127.0.0.1:9", query_url="http://127.0.0.1:9"),
        Renderer(FOLDER, site_name="Test", layout="site.html", signup="/signup"),
        name="test",
        origin="",
    )
    app = site.application([Room(site)], body_bytes_max=BODY_BYTES_MAX)

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=OWN) as client:
            answer = await client.request(method, target, headers=dict(headers), **sent)
        await site.client.close()
        return answer

    return asyncio.run(send())


@pytest.mark.parametrize("path", ["/nowhere", "/fails/fault", "/health"])
def test_every_answer_forbids_what_no_page_needs(path: str) -> None:
    fields = call("GET", path).headers
    policy = fields["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert fields["x-content-type-options"] == "nosniff"
    assert fields["referrer-policy"] == "same-origin"
    assert fields["cache-control"] == "no-store"
    assert fields["x-request-id"]


@pytest.mark.parametrize("origin", [None, "null", "http://evil.test", f"{OWN}.evil.test"])
def test_a_form_that_another_site_sends_is_refused(origin: str | None) -> None:
    sent = {} if origin is None else {"Origin": origin}
    assert call("POST", "/form", sent, data={"said": "x"}).status_code == 403
    assert call("POST", "/form", {"Origin": OWN}, data={"said": "x"}).text == "x"


def test_a_body_is_bounded_also_if_its_length_is_not_stated() -> None:
    async def parts() -> Any:
        for _ in range(3):
            yield b"said=" + b"x" * (BODY_BYTES_MAX // 2)

    fields = {"Origin": OWN, "Content-Type": "application/x-www-form-urlencoded"}
    assert (
        call("POST", "/form", fields, content=b"said=" + b"x" * BODY_BYTES_MAX).status_code == 413
    )
    assert call("POST", "/form", fields, content=parts()).status_code == 413


@pytest.mark.parametrize("how", ["403", "404", "409", "410", "412", "422", "429", "away", "fault"])
def test_an_error_has_a_page_that_says_what_happened(how: str) -> None:
    status = {"away": 503, "fault": 500}.get(how) or int(how)
    answer = call("GET", f"/fails/{how}")
    assert answer.status_code == status
    assert answer.text.count("<h1>") == 1
    assert f"Request {answer.headers['x-request-id']}" in answer.text
    assert "<script>" not in answer.text
    assert ("retry-after" in answer.headers) == (status == 503)


def test_an_unknown_path_and_a_wrong_method_have_pages_too() -> None:
    assert "There is no such page" in call("GET", "/nowhere").text
    assert call("GET", "/form").status_code == 405
    assert "<h1>" in call("GET", "/form").text


def test_static_files_are_kept_for_ever_at_the_address_of_their_content() -> None:
    path = StaticFiles(FOLDER / "static").url("web.css")
    answer = call("GET", path)
    assert answer.headers["content-type"].startswith("text/css")
    assert "immutable" in answer.headers["cache-control"]
    again = call("GET", path, {"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304
    assert call("GET", "/static/web.css").headers["cache-control"] == "no-cache"
    assert call("GET", "/static/..%2fapp.py").status_code == 404


def test_readiness_names_what_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pages.application.API_PATIENCE_S", 0.1)
    answer = call("GET", "/ready")
    assert answer.status_code == 503
    assert "/ready" in answer.text


@pytest.mark.parametrize(
    ("path", "is_own"),
    [
        ("/movies/1?q=a", True),
        ("", False),
        ("//evil.test", False),
        ("/\\evil.test", False),
        ("https://evil.test", False),
        ("javascript:alert(1)", False),
        ("/a\r\nb", False),
    ],
)
def test_a_log_in_leads_to_a_path_of_this_site_only(path: str, is_own: bool) -> None:
    assert is_own_path(path) == is_own
