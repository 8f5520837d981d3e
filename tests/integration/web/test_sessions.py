"""Sessions of browsers against the real APIs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.integration.web.conftest import Browser
from tests.support.api import PASSWORD, Api

ACCESS, REFRESH = "starfold_web_access", "starfold_web_refresh"


def test_tabs_that_renew_the_same_session_at_once_stay_logged_in(browser: Browser) -> None:
    browser.sign_up()
    used = browser.http.cookies[REFRESH]

    def load(_: int) -> httpx.Response:
        return httpx.get(f"{browser.url}/me", cookies={REFRESH: used}, timeout=30)

    with ThreadPoolExecutor(4) as tabs:
        answers = list(tabs.map(load, range(4)))
    assert [answer.status_code for answer in answers] == [200] * 4
    renewed = {answer.cookies[REFRESH] for answer in answers}
    assert len(renewed) == 1
    assert used not in renewed
    browser.http.cookies.clear()
    browser.http.cookies.set(REFRESH, renewed.pop())
    assert browser.get("/me").url.path == "/me"


def test_logging_out_ends_the_session_at_the_api(api: Api, browser: Browser) -> None:
    browser.sign_up()
    tokens = dict(browser.http.cookies)
    browser.send("/logout")
    assert ACCESS not in browser.http.cookies
    headers = {"Authorization": f"Bearer {tokens[ACCESS]}"}
    assert api.command.get("/v1/users/me/sessions", headers=headers).status_code == 401
    refresh = api.post("/v1/sessions/refresh", {"refresh_token": tokens[REFRESH]})
    assert refresh.status_code == 401


@pytest.mark.parametrize("path", ["/login", "/signup", "/logout"])
def test_a_form_of_another_site_is_refused(browser: Browser, path: str) -> None:
    email = browser.sign_up()
    fields = {"email": email, "password": PASSWORD, "display_name": "Other"}
    assert browser.send(path, origin="https://elsewhere.example", **fields).status_code == 403
    assert browser.get("/me").url.path == "/me"


@pytest.mark.parametrize("user_agent", [b"\xdcnicode \xff", b"x" * 2_000, b""])
def test_any_user_agent_can_log_in(browser: Browser, user_agent: bytes) -> None:
    email = browser.sign_up()
    browser.http.headers = httpx.Headers([(b"User-Agent", user_agent)])
    assert browser.send("/login", email=email, password=PASSWORD).status_code == 200
    assert "This device" in browser.get("/me").text
