"""Orders of a user's ratings, reviews of a movie, and what HTTP asks of every read."""

from __future__ import annotations

import base64
from typing import Any
from uuid import UUID

import pytest

from tests.support.api import AT_LEAST, Api, User


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
        for caller in ({}, ann.headers):
            headers = {**caller, AT_LEAST: str(api.position)}
            got, head = (api.query.request(m, path, headers=headers) for m in ("GET", "HEAD"))
            assert (head.status_code, head.content) == (200, b"")
            for name in ("content-type", "etag", "content-encoding"):
                assert head.headers.get(name) == got.headers.get(name)
    assert api.command.head("/health").status_code == 200
    assert api.query.head("/v1/movies/nothing").status_code == 422


def test_a_refused_method_hears_which_there_are(api: Api, ann: User) -> None:
    for client, path, allowed in (
        (api.query, f"/v1/users/{ann.user_id}", "GET, HEAD"),
        (api.query, "/docs/assets/swagger-ui.css", "GET, HEAD"),
        (api.command, "/v1/users/me", "DELETE, PATCH"),
        (api.command, "/v1/users", "POST"),
    ):
        for method in ("OPTIONS", "TRACE"):
            answer = client.request(method, path)
            assert (answer.status_code, answer.headers["Allow"]) == (405, allowed), path


def test_what_is_wrong_is_pointed_at(api: Api, ann: User) -> None:
    movie = f"/v1/movies/{api.movie()}"
    for path, pointer in (
        ("/v1/movies?limit=0", "/query/limit"),
        ("/v1/movies?limit=1&limit=2", "/query/limit"),
        ("/v1/movies?genre=Drama&genre=War", "/query/genre"),
        ("/v1/movies?offset=5", "/query/offset"),
        ("/v1/movies?a%2Fb=5", "/query/a~1b"),
        ("/v1/movies?cursor=x", "/query/cursor"),
        ("/v1/movies?sort=match", "/query/sort"),
        (f"{movie}/stats?as_of=9999-01-01", "/query/as_of"),
        (f"{movie}/stats?as_of=2026-02-30", "/query/as_of"),
        ("/v1/stream?movies=x", "/query/movies"),
        ("/v1/movies/x", "/path/movie_id"),
    ):
        for caller in (None, ann):
            answer = api.query.get(path, headers=caller.headers if caller else {})
            assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)
    for values in (["x"], ["1", "2"]):
        twice = api.query.get(movie, headers=[(AT_LEAST, value) for value in values])
        assert twice.status_code == 422, values
        assert twice.json()["errors"][0]["pointer"] == "/header/starfold-at-least"


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
    assert plain.headers["vary"] == packed.headers["vary"] == "accept-encoding, authorization"
    assert plain.headers["etag"] != packed.headers["etag"]
    known = {"Accept-Encoding": "gzip", "If-None-Match": packed.headers["etag"]}
    assert api.query.get(path, headers=known).status_code == 304


@pytest.fixture(scope="module")
def rated(api: Api) -> tuple[str, list[User]]:
    """A movie with ratings of ten users in turn: 1, 2, 3, 1, 2, 3, ...; every other is private."""
    movie_id = api.movie("Nostalghia")
    users = [api.sign_up(name=f"Rater {n}") for n in range(10)]
    for n, user in enumerate(users):
        api.rate(user, movie_id, n % 3 + 1, review=f"Review {n}.")
        if n % 2:
            private = {"visibility": "private"}
            api.note(api.command.patch("/v1/users/me", json=private, headers=user.headers))
    return movie_id, users


@pytest.mark.parametrize(("sort", "numbers"), [("newest", "86420"), ("score", "82460")])
def test_a_movies_ratings_come_newest_or_highest_first(
    api: Api, rated: tuple[str, list[User]], sort: str, numbers: str
) -> None:
    movie_id, users = rated
    path = f"/v1/movies/{movie_id}/ratings"
    items = all_pages(api, path, sort=sort)
    assert [item["user_id"] for item in items] == [users[int(n)].user_id for n in numbers]
    assert [item["review"] for item in items] == [f"Review {n}." for n in numbers]
    other = api.read(path, sort="score" if sort == "newest" else "newest", limit=1)
    assert api.get(path, sort=sort, cursor=other["next_cursor"]).status_code == 422


