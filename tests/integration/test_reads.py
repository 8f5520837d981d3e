"""Orders of a user's ratings, reviews of a movie, and what HTTP asks of every read."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api import AT_LEAST, Api, User


@pytest.fixture(scope="module")
def ann(api: Api) -> User:
    """Rated four movies; the best last but one in time, the first in the alphabet third."""
    user, other = api.sign_up(name="Ann"), api.sign_up(name="Ben")
    for title, score, review in (
        ("Mirror", 3.5, None),
        ("Stalker", 4.0, "Rain, grass, and a room."),
        ("Andrei Rublev", 5.0, "The bell."),
        ("Solaris", 4.0, None),
    ):
        movie_id = api.movie(title)
        fields = {"review": review} if review else {}
        api.expect(201, api.rate(user, movie_id, score, **fields))
        api.rate(other, movie_id, 3.0)
    return user


def all_pages(api: Api, path: str, **parameters: Any) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    cursor: dict[str, Any] = {}
    while True:
        page = api.read(path, limit=2, **parameters, **cursor)
        items += page["items"]
        if page["next_cursor"] is None:
            return items
        cursor = {"cursor": page["next_cursor"]}


@pytest.mark.parametrize(
    ("sort", "titles"),
    [
        ("newest", ["Solaris", "Andrei Rublev", "Stalker", "Mirror"]),
        ("score", ["Andrei Rublev", "Solaris", "Stalker", "Mirror"]),
        ("title", ["Andrei Rublev", "Mirror", "Solaris", "Stalker"]),
    ],
)
def test_a_users_ratings_come_in_every_order(
    api: Api, ann: User, sort: str, titles: list[str]
) -> None:
    path = f"/v1/users/{ann.user_id}/ratings"
    items = all_pages(api, path, sort=sort)
    assert [item["title"] for item in items] == titles
    best = next(item for item in items if item["title"] == "Andrei Rublev")
    assert (best["score"], best["movie_average"], best["difference"]) == (5.0, 4.0, 1.0)
    assert best["review"] == "The bell."
    foreign = api.read(path, sort="newest", limit=1)["next_cursor"]
    if sort != "newest":
        assert api.get(path, sort=sort, cursor=foreign).status_code == 422
    assert items[0] == api.read(f"{path}/{items[0]['movie_id']}")


def test_a_movies_ratings_show_reviews_but_no_private_user(api: Api) -> None:
    movie_id = api.movie("Ivan's Childhood")
    open_user, private = api.sign_up(name="Open"), api.sign_up(name="Shy")
    api.rate(open_user, movie_id, 4, review="The well.")
    api.rate(private, movie_id, 2, review="Not for me.")
    changed = api.command.patch(
        "/v1/users/me", json={"visibility": "private"}, headers=private.headers
    )
    api.note(changed)
    (item,) = api.read(f"/v1/movies/{movie_id}/ratings")["items"]
    assert (item["display_name"], item["review"]) == ("Open", "The well.")
    assert api.read(f"/v1/movies/{movie_id}")["ratings"]["count"] == 2


def test_head_is_get_without_the_body(api: Api, ann: User) -> None:
    for path in (
        f"/v1/users/{ann.user_id}",
        f"/v1/users/{ann.user_id}/ratings",
        "/v1/movies",
        "/health",
    ):
        for headers in ({}, ann.headers):
            got, head = (api.query.request(m, path, headers=headers) for m in ("GET", "HEAD"))
            assert (head.status_code, head.content) == (200, b"")
            for name in ("content-type", "etag", "content-encoding"):
                assert head.headers.get(name) == got.headers.get(name)
    assert api.command.head("/health").status_code == 200
    assert api.query.head("/v1/movies/nothing").status_code == 422


def test_large_pages_are_compressed_for_whom_takes_it(api: Api) -> None:
    for number in range(40):
        api.movie(f"A long enough title to fill a page with, number {number}")
    path, position = "/v1/movies?limit=40&q=enough", {AT_LEAST: str(api.position)}
    plain = api.query.get(path, headers=position | {"Accept-Encoding": "identity"})
    packed = api.query.get(path, headers=position | {"Accept-Encoding": "br, gzip;q=0.5"})
    refused = api.query.get(path, headers=position | {"Accept-Encoding": "gzip;q=0"})
    assert "content-encoding" not in plain.headers
    assert "content-encoding" not in refused.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.content == plain.content
    assert int(packed.headers["content-length"]) < int(plain.headers["content-length"]) / 3
    assert plain.headers["vary"] == packed.headers["vary"] == "accept-encoding"
    assert plain.headers["etag"] != packed.headers["etag"]
    known = {"Accept-Encoding": "gzip", "If-None-Match": packed.headers["etag"]}
    assert api.query.get(path, headers=known).status_code == 304
