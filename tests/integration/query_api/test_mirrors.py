"""A mirror that follows the order of change has what the catalogue, or a user, has."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.api import Api, User
from tests.support.system import eventually


class Mirror:
    """A copy of the catalogue, kept by pages from the position that it has reached."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self.since = 0
        self.movies: dict[str, dict[str, Any]] = {}
        self.left: dict[str, str | None] = {}

    def follow(self, limit: int = 3) -> int:
        """Read pages until one is empty; return the number of items."""
        read = 0
        while items := self._api.read("/v1/movies", changed_since=self.since, limit=limit)["items"]:
            positions = [self.since, *(item["position"] for item in items)]
            assert positions == sorted(set(positions))
            for item in items:
                self._take(item)
            self.since = positions[-1]
            read += len(items)
        return read

    def _take(self, item: dict[str, Any]) -> None:
        del item["position"]
        if "left" in item:
            self.movies.pop(item["movie_id"], None)
            self.left[item["movie_id"]] = item["into"]
        else:
            self.movies[item["movie_id"]] = item


def all_movies(api: Api) -> dict[str, dict[str, Any]]:
    movies: dict[str, dict[str, Any]] = {}
    cursor: dict[str, Any] = {}
    while True:
        page = api.read("/v1/movies", sort="title", limit=100, **cursor)
        movies |= {item["movie_id"]: item for item in page["items"]}
        if page["next_cursor"] is None:
            return movies
        cursor = {"cursor": page["next_cursor"]}


@pytest.fixture
def ann(api: Api) -> User:
    return api.sign_up()


def test_a_mirror_follows_ratings_corrections_merges_and_withdrawals(api: Api, ann: User) -> None:
    mirror = Mirror(api)
    old, kept, gone, other = (api.movie(f"Mirrored {n}") for n in range(4))
    api.rate(ann, old, 4)
    mirror.follow()
    assert mirror.movies == all_movies(api)
    assert mirror.follow() == 0
    api.rate(ann, other, 2)
    api.rate(ann, other, 3)
    assert mirror.follow() == 1
    api.withdraw(ann, other)
    headers = api.service | {"If-Match": "*"}
    change = api.command.patch(f"/v1/movies/{kept}", json={"year": 1991}, headers=headers)
    api.expect(204, change)
    api.expect(202, api.post(f"/v1/movies/{old}/merge", {"into": kept}, api.service))
    api.expect(204, api.command.delete(f"/v1/movies/{gone}", headers=api.service))
    mirror.follow()
    assert mirror.left.items() >= {(old, kept), (gone, None)}
    seen = all_movies(api)
    mirror.follow()
    assert mirror.movies.keys() == seen.keys()


def test_a_mirror_under_load_loses_no_change(api: Api) -> None:
    users = [api.sign_up() for _ in range(4)]
    movies = [api.movie(f"Loaded {n}") for n in range(30)]
    mirror = Mirror(api)

    def rate(user: User) -> None:
        for number, movie_id in enumerate(movies * 3):
            answer = api.rate(user, movie_id, (number % 10 + 1) / 2)
            assert answer.status_code in (200, 201)

    with ThreadPoolExecutor(len(users)) as raters:
        rating = [raters.submit(rate, user) for user in users]
        while not all(one.done() for one in rating):
            mirror.follow(limit=5)
        for one in rating:
            one.result()
    mirror.follow()
    assert mirror.movies == all_movies(api)


def test_a_page_ends_with_a_cursor_that_leads_to_the_next(api: Api) -> None:
    for number in range(3):
        api.movie(f"Paged {number}")
    whole = api.read("/v1/movies", changed_since=0, limit=100)["items"]
    first = api.read("/v1/movies", changed_since=0, limit=2)
    cursor = first["next_cursor"]
    second = api.read("/v1/movies", changed_since=0, limit=2, cursor=cursor)
    assert first["items"] + second["items"] == whole[:4]


@pytest.mark.parametrize("more", [{"sort": "title"}, {"genre": "Drama"}, {"ids": "x"}], ids=str)
def test_no_order_or_filter_is_taken_beside_a_position(api: Api, more: dict[str, Any]) -> None:
    answer = api.get("/v1/movies", changed_since=0, **more)
    assert answer.status_code == 422
    for since in ("-1", "1.0", "x"):
        assert api.get("/v1/movies", changed_since=since).status_code == 422