def test_a_page_of_private_users_says_that_there_are_more(
    api: Api, rated: tuple[str, list[User]]
) -> None:
    first = api.read(f"/v1/movies/{rated[0]}/ratings", limit=1)
    assert first["items"] == []
    second = api.read(f"/v1/movies/{rated[0]}/ratings", limit=1, cursor=first["next_cursor"])
    assert [item["display_name"] for item in second["items"]] == ["Rater 8"]


def test_no_cursor_says_who_rated_in_private(api: Api, rated: tuple[str, list[User]]) -> None:
    """Nor what, nor when: the cursor of a page that ends with a private rater is sealed."""
    movie_id, users = rated
    for sort in ("newest", "score"):
        cursor: dict[str, Any] = {}
        for _ in users:
            page = api.get(f"/v1/movies/{movie_id}/ratings", sort=sort, limit=1, **cursor)
            shown = page.text + page.headers.get("link", "")
            cursor = {"cursor": page.json()["next_cursor"] or ""}
            opened = base64.urlsafe_b64decode(cursor["cursor"] + "===")
            for user in users[1::2]:
                assert user.user_id not in shown
                assert UUID(user.user_id).bytes not in opened
                assert UUID(user.user_id).bytes.hex() not in opened.hex()
            if not cursor["cursor"]:
                break


def test_a_cursor_is_of_one_list_alone(api: Api, ann: User, rated: tuple[str, list[User]]) -> None:
    """Every list gives one, and every other list and order refuses it."""
    movie_id, users = rated
    other = api.movie("The Sacrifice")
    for user in users[:4]:
        api.rate(user, other, 4.0)
        api.rate(user, movie_id, 4.0, rated_at="2024-01-01T00:00:00Z")
    lists: list[tuple[str, dict[str, Any]]] = [
        *(("/v1/movies", {"sort": sort}) for sort in ("weighted", "title", "newest")),
        ("/v1/movies", {"q": "s"}),
        (f"/v1/users/{users[0].user_id}/ratings", {"sort": "newest"}),
    ]
    for sort in ("newest", "score"):
        lists += [
            (f"/v1/movies/{movie_id}/ratings", {"sort": sort}),
            (f"/v1/movies/{other}/ratings", {"sort": sort}),
            (f"/v1/users/{ann.user_id}/ratings", {"sort": sort}),
        ]
    cursors = [api.read(path, limit=1, **order)["next_cursor"] for path, order in lists]
    assert all(cursors)
    for place, (path, order) in enumerate(lists):
        for given, cursor in enumerate(cursors):
            answer = api.get(path, limit=1, cursor=cursor, **order)
            assert answer.status_code == (200 if given == place else 422), (path, order)
        cursor = cursors[place]
        changed = cursor[:9] + ("A" if cursor[9] != "A" else "B") + cursor[10:]
        assert api.get(path, cursor=changed, **order).status_code == 422


def test_every_documented_answer_has_an_example(api: Api) -> None:
    paths = api.query.get("/openapi.json").json()["paths"]
    assert "/v1/users/me" in paths
    for path, methods in paths.items():
        for method, operation in methods.items():
            (content,) = operation["responses"]["200"]["content"].values()
            assert content["example"], (method, path)


def test_what_is_found_is_asked_about_and_what_is_not_is_not_kept(api: Api, ann: User) -> None:
    profile = f"/v1/users/{ann.user_id}"
    found = {
        path: api.get(path, ann).headers["Cache-Control"] for path in ("/v1/users/me", profile)
    }
    assert found == {"/v1/users/me": "private, no-cache", profile: "no-cache"}
    ahead = api.query.get(profile, headers={AT_LEAST: str(api.position + 1_000)})
    missing = api.get("/v1/movies/01a20a3c-c0ff-7c1d-a50f-874aed4ed724")
    assert (ahead.status_code, missing.status_code) == (503, 404)
    for answer in (ahead, missing, api.get("/v1/movies", sort="nonsense")):
        assert answer.headers["Cache-Control"] == "no-store"
