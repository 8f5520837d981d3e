"""The public pages in a real Chromium, on a whole running system."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from ops.imports.inbox import Inbox
from tests.support.api import PASSWORD, Api
from tests.support.browser import NAME, REVIEW, TITLE, Visitor
from tests.support.outbox import Outbox
from tests.support.system import RunningApp, System
from web.app import create_app
from web.settings import WebSettings

# The tests of members and of forms look at the pages that these lead to.
PAGES = (
    "/",
    "/?q=nothing+like+it",
    "/login",
    "/signup",
    "/reset",
    "/verify",
    "/verify?token=sfm_0",
    "/movies/{movie_id}",
    "/movies/{movie_id}?as_of=2020-01-01",
    "/users/{user_id}",
    "/users/00000000-0000-0000-0000-000000000007",
    "/nowhere",
)

expect.set_options(timeout=20_000)
_numbers = itertools.count(1)

New = Callable[..., Visitor]


@pytest.fixture(scope="module")
def site(module_system: System, api: Api) -> Iterator[str]:
    settings = WebSettings(command_url=str(api.command.base_url), query_url=str(api.query.base_url))
    running = RunningApp(create_app(settings))
    yield running.url
    running.stop()


@pytest.fixture
def new(browser: Browser, site: str) -> New:
    """Return a visitor, who is somebody of their own."""
    return lambda **options: Visitor(browser, site, **options)


def film(api: Api, title: str, **fields: Any) -> str:
    movie_id = api.movie(title, external_id=f"film {next(_numbers)}", **fields)
    api.read(f"/v1/movies/{movie_id}")
    return movie_id


def sign_up(visitor: Visitor, name: str = "Ann", goal: str = "/") -> str:
    """Sign up, and return the e-mail address."""
    page = visitor.open(f"/signup?next={goal}")
    page.get_by_label("Name").fill(name)
    address = f"reader{next(_numbers)}@example.org"
    page.get_by_label("E-mail address").fill(address)
    page.get_by_label("Password", exact=False).first.fill(PASSWORD)
    page.get_by_role("button", name="Sign up").click()
    expect(page.get_by_role("button", name="Log out")).to_be_visible()
    return address


def test_a_reader_signs_up_searches_and_rates_by_keyboard(api: Api, new: New) -> None:
    """The rating is there after a reload, Delete withdraws it, and Undo brings it back."""
    film(api, "Solaris", year=1972, genres=["Drama"])
    film(api, "Persona", year=1966, genres=["Drama"])
    with new() as visitor:
        sign_up(visitor)
        page = visitor.page
        page.get_by_label("Title").first.press_sequentially("solar")
        expect(page.get_by_text("Persona")).to_have_count(0)
        assert "q=solar" in page.url
        page.locator(".film", has_text="Solaris").click()
        expect(page.locator("html.scripted")).to_be_attached()
        page.get_by_role("radio", name="2½ stars").focus()
        page.keyboard.press("4")
        expect(page.get_by_text("Saved: 4 stars")).to_be_visible()
        page.keyboard.press("ArrowRight")
        expect(page.get_by_text("Saved: 4½ stars")).to_be_visible()
        page.reload()
        expect(page.get_by_role("radio", name="4½ stars")).to_be_checked()
        expect(page.locator("html.scripted")).to_be_attached()
        page.get_by_role("radio", name="4½ stars").focus()
        page.keyboard.press("Delete")
        page.get_by_role("button", name="Undo").click()
        expect(page.get_by_text("Saved: 4½ stars")).to_be_visible()
        page.go_back()
        expect(page.get_by_label("Title").first).to_have_value("solar")


def test_a_rating_moves_the_bar_of_another_browser(api: Api, new: New) -> None:
    movie_id = film(api, "Mirror")
    with new() as reader, new() as rater:
        page = reader.open(f"/movies/{movie_id}")
        with rater.page.expect_request("**/live"):
            sign_up(rater, goal=f"/movies/{movie_id}")
        bar = page.get_by_role("row", name="5 stars", exact=False).first
        expect(bar).to_contain_text("0")
        rater.page.locator("label[for=score-10]").click()
        expect(bar).to_contain_text("1")
        expect(page.locator("dd[data-average]")).to_have_text("5.00")


def test_a_rating_that_fails_puts_the_stars_back_and_says_why(api: Api, new: New) -> None:
    movie_id = film(api, "Ran")
    with new() as visitor:
        sign_up(visitor, goal=f"/movies/{movie_id}")
        page = visitor.page
        page.locator("label[for=score-6]").click()
        expect(page.get_by_text("Saved: 3 stars")).to_be_visible()
        visitor.expected = {503}
        page.route(
            "**/rating",
            lambda route: route.fulfill(
                status=503, body="<h1>Not available at the moment</h1>", content_type="text/html"
            ),
        )
        page.locator("label[for=score-9]").click()
        expect(page.get_by_text("Not available at the moment")).to_be_visible()
        expect(page.get_by_role("radio", name="3 stars", exact=True)).to_be_checked()


def test_without_scripts_a_reader_logs_in_and_rates_by_forms(api: Api, new: New) -> None:
    user = api.sign_up()
    movie_id = film(api, "Ikiru")
    with new(java_script_enabled=False) as visitor:
        page = visitor.open(f"/login?next=/movies/{movie_id}")
        page.get_by_label("E-mail address").fill(user.email)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        page.locator("label[for=score-7]").click()
        page.get_by_role("button", name="Save", exact=True).click()
        expect(page.get_by_text("Your rating is in.")).to_be_visible()
        expect(page.get_by_role("radio", name="3½ stars")).to_be_checked()
        page.get_by_role("button", name="Withdraw").click()
        expect(page.get_by_text("Your rating is withdrawn.")).to_be_visible()


def test_hostile_texts_are_shown_as_texts(api: Api, new: New) -> None:
    movie_id = film(api, TITLE, description="x" * 5_000)
    user = api.sign_up(name=NAME)
    api.rate(user, movie_id, 0.5, review=REVIEW)
    api.read("/v1/users/me", user)
    with new() as visitor:
        page = visitor.open(f"/movies/{movie_id}")
        # Isolated, so that the mark that turns what follows leaves the year alone.
        expect(page.locator("h1 bdi")).to_have_text(TITLE)
        expect(page.locator("blockquote")).to_contain_text("<img src=x onerror=alert(1)>")
        expect(page.get_by_text("<b>Bö</b>")).to_be_visible()
        visitor.require_fits()


def test_every_page_is_accessible_and_fits_a_narrow_window(api: Api, new: New) -> None:
    movie_id = film(api, "Stalker", genres=["Drama", "Science Fiction"], directors=["Tarkovsky"])
    user = api.sign_up()
    api.rate(user, movie_id, 4.5, review="Slow, and right to be.")
    api.read("/v1/users/me", user)
    with new() as visitor:
        visitor.expected = {404}
        for path in PAGES:
            page = visitor.open(path.format(movie_id=movie_id, user_id=user.user_id))
            assert page.locator("h1").count() == 1
            page.keyboard.press("Tab")
            expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
            visitor.require_good_when_narrow()


def test_the_page_of_a_film_is_accessible_to_its_rater(api: Api, new: New) -> None:
    movie_id = film(api, "Nostalghia")
    with new() as visitor:
        sign_up(visitor, goal=f"/movies/{movie_id}")
        visitor.page.locator("label[for=score-7]").click()
        expect(visitor.page.get_by_text("Saved: 3½ stars")).to_be_visible()
        visitor.require_good_when_narrow()


def test_the_own_account_is_accessible_and_says_what_is_wrong_in_its_forms(new: New) -> None:
    with new() as visitor:
        visitor.expected = {422}
        sign_up(visitor, NAME, goal="/me")
        page = visitor.page
        visitor.require_accessible()
        page.get_by_label("Present password").fill("wrong password")
        page.get_by_label("New password").fill(f"{PASSWORD} 2")
        page.get_by_role("button", name="Change password").click()
        expect(page.get_by_label("Present password")).to_have_attribute("aria-invalid", "true")
        visitor.require_good_when_narrow()


def test_a_form_says_beside_its_field_what_is_wrong(new: New) -> None:
    with new() as visitor:
        visitor.expected = {422}
        page = visitor.open("/login")
        page.get_by_label("E-mail address").fill("nobody@example.org")
        page.get_by_label("Password").fill("wrong password")
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_text("Address or password are wrong.")).to_be_visible()
        visitor.require_accessible()


def test_a_file_is_imported_with_choices(module_system: System, api: Api, new: New) -> None:
    """The page moves by itself, from the waiting file to the ratings that were written."""
    film(api, "Heat", year=1995)
    twins = [film(api, "Twins", year=1988) for _ in range(2)]
    inbox = Inbox(module_system.projector_settings())
    sheet = b"title,year,rating\nHeat,1995,4.5\nTwins,1988,2\nUnheard Of,2001,3\n"
    with new() as visitor:
        sign_up(visitor, goal="/me")
        page = visitor.page
        page.get_by_role("link", name="Import ratings").click()
        visitor.require_accessible()
        file = page.get_by_label("File", exact=False).first
        file.evaluate("one => { one.dataset.bytesMax = 5; }")
        file.set_input_files({"name": "a.csv", "mimeType": "text/csv", "buffer": sheet})
        assert file.evaluate("one => one.validationMessage") == "This file is too large."
        file.evaluate("one => { one.dataset.bytesMax = 500; }")
        file.set_input_files({"name": "a.csv", "mimeType": "text/csv", "buffer": sheet})
        page.get_by_role("button", name="Import", exact=True).click()
        expect(page.get_by_text("The file waits to be read.")).to_be_visible()
        visitor.require_accessible()
        assert inbox.step()
        expect(page.get_by_text("1 of 3 rows matched a film here.").last).to_be_visible()
        page.locator(f"input[value='{twins[1]}']").check()
        expect(page.get_by_role("button", name="Import 1 rating", exact=True)).to_be_visible()
        visitor.require_good_when_narrow()
        page.get_by_role("button", name="Import 1 rating").click()
        expect(page.get_by_text("2 of 3 rows matched a film here.").last).to_be_visible()
        with page.expect_download() as download:
            page.get_by_role("link", name="Report on every row").click()
        assert download.value.suggested_filename == "import-report.csv"
        visitor.open("/me")
        expect(page.get_by_role("link", name="Twins")).to_be_visible()
        visitor.require_fits()
    inbox.close()


def test_a_mails_link_sets_a_password_and_leaves_no_token_in_the_history(
    module_system: System, site: str, new: New, tmp_path: Path
) -> None:
    outbox = Outbox(module_system, tmp_path, site)
    with new() as owner, new() as elsewhere:
        address = sign_up(owner)
        page = elsewhere.open("/login")
        page.get_by_role("link", name="Forgot your password?").click()
        page.get_by_label("E-mail address").fill(address)
        page.get_by_role("button", name="Send the mail").click()
        expect(page.get_by_role("heading", name="Look into your mail")).to_be_visible()
        elsewhere.require_accessible()
        link = outbox.link("reset")
        token = link.partition("=")[2]
        referers: list[str] = []
        page.on("request", lambda one: referers.append(one.headers.get("referer", "")))
        elsewhere.open(link)
        assert page.url == f"{site}/reset"
        elsewhere.require_good_when_narrow()
        page.get_by_label("New password", exact=False).first.fill(f"{PASSWORD} 2")
        page.get_by_role("button", name="Set password").click()
        expect(page.get_by_role("heading", name="Your new password is set")).to_be_visible()
        assert not any(token in one for one in [*referers, page.content()])
        page.go_back()
        assert token not in page.url
        owner.open("/me")
        expect(owner.page.get_by_role("heading", name="Log in")).to_be_visible()


def test_an_account_is_erased(new: New) -> None:
    with new() as visitor:
        visitor.expected = {422}
        sign_up(visitor, "Soon Gone", goal="/me")
        page = visitor.page
        confirm = page.get_by_label("to confirm", exact=False)
        confirm.fill("yes")
        page.get_by_role("button", name="Erase my account").click()
        expect(confirm).to_have_attribute("aria-invalid", "true")
        confirm.fill("Soon Gone")
        page.get_by_role("button", name="Erase my account").click()
        expect(page.get_by_role("heading", name="Your account is erased")).to_be_visible()
        visitor.require_accessible()
        expect(page.get_by_role("link", name="Log in")).to_be_visible()
