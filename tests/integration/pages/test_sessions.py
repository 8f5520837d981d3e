"""Sessions of browsers on real APIs: cookies, one refresh for several requests, log-out."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from uuid import uuid4

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from tests.support.api import PASSWORD, Api, User
from tests.support.system import RunningApp, System
from web.app import create_app
from web.settings import WebSettings


def served(api: Api, *, web_url: str = "") -> RunningApp:
    settings = WebSettings(
        command_url=str(api.command.base_url),
        query_url=str(api.query.base_url),
        web_url=web_url,
    )
    return RunningApp(create_app(settings))


@pytest.fixture(scope="module")
def site(module_system: System, api: Api) -> Iterator[str]:
    running = served(api)
    yield running.url
    running.stop()


@contextmanager
def browser(site: str, user: User | None = None) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=site, headers={"Origin": site}, timeout=30) as client:
        if user is not None:
            assert log_in(client, user).status_code == 303
        yield client


def log_in(client: httpx.Client, user: User, goal: str = "/") -> httpx.Response:
    form = {"email": user.email, "password": PASSWORD, "next": goal}
    return client.post("/login", data=form)


def test_a_log_in_sets_cookies_that_no_script_and_no_other_site_gets(api: Api, site: str) -> None:
    with browser(site) as reader:
        answer = log_in(reader, api.sign_up(), "/movies/x")
        assert answer.headers["location"] == "/movies/x"
        cookies = answer.headers.get_list("set-cookie")
        assert len(cookies) == 2
        for cookie in cookies:
            assert {"httponly", "samesite=strict", "path=/"} <= set(cookie.lower().split("; "))
        assert "Log out" in reader.get("/").text


def test_with_tls_the_cookies_are_for_this_host_alone(api: Api) -> None:
    running = served(api, web_url="https://films.test")
    origin = {"Origin": "https://films.test"}
    form = {"email": api.sign_up().email, "password": PASSWORD}
    answer = httpx.post(f"{running.url}/login", data=form, headers=origin)
    running.stop()
    for cookie in answer.headers.get_list("set-cookie"):
        assert cookie.startswith("__Host-starfold_web_")
        assert {"secure", "path=/"} <= set(cookie.lower().split("; "))
    assert "strict-transport-security" in answer.headers


def test_requests_at_the_same_time_get_the_tokens_of_one_renewal(api: Api, site: str) -> None:
    """The browser has forgotten the access token, whose time was over."""
    with browser(site, api.sign_up()) as reader:
        kept = {one.name: one.value for one in reader.cookies.jar if one.name.endswith("_refresh")}

    def read(_: int) -> list[str]:
        cookie = "; ".join(f"{name}={value}" for name, value in kept.items())
        answer = httpx.get(site, headers={"Cookie": cookie}, timeout=30)
        assert "Log out" in answer.text
        return sorted(one.split(";")[0] for one in answer.headers.get_list("set-cookie"))

    with ThreadPoolExecutor(4) as pool:
        first, *others = pool.map(read, range(4))
    assert len(first) == 2
    assert all(other == first for other in others)


def test_the_next_page_includes_the_write(api: Api, site: str) -> None:
    movie_id = api.movie()
    api.read(f"/v1/movies/{movie_id}")
    with browser(site, api.sign_up()) as reader:
        form = {"score": "4.5", "key": str(uuid4())}
        rated = reader.post(f"/movies/{movie_id}/rating", data=form)
        assert any(name.endswith("_position") for name in reader.cookies)
        page = reader.get(rated.headers["location"].partition("#")[0])
        assert "Your rating is in." in page.text
        assert "<dd data-average>4.50</dd>" in page.text


def test_a_score_that_no_star_has_is_refused(api: Api, site: str) -> None:
    with browser(site, api.sign_up()) as reader:
        answer = reader.post(f"/movies/{api.movie()}/rating", data={"score": "7"})
    assert answer.status_code == 422
    assert "Choose half a star to five stars." in answer.text


def test_a_log_out_ends_the_session_for_every_copy_of_its_cookies(api: Api, site: str) -> None:
    movie_id = api.movie()
    api.read(f"/v1/movies/{movie_id}")
    with browser(site, api.sign_up()) as reader:
        copy = "; ".join(f"{name}={value}" for name, value in reader.cookies.items())
        assert reader.post("/logout").status_code == 303
        assert "Log in" in reader.get("/").text
    answer = httpx.post(
        f"{site}/movies/{movie_id}/rating",
        data={"score": "4"},
        headers={"Cookie": copy, "Origin": site},
    )
    assert answer.headers["location"].startswith("/login?next=")


def test_the_apis_are_called_for_the_address_of_the_reader() -> None:
    """An API that trusts the pages' address as a proxy counts readers, and not the pages."""
    seen: list[str] = []

    async def api(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(Request(scope).headers.get("x-forwarded-for", ""))
        await JSONResponse({"items": [], "next_cursor": None, "count": 0})(scope, receive, send)

    recorder = RunningApp(api, lifespan="off")
    settings = WebSettings(command_url=recorder.url, query_url=recorder.url)
    running = RunningApp(create_app(settings), proxy_headers=True, forwarded_allow_ips="127.0.0.1")
    answer = httpx.get(running.url, headers={"X-Forwarded-For": "203.0.113.7"})
    running.stop()
    recorder.stop()
    assert answer.status_code == httpx.codes.OK
    assert set(seen) == {"203.0.113.7"}


def test_a_renewal_that_failed_is_tried_again_and_is_the_readers_own() -> None:
    """The API counts the reader's address, so that no reader uses up the limit of all."""
    seen: list[str] = []

    async def api(scope: Scope, receive: Receive, send: Send) -> None:
        answer = JSONResponse({"items": [], "next_cursor": None, "count": 0})
        if scope["path"] == "/v1/sessions/refresh":
            seen.append(Request(scope).headers.get("x-forwarded-for", ""))
            tokens = {"access_token": "a.e30.c", "refresh_token": "next", "expires_in_s": 900}
            answer = JSONResponse(tokens)
            if len(seen) == 1:
                answer = JSONResponse({}, 503, {"Retry-After": "60"})
        await answer(scope, receive, send)

    recorder = RunningApp(api, lifespan="off")
    settings = WebSettings(command_url=recorder.url, query_url=recorder.url)
    running = RunningApp(create_app(settings))
    cookie = {"Cookie": "starfold_web_refresh=old"}
    statuses = [httpx.get(running.url, headers=cookie, timeout=30).status_code for _ in range(2)]
    running.stop()
    recorder.stop()
    assert statuses == [503, 200]
    assert seen == ["127.0.0.1"] * 2
