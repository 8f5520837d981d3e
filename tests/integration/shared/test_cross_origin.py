"""The CORS headers that both APIs send to a browser on another origin, in every answer."""

from __future__ import annotations

import httpx
import pytest

from tests.support.system import System

FILMS = "https://films.example"
OTHER = "https://other.example"
# A refused command, a page of the documentation, an unknown path.
PATHS = ["/v1/movies/nonsense", "/openapi.json", "/nowhere"]


@pytest.fixture(scope="module", params=["command", "query"])
def url(request: pytest.FixtureRequest, module_system: System) -> str:
    start = {"command": module_system.start_command_api, "query": module_system.start_query_api}
    return start[request.param](cors_origins=f"{FILMS},https://b.example").url


@pytest.fixture(scope="module")
def open_url(module_system: System) -> str:
    return module_system.start_query_api(cors_origins="*").url


@pytest.mark.parametrize("path", PATHS)
def test_an_allowed_origin_may_read_every_answer(url: str, path: str) -> None:
    answer = httpx.get(url + path, headers={"Origin": FILMS})
    assert answer.headers["access-control-allow-origin"] == FILMS
    assert "Origin" in answer.headers["vary"]
    exposed = answer.headers["access-control-expose-headers"].split(", ")
    expected = {"X-Request-ID", "RateLimit", "RateLimit-Policy", "Retry-After"}
    assert expected | {"ETag", "Starfold-Position"} <= set(exposed)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("origin", [None, OTHER, FILMS.upper(), FILMS + "/"])
def test_no_other_may_and_no_cache_mixes_them_up(url: str, path: str, origin: str | None) -> None:
    answer = httpx.get(url + path, headers={} if origin is None else {"Origin": origin})
    assert "access-control-allow-origin" not in answer.headers
    assert "Origin" in answer.headers["vary"]


def test_a_browser_may_ask_first(url: str) -> None:
    asked = {
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization, traceparent",
    }
    allowed = httpx.options(f"{url}/v1/movies", headers={"Origin": FILMS, **asked})
    refused = httpx.options(f"{url}/v1/movies", headers={"Origin": OTHER, **asked})
    assert (allowed.status_code, refused.status_code) == (200, 400)
    assert "access-control-allow-origin" not in refused.headers
    assert allowed.headers["access-control-allow-origin"] == FILMS
    assert "GET" in allowed.headers["access-control-allow-methods"]


def test_any_origin_may_where_that_is_set(open_url: str) -> None:
    answer = httpx.get(f"{open_url}/nowhere", headers={"Origin": OTHER})
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "vary" not in answer.headers


def test_nobody_may_where_nothing_is_set(module_system: System) -> None:
    url = module_system.start_query_api().url
    answer = httpx.get(f"{url}/nowhere", headers={"Origin": OTHER})
    assert not {"access-control-allow-origin", "vary"} & set(answer.headers)
