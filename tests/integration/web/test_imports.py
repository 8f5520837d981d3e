"""Importing a file by forms without script."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import get_args
from uuid import uuid4

import httpx
import pytest

from command_api.bodies.models import IMPORT_BYTES_MAX
from command_api.imports.parts import ImportFormat
from ops.imports.inbox import Inbox
from tests.integration.web.conftest import Browser
from tests.support.api import Api
from tests.support.system import System, eventually
from web.imports import FILE_BYTES_MAX, FORM_BYTES_MAX, FORMATS

SHEET = (
    "title,year,rating\r\nHeat,1995,4.5\r\nTwins,1988,2\r\n"
    "<i>Unheard</i> Of,2001,3\r\nAlien,1979,9\r\n"
)

Open = Callable[[], Browser]


@pytest.fixture(scope="module")
def inbox(module_system: System, api: Api) -> Iterator[Inbox]:
    """The worker's reader of files; the films of `SHEET` are there."""
    for title, year in (("Heat", 1995), ("Twins", 1988), ("Twins", 1988), ("Other", 2001)):
        api.movie(title, year)
    opened = Inbox(module_system.projector_settings())
    yield opened
    opened.close()


def send(browser: Browser, content: bytes | str, **fields: str) -> httpx.Response:
    return browser.http.post(
        "/import",
        files={"file": ("ratings.csv", content)},
        data=fields,
        headers={"Origin": browser.url},
    )


def finished(browser: Browser, path: str) -> str:
    def page() -> str | None:
        text = browser.get(path).text
        return text if 'data-import="finished"' in text else None

    return eventually(page)


def test_a_file_is_imported_and_completed_by_choices(
    inbox: Inbox, open_browser: Open, api: Api
) -> None:
    browser, stranger = open_browser(), open_browser()
    browser.sign_up()
    stranger.sign_up()
    page = send(browser, SHEET)
    path = page.url.path
    assert re.fullmatch(r"/import/[0-9a-f-]{36}", path)
    assert "The file waits to be read." in page.text
    assert browser.get("/import").text.count("An import is in progress.") == 1
    assert "An import is in progress" in send(browser, "title,year,rating\r\nRan,1985,4\r\n").text
    assert inbox.step()
    text = finished(browser, path)
    assert "1 of 4 rows matched a film here." in text
    assert "&lt;i&gt;Unheard&lt;/i&gt; Of" in text
    report = browser.get(f"{path}/report")
    assert "attachment" in report.headers["content-disposition"]
    assert "Twins,1988" in report.text
    assert "kept for a week" in stranger.get(path).text

    (twins,) = set(re.findall(r'name="(film-\d+)" value="[0-9a-f]', text))
    candidate = re.findall(rf'name="{twins}" value="([0-9a-f-]{{36}})"', text)[1]
    (unheard,) = set(re.findall(r'name="(other-\d+)"', text)) - {twins.replace("film", "other")}
    nothing = browser.send(path, **{twins: "", unheard: ""})
    assert (nothing.status_code, "at least one row" in nothing.text) == (422, True)
    wrong = browser.send(path, **{twins: candidate, unheard: "Other"})
    assert (wrong.status_code, f'id="{unheard}-error"' in wrong.text) == (422, True)
    assert f'value="{candidate}" checked' in wrong.text
    other = api.query.get("/v1/movies", params={"q": "Other"}).json()["items"][0]["movie_id"]
    browser.send(path, **{twins: candidate, unheard: f"{browser.url}/movies/{other}?done=x"})
    assert "3 of 4 rows matched a film here." in finished(browser, path)
    assert "Twins" in browser.get("/me/export", format="csv").text
    assert "The import is deleted." in browser.send(f"{path}/delete").text
    assert "Other" in browser.get("/me").text


def test_what_cannot_be_imported_is_said(inbox: Inbox, browser: Browser) -> None:
    browser.sign_up()
    assert "Choose a file." in send(browser, b"").text
    path = send(browser, "nothing,known\r\n1,2\r\n").url.path
    assert inbox.step()
    failed = browser.get(path).text
    assert 'data-import="failed"' in failed
    assert "Try another file" in failed
    plain = browser.http.post("/import", content=b"x", headers={"Origin": browser.url})
    assert plain.status_code == 400


def test_a_file_beyond_the_bound_is_refused(browser: Browser) -> None:
    """The pages take as much as the command API does, and name all of its formats."""
    assert FILE_BYTES_MAX == IMPORT_BYTES_MAX
    assert set(FORMATS) == set(get_args(ImportFormat))
    browser.sign_up()
    assert send(browser, bytes(FORM_BYTES_MAX)).status_code == 413
    assert browser.send("/login", email="x" * 100_000).status_code == 413


def test_only_a_member_sends_a_file(browser: Browser) -> None:
    assert send(browser, SHEET).url.path == "/login"
    browser.sign_up()
    unknown = f"/import/{uuid4()}"
    assert "kept for a week" in browser.send(f"{unknown}/delete").text
    assert "kept for a week" in browser.send(unknown, **{"film-1": str(uuid4())}).text
