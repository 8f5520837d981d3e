"""The operators' pages, as a browser without script sees them."""

from __future__ import annotations

import re

import httpx
import pytest

from tests.support.api import Api
from tests.support.pages import log_in

PAGES = (
    "/",
    "/projections",
    "/events",
    "/events?type=MovieCreated",
    "/events/export",
    "/users",
    "/keys",
    "/mails",
    "/acts",
    "/acts/export",
)
NAME = "<script>alert(1)</script>"


def test_a_visitor_is_led_to_the_log_in_and_back(visitor: httpx.Client) -> None:
    for page in PAGES:
        answer = visitor.get(page)
        assert answer.status_code == 303, page
        assert answer.headers["location"].startswith("/login?next=%2F"), page


@pytest.mark.parametrize("role", ["member", "curator"])
def test_only_operators_see_anything(visitor: httpx.Client, api: Api, role: str) -> None:
    log_in(visitor, api, role)
    for page in PAGES:
        answer = visitor.get(page)
        assert answer.status_code == 403, page
        assert "You may not do this" in answer.text


def test_an_operator_sees_projections_and_events(visitor: httpx.Client, api: Api) -> None:
    movie_id = api.movie(NAME)
    log_in(visitor, api, "operator")
    for page in ("/", "/projections"):
        text = visitor.get(page).text
        assert all(one in text for one in ("movies", "profiles", "changes", "active")), text
    found = visitor.get("/events", params={"type": "MovieCreated"}).text
    assert NAME not in found
    assert "&lt;script&gt;" in found
    position = re.findall(r'href="/events/(\d+)"', found)[0]
    event = visitor.get(f"/events/{position}").text
    assert f'MovieCreated <span class="small">at position {position}' in event
    assert str(movie_id) in event
    exported = visitor.get("/events/export", params={"type": "MovieCreated"})
    assert exported.headers["content-type"].startswith("application/jsonl")
    assert exported.headers["content-disposition"].endswith('"starfold-events.jsonl"')
    assert len(exported.headers.get_list("x-request-id")) == 1
    assert str(movie_id) in exported.text


def test_what_cannot_be_found_is_said_in_words(visitor: httpx.Client, api: Api) -> None:
    log_in(visitor, api, "operator")
    for path, status, said in (
        ("/events/999999999", 404, "There is no such page"),
        ("/events?stream=nonsense", 422, "Something in this is wrong"),
        ("/events?user=01a21a3b-a183-7a2e-bfbb-370b685f1734", 409, "index"),
        ("/events/export?user=01a21a3b-a183-7a2e-bfbb-370b685f1734", 409, "index"),
        ("/nowhere", 404, "There is no such page"),
    ):
        answer = visitor.get(path)
        assert answer.status_code == status, (path, answer.text)
        assert said in answer.text, path


def test_a_form_of_another_site_changes_nothing(visitor: httpx.Client, api: Api) -> None:
    log_in(visitor, api, "operator")
    for origin in ("http://evil.example", "null", None):
        headers = {} if origin is None else {"Origin": origin}
        request = visitor.build_request("POST", "/logout", headers=headers)
        if origin is None:
            del request.headers["Origin"]
        assert visitor.send(request).status_code == 403
    assert visitor.get("/").status_code == 200
    assert visitor.post("/logout").status_code == 303
    assert visitor.get("/").status_code == 303
