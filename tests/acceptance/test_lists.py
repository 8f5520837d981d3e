"""Filters, orders and pages of movies: what went wrong in an earlier service."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.api import Api, problem


def test_pages_hold_every_movie_once_and_the_last_says_so(api: Api) -> None:
    made = {api.movie(f"Paged {n}", 1990, genres=["Paged"]) for n in range(25)}
    seen: list[str] = []
    cursor: dict[str, Any] = {}
    while True:
        page = api.read("/v1/movies", genre="Paged", limit=10, sort="title", **cursor)
        seen += [movie["movie_id"] for movie in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert len(seen) == 25
    assert set(seen) == made


def test_all_filters_hold_together(api: Api) -> None:
    fields = {"genres": ["Heist"], "directors": ["Jane Doe"]}
    wanted = api.movie("The Filtered Job", 1999, **fields)
    api.movie("The Filtered Job", 1989, **fields)
    api.movie("The Filtered Job", 1999, genres=["Heist"])
    api.movie("The Filtered Job", 1999, directors=["Jane Doe"])
    api.movie("Another One", 1999, **fields)
    found = api.read(
        "/v1/movies", q="filt job", genre="heist", director="JANE DOE", year_min=1995,
        year_max=2000,
    )  # fmt: skip
    assert [movie["movie_id"] for movie in found["items"]] == [wanted]


def test_a_percent_sign_is_no_wildcard(api: Api) -> None:
    api.movie("One Hundred Per Cent", 2001)
    assert api.read("/v1/movies", q="%")["items"] == []
    assert api.read("/v1/movies", q="h%d")["items"] == []


@pytest.mark.parametrize("name", ["sort_by", "offset", "Genre", "page", "", "as_of"])
def test_a_parameter_that_would_be_ignored_is_refused(api: Api, name: str) -> None:
    user_id = api.sign_up().user_id
    for path in ("/v1/movies", f"/v1/movies/{api.movie()}", f"/v1/users/{user_id}/ratings"):
        assert problem(api.query.get(path, params={name: "title"}))["status"] == 422


def test_every_order_is_obeyed(api: Api) -> None:
    ann = api.sign_up()
    low, high = api.movie("Sorted A", 1970), api.movie("Sorted B", 1980)
    api.rate(ann, low, 1)
    api.rate(ann, high, 5)
    for sort, first in (
        ("weighted", high),
        ("average", high),
        ("newest", high),
        ("title", low),
        ("count", low),
    ):
        items = api.read("/v1/movies", q="sorted", sort=sort)["items"]
        assert items[0]["movie_id"] == first, sort
