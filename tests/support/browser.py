"""A real Chromium, whose visitors fail their test for whatever a page must not do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Locator,
    Page,
    Response,
    Route,
    expect,
    sync_playwright,
)

from tests.support.api import PASSWORD, User

SERIOUS = ("serious", "critical")
# What axe-core looks at: in the dark, colours alone can differ.
RULES: dict[Literal["light", "dark"], dict[str, Any]] = {
    "light": {"resultTypes": ["violations"]},
    "dark": {"resultTypes": ["violations"], "runOnly": ["color-contrast"]},
}


@contextmanager
def chromium(executable: str | None) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()


# Texts of people who want a page to show them otherwise.
TITLE = "<script>alert(1)</script> \u202egnp.exe"
NAME = "<b>Bö</b> \u202eevil"
REVIEW = "<img src=x onerror=alert(1)> " + "long" * 2_000


class Visitor:
    """A browser of a person of their own; `page` is its only tab.

    When it ends, the test fails for each error on the console, each violation of the content
    security policy, each answer of an error that was not `expected`, and each request elsewhere.
    """

    def __init__(self, browser: Browser, site: str, **options: Any) -> None:
        self._site = site
        self._faults: list[str] = []
        self.expected: set[int] = set()
        self._context = browser.new_context(base_url=site, **options)
        self._context.route("**/*", self._route)
        self.page = self._context.new_page()
        self.page.set_default_timeout(30_000)
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self._faults.append(f"script: {error}"))
        self.page.on("response", self._on_response)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._context.close()
        if kind is None:
            assert self._faults == []

    def open(self, path: str) -> Page:
        self.page.goto(path)
        return self.page

    def require_accessible(self) -> None:
        """Fail for what axe-core finds serious, in light and in dark."""
        for scheme, rules in RULES.items():
            self.page.emulate_media(color_scheme=scheme)
            found = Axe().run(self.page, options=rules).response["violations"]
            serious = [
                (one["id"], node["html"], node["failureSummary"])
                for one in found
                if one["impact"] in SERIOUS
                for node in one["nodes"]
            ]
            assert serious == [], f"{self.page.url} in {scheme}: {serious}"

    def require_fits(self, width: int = 320) -> None:
        """Fail if the page is wider than a narrow window."""
        self.page.set_viewport_size({"width": width, "height": 800})
        wide: int = self.page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, self.page.url

    def require_good_when_narrow(self) -> None:
        """Fail for either in a narrow window, where more scrolls; widen it again."""
        before = self.page.viewport_size
        self.require_fits()
        self.require_accessible()
        if before is not None:
            self.page.set_viewport_size(before)

    def _route(self, route: Route) -> None:
        if urlsplit(route.request.url).netloc == urlsplit(self._site).netloc:
            route.continue_()
        else:
            self._faults.append(f"request elsewhere: {route.request.url}")
            route.abort()

    def _on_console(self, message: ConsoleMessage) -> None:
        # Answers of errors are looked at by themselves.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self._faults.append(f"console: {message.text}")

    def _on_response(self, response: Response) -> None:
        if response.status >= 400 and response.status not in self.expected:
            self._faults.append(f"{response.status}: {response.url}")


def log_in(visitor: Visitor, user: User) -> Page:
    """Log in by the form; return the page."""
    page = visitor.open("/login")
    page.get_by_label("E-mail address").fill(user.email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("button", name="Log out")).to_be_visible()
    return page


def tab_to(page: Page, goal: Locator) -> None:
    """Press Tab until the goal has the focus."""
    expect(goal).to_be_visible()
    for _ in range(40):
        page.keyboard.press("Tab")
        if goal.evaluate("one => one === document.activeElement"):
            return
    raise AssertionError("the focus does not get there")