class RatingsMirror:
    """A copy of a user's ratings, kept by pages from the position that it has reached."""

    def __init__(self, api: Api, user: User) -> None:
        self._api = api
        self._path = f"/v1/users/{user.user_id}/ratings"
        self.since = 0
        self.ratings: dict[str, tuple[float, str | None]] = {}
        self.withdrawn: set[str] = set()

    def follow(self, limit: int = 2) -> int:
        """Read pages until one is empty; return the number of items."""
        read = 0
        while items := self._api.read(self._path, changed_since=self.since, limit=limit)["items"]:
            positions = [self.since, *(item["position"] for item in items)]
            assert positions == sorted(set(positions))
            assert len(items) <= limit
            for item in items:
                movie_id = item["movie_id"]
                if "withdrawn" in item:
                    self.ratings.pop(movie_id, None)
                    self.withdrawn.add(movie_id)
                else:
                    self.ratings[movie_id] = item["score"], item["review"]
            self.since = positions[-1]
            read += len(items)
        return read

    def listed(self) -> dict[str, tuple[float, str | None]]:
        items = self._api.read(self._path, limit=100)["items"]
        return {item["movie_id"]: (item["score"], item["review"]) for item in items}


def test_a_mirror_of_a_users_ratings_follows_changes_withdrawals_and_merges(
    api: Api, ann: User
) -> None:
    mirror = RatingsMirror(api, ann)
    movies = [api.movie(f"Rated {n}") for n in range(5)]
    assert mirror.follow() == 0
    for movie_id in movies:
        api.rate(ann, movie_id, 3, review="Rain")
    assert mirror.follow() == 5
    api.rate(ann, movies[0], 4)
    api.withdraw(ann, movies[1])
    assert mirror.follow() == 2
    assert mirror.withdrawn == {movies[1]}
    api.rate(ann, movies[1], 2)
    api.expect(202, api.post(f"/v1/movies/{movies[2]}/merge", {"into": movies[3]}, api.service))
    api.expect(202, api.post(f"/v1/movies/{movies[4]}/merge", {"into": api.movie()}, api.service))

    def moved() -> bool:
        mirror.follow()
        return mirror.withdrawn == {movies[1], movies[2], movies[4]}

    eventually(moved)
    eventually(lambda: mirror.follow() == 0 and len(mirror.ratings) == 4)
    assert mirror.ratings == mirror.listed()
    late = RatingsMirror(api, ann)
    late.follow(limit=100)
    assert late.ratings == mirror.ratings


def test_a_mirror_equals_the_list_after_any_changes(api: Api, ann: User) -> None:
    drawn = random.Random(18)
    movies = [api.movie(f"Drawn {n}") for n in range(12)]
    mirror = RatingsMirror(api, ann)
    for _ in range(120):
        movie_id = drawn.choice(movies)
        if drawn.random() < 0.3:
            api.withdraw(ann, movie_id)
        else:
            review = drawn.choice([None, "Once", "Twice"])
            api.rate(ann, movie_id, drawn.randint(1, 10) / 2, review=review)
        if drawn.random() < 0.2:
            mirror.follow(limit=drawn.randint(1, 3))
    mirror.follow()
    assert mirror.ratings == mirror.listed()


def test_pages_of_changed_ratings_lead_to_the_next_and_take_no_order(api: Api, ann: User) -> None:
    path = f"/v1/users/{ann.user_id}/ratings"
    for number in range(3):
        api.rate(ann, api.movie(f"Turned {number}"), 3)
    whole = api.read(path, changed_since=0)
    first = api.read(path, changed_since=0, limit=2)
    second = api.read(path, changed_since=0, limit=2, cursor=first["next_cursor"])
    assert first["items"] + second["items"] == whole["items"]
    assert (whole["next_cursor"], second["next_cursor"]) == (None, None)
    assert api.get(path, changed_since=0, sort="newest").status_code == 422
    assert api.get(path, changed_since=0, count="true").status_code == 422


def test_changed_ratings_are_shown_to_whom_the_list_is_and_not_of_an_erased_user(
    api: Api, ann: User
) -> None:
    path = f"/v1/users/{ann.user_id}/ratings"
    api.rate(ann, api.movie(), 3)
    private = {"visibility": "private"}
    api.note(api.command.patch("/v1/users/me", json=private, headers=ann.headers))
    assert api.get(path, changed_since=0).status_code == 404
    assert len(api.read(path, ann, changed_since=0)["items"]) == 1
    public = {"visibility": "public"}
    api.note(api.command.patch("/v1/users/me", json=public, headers=ann.headers))
    assert len(api.read(path, changed_since=0)["items"]) == 1
    api.note(api.command.delete("/v1/users/me", headers=ann.headers))
    assert len(api.read(path)["items"]) == 1
    assert api.get(path, changed_since=0).status_code == 404
