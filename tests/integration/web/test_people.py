"""Profiles and the own account, by forms without script."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from tests.integration.web.conftest import Browser
from tests.support.api import PASSWORD, Api
from tests.support.outbox import Outbox
from tests.support.system import System

HOSTILE = "\u202e<script>alert(1)</script>"
ESCAPED = "\u202e&lt;script&gt;alert(1)&lt;/script&gt;"

Open = Callable[[], Browser]


@pytest.fixture
def outbox(module_system: System, site: str, tmp_path: Path) -> Outbox:
    return Outbox(module_system, tmp_path / "outbox", site)


def test_a_profile_shows_the_score_the_average_and_the_difference(
    api: Api, browser: Browser
) -> None:
    ann, ben = api.sign_up(), api.sign_up()
    movie = api.movie("Solaris", 1972, genres=["Drama"])
    api.rate(ben, movie, 2.0)
    api.rate(ann, movie, 4.5, review=HOSTILE)
    api.read(f"/v1/users/{ann.user_id}")
    page = browser.get(f"/users/{ann.user_id}", sort="title").text
    assert all(text in page for text in ("Solaris", "<strong>4½</strong>", "3.25", "+1.25"))
    assert ESCAPED in page
    assert "<script>alert" not in page


def test_ratings_come_in_pages_and_orders_that_the_address_names(
    api: Api, browser: Browser
) -> None:
    ann = api.sign_up()
    for number in range(26):
        api.rate(ann, api.movie(f"Part {number:02}"), 0.5 + number % 10 / 2)
    api.read(f"/v1/users/{ann.user_id}")
    first = browser.get(f"/users/{ann.user_id}", sort="title").text
    assert "Part 24" in first
    assert "Part 25" not in first
    following = first.split('rel="next"')[0].rpartition('href="')[2].partition('"')[0]
    second = browser.get(following.replace("&amp;", "&")).text
    assert "Part 25" in second
    assert "Part 24" not in second
    assert browser.get(f"/users/{ann.user_id}", sort="score", cursor="none").status_code == 422


def test_a_private_profile_looks_like_none(api: Api, browser: Browser) -> None:
    ann = api.sign_up("private@example.org", name="Secretive")
    body = {"visibility": "private"}
    api.note(api.command.patch("/v1/users/me", json=body, headers=ann.headers))
    api.read("/v1/users/me", ann)
    private, unknown = browser.get(f"/users/{ann.user_id}"), browser.get(f"/users/{uuid4()}")
    assert private.status_code == unknown.status_code == 404
    assert private.text == unknown.text
    browser.send("/login", email=ann.email, password=PASSWORD)
    assert "only its owner sees it" in browser.get(f"/users/{ann.user_id}").text


def test_an_erased_profile_says_so(api: Api, browser: Browser) -> None:
    ann = api.sign_up(name="Soon gone")
    api.rate(ann, api.movie(), 3.0)
    api.note(api.command.delete("/v1/users/me", headers=ann.headers))
    api.get(f"/v1/users/{ann.user_id}")
    page = browser.get(f"/users/{ann.user_id}")
    assert "An erased account" in page.text
    assert "Soon gone" not in page.text


def test_the_own_account_needs_a_log_in(browser: Browser) -> None:
    for path in ("/me", "/me/export?format=csv"):
        assert browser.get(path).url.path == "/login"
    assert browser.send("/me", act="erase", confirm="erase").url.path == "/login"


@pytest.mark.parametrize("act", ["profile", "password", "session", "erase"])
def test_a_form_of_another_site_changes_nothing(browser: Browser, act: str) -> None:
    browser.sign_up("Steadfast")
    fields = {"display_name": "Changed", "old": PASSWORD, "new": f"{PASSWORD} 2", "confirm": act}
    refused = browser.send("/me", origin="https://elsewhere.example", act=act, **fields)
    assert refused.status_code == 403
    assert "Steadfast" in browser.get("/me").text


def test_name_and_visibility_are_changed(open_browser: Open) -> None:
    owner, stranger = open_browser(), open_browser()
    owner.sign_up()
    user_id = owner.user_id()
    page = owner.send("/me", act="profile", display_name=HOSTILE, visibility="public")
    assert "Your profile is saved." in page.text
    assert ESCAPED in page.text
    assert ESCAPED in stranger.get(f"/users/{user_id}").text
    owner.send("/me", act="profile", display_name=HOSTILE, visibility="private")
    owner.get("/me")
    assert stranger.get(f"/users/{user_id}").status_code == 404


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"act": "profile", "display_name": " "}, "Enter the name"),
        ({"act": "profile", "display_name": "x" * 101}, "display_name-error"),
        ({"act": "password", "old": "", "new": "of seven"}, "Enter your present password."),
        ({"act": "password", "old": "wrong", "new": "a longer one"}, "not your present password"),
        ({"act": "password", "old": PASSWORD, "new": "short"}, "new-error"),
        ({"act": "erase", "confirm": "yes"}, "Type your name or the word"),
        ({"act": "nothing"}, "This form is not known."),
        ({}, "This form is not known."),
    ],
)
def test_what_is_wrong_is_said_beside_its_field(
    browser: Browser, fields: dict[str, str], said: str
) -> None:
    browser.sign_up()
    answer = browser.send("/me", **fields)
    assert answer.status_code == 422
    assert said in answer.text


def test_a_new_password_ends_the_other_sessions(open_browser: Open) -> None:
    here, there = open_browser(), open_browser()
    email = here.sign_up()
    there.send("/login", email=email, password=PASSWORD)
    done = here.send("/me", act="password", old=PASSWORD, new=f"{PASSWORD} 2")
    assert "Your password is changed" in done.text
    assert there.get("/me").url.path == "/login"
    assert there.send("/login", email=email, password=PASSWORD).status_code == 422
    assert there.send("/login", email=email, password=f"{PASSWORD} 2").status_code == 200


def test_sessions_are_listed_by_browser_and_ended(open_browser: Open) -> None:
    here, there = open_browser(), open_browser()
    there.http.headers["User-Agent"] = "Mozilla/5.0 (X11; Linux) Firefox/140.0"
    email = here.sign_up()
    there.send("/login", email=email, password=PASSWORD)
    page = here.get("/me").text
    assert "Firefox on Linux" in page
    named = page.split('name="session_id" value="')[1].partition('"')[0]
    assert "That device is logged out." in here.send("/me", act="session", session_id=named).text
    assert there.get("/me").url.path == "/login"
    for gone in (named, str(uuid4()), "none"):
        again = here.send("/me", act="session", session_id=gone)
        assert "logged out already" in again.text


@pytest.mark.parametrize(
    ("asked", "kind", "name", "content"),
    [
        ("json", "application/json", "starfold-export.json", b'"position"'),
        ("csv", "text/csv", "starfold-ratings.csv", b"imdb_id"),
        ("letterboxd", "text/csv", "letterboxd.csv", b"Rating"),
        ("trakt", "application/json", "trakt.json", b'"movies"'),
    ],
)
def test_data_is_exported_as_files(
    browser: Browser, asked: str, kind: str, name: str, content: bytes
) -> None:
    browser.sign_up()
    file = browser.get("/me/export", format=asked)
    assert file.headers["content-type"].partition(";")[0] == kind
    assert name in file.headers["content-disposition"]
    assert file.headers["cache-control"] == "no-store"
    assert content in file.content


@pytest.mark.parametrize("confirmed", ["erase", "Ann  Example"])
def test_an_account_is_erased_once_its_name_is_typed(browser: Browser, confirmed: str) -> None:
    email = browser.sign_up("Ann  Example")
    erased = browser.send("/me", act="erase", confirm=confirmed)
    assert "Your account is erased" in erased.text
    assert browser.get("/me").url.path == "/login"
    assert browser.send("/login", email=email, password=PASSWORD).status_code == 422


def test_a_forgotten_password_is_replaced_by_the_link_of_a_mail(
    open_browser: Open, outbox: Outbox
) -> None:
    """The token leaves the address at once, and no answer says whether an address is known."""
    here, owner = open_browser(), open_browser()
    address = owner.sign_up()
    assert "Forgot your password?" in here.get("/login").text
    known, unknown = (
        here.send("/reset", email=one) for one in (address.upper(), "nobody@example.org")
    )
    assert (known.status_code, known.text, known.url) == (200, unknown.text, unknown.url)
    assert here.send("/reset", email=" ").status_code == 422
    link = outbox.link("reset")
    token = link.partition("=")[2]
    taken = here.http.get(link, follow_redirects=False)
    assert (taken.status_code, taken.headers["location"], taken.text) == (303, "/reset", "")
    cookie = taken.headers["set-cookie"].lower()
    assert all(one in cookie for one in ("httponly", "samesite=lax", "path=/reset", "max-age=1800"))
    assert token not in (page := here.get("/reset")).text
    assert "Set a new password" in page.text
    short = here.send("/reset", password="short")
    assert (short.status_code, "password-error" in short.text) == (422, True)
    assert "Your new password is set" in here.send("/reset", password=f"{PASSWORD} 2").text
    assert not [one for one in here.http.cookies.jar if "reset" in one.name]
    assert owner.get("/me").url.path == "/login"
    assert here.send("/login", email=address, password=f"{PASSWORD} 2").url.path == "/"
    here.get(link)
    assert "works no longer" in here.send("/reset", password=PASSWORD).text
    assert "works no longer" in here.get("/reset?token=a;b").text


def test_an_address_is_confirmed_by_the_button_behind_a_mails_link(
    open_browser: Open, outbox: Outbox
) -> None:
    """Opening the link changes nothing: programs that look at mails do that too."""
    owner, elsewhere = open_browser(), open_browser()
    owner.sign_up()
    assert "not confirmed yet" in owner.get("/me").text
    assert "on its way" in owner.send("/me", act="verification").text
    page = elsewhere.get(outbox.link("verify"))
    assert (page.url.path, page.url.query) == ("/verify", b"")
    assert "not confirmed yet" in owner.get("/me").text
    assert "Your address is confirmed" in elsewhere.send("/verify").text
    owner.send("/me", act="profile", display_name="Ann", visibility="public")
    assert "not confirmed yet" not in owner.get("/me").text
    assert "works no longer" in elsewhere.send("/verify").text
    other = open_browser()
    other.sign_up()
    sent = [other.send("/me", act="verification").text for _ in range(4)]
    assert "enough mails" in sent[3]
    assert "enough mails" not in sent[2]
