"""The public pages on a whole running system, and browsers without script."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from tests.support.api import PASSWORD, Api
from tests.support.system import RunningApp
from web.app import create_app
from web.settings import WebSettings

_numbers = itertools.count(1)


class Browser:
    """A browser without script: keeps cookies, follows redirects, sends forms from its page."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = httpx.Client(base_url=url, timeout=30, follow_redirects=True)

    def get(self, path: str, **parameters: Any) -> httpx.Response:
        return self.http.get(path, params=parameters or None)

    def send(self, path: str, origin: str | None = None, **fields: Any) -> httpx.Response:
        """Send a form, from a page of the site itself unless an `origin` is given."""
        return self.http.post(path, data=fields, headers={"Origin": origin or self.url})

    def sign_up(self, name: str = "Ann") -> str:
        """Sign up as somebody new and return their e-mail address."""
        email = f"page{next(_numbers)}@example.org"
        answer = self.send("/signup", display_name=name, email=email, password=PASSWORD)
        assert answer.status_code == 200, answer.text
        return email

    def user_id(self) -> str:
        """Return the id that the page of the own account links to."""
        found = re.search(r"/users/([0-9a-f-]{36})", self.get("/me").text)
        assert found is not None
        return found[1]


@pytest.fixture(scope="module")
def site(api: Api) -> Iterator[str]:
    settings = WebSettings(command_url=str(api.command.base_url), query_url=str(api.query.base_url))
    running = RunningApp(create_app(settings))
    yield running.url
    running.stop()


@pytest.fixture
def open_browser(site: str) -> Iterator[Callable[[], Browser]]:
    """Opens browsers, each with cookies of its own."""
    with ExitStack() as opened:

        def open_one() -> Browser:
            browser = Browser(site)
            opened.callback(browser.http.close)
            return browser

        yield open_one


@pytest.fixture
def browser(open_browser: Callable[[], Browser]) -> Browser:
    return open_browser()
