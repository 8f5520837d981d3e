"""The tag of a read is a condition of a command, on movies, ratings and profiles."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.support.api import AT_LEAST, Api, User

GZIP = {"Accept-Encoding": "gzip"}


@pytest.fixture
def ann(api: Api) -> User:
    return api.sign_up()


def _tag(api: Api, path: str, **headers: str) -> str:
    """The tag of a read that has seen every command so far."""
    answer = api.query.get(path, headers={AT_LEAST: str(api.position), **headers})
    assert answer.status_code == 200, answer.text
    return str(answer.headers["etag"])


def _patch_movie(api: Api, movie: str, if_match: str, **changes: Any) -> httpx.Response:
    headers = {**api.service, "If-Match": if_match}
    return api.note(api.command.patch(f"/v1/movies/{movie}", json=changes, headers=headers))


def _rate(api: Api, user: User, movie: str, score: float, if_match: str) -> httpx.Response:
    headers = {**user.headers, "If-Match": if_match}
    path = f"/v1/movies/{movie}/rating"
    return api.note(api.command.put(path, json={"score": score}, headers=headers))


class TestMovies:
    def test_what_a_read_gave_is_taken_once(self, api: Api, ann: User) -> None:
        movie = api.movie(description="x" * 5_000)
        path = f"/v1/movies/{movie}"
        tag = _tag(api, path)
        api.rate(ann, movie, 4)
        changed = _patch_movie(api, movie, tag, year=1980)
        assert changed.status_code == 204, "a rating since then is no other version of the movie"
        assert _patch_movie(api, movie, tag, year=1981).status_code == 412
        zipped = _tag(api, path, **GZIP)
        assert zipped.endswith('-gzip"')
        assert _patch_movie(api, movie, f'"1", {zipped}', year=1981).status_code == 204

    def test_what_a_command_gave_is_taken_too(self, api: Api) -> None:
        made = api.post("/v1/movies", {"title": "Mirror", "year": 1975}, api.service)
        movie = made.json()["movie_id"]
        changed = _patch_movie(api, movie, made.headers["etag"], year=1974)
        again = _patch_movie(api, movie, changed.headers["etag"], year=1975)
        assert (changed.status_code, again.status_code) == (204, 204)
        assert _tag(api, f"/v1/movies/{movie}").startswith(again.headers["etag"][:-1] + "-")

    def test_weak_tags_match_nothing_and_a_star_whatever_there_is(self, api: Api) -> None:
        movie = api.movie()
        assert _patch_movie(api, movie, 'W/"1"', year=1980).status_code == 412
        assert _patch_movie(api, movie, "*", year=1980).status_code == 204

    def test_what_is_no_tag_is_a_400(self, api: Api, ann: User) -> None:
        movie = api.movie()
        for answer in (
            _patch_movie(api, movie, "1", year=1980),
            _rate(api, ann, movie, 4, '"1'),
            api.command.patch(
                "/v1/users/me",
                json={"display_name": "A"},
                headers={**ann.headers, "If-Match": '*, "1"'},
            ),
        ):
            assert answer.status_code == 400
            assert answer.json()["type"] == "urn:starfold:problem:malformed-header"
            assert answer.json()["errors"][0]["pointer"] == "/header/if-match"

    def test_tags_on_several_lines_are_one_list(self, api: Api) -> None:
        path, headers = f"/v1/movies/{api.movie()}", list(api.service.items())
        for tags, status in ((('"7"', '"8"'), 412), (('"7"', '"1"'), 204)):
            lines = [("If-Match", tag) for tag in tags]
            body = {"year": 1980}
            answer = api.command.patch(path, json=body, headers=[*headers, *lines])
            assert answer.status_code == status

    def test_a_correction_needs_a_condition(self, api: Api) -> None:
        movie = api.movie()
        refused = api.command.patch(f"/v1/movies/{movie}", json={"year": 1}, headers=api.service)
        assert refused.status_code in (422, 428)
        refused = api.command.patch(f"/v1/movies/{movie}", json={"year": 1999}, headers=api.service)
        assert refused.status_code == 428


class TestRatings:
    def test_what_a_read_gave_is_taken_once(self, api: Api, ann: User) -> None:
        movie = api.movie()
        rated = api.rate(ann, movie, 4, review="Slow.")
        path = f"/v1/users/{ann.user_id}/ratings/{movie}"
        tag = _tag(api, path)
        assert tag.startswith(rated.headers["etag"][:-1] + "-")
        changed = _rate(api, ann, movie, 4.5, tag)
        assert changed.status_code == 200
        assert _rate(api, ann, movie, 5, tag).status_code == 412
        assert _rate(api, ann, movie, 5, changed.headers["etag"]).status_code == 200

    def test_an_unchanged_rating_has_the_same_tag(self, api: Api, ann: User) -> None:
        movie = api.movie()
        first = api.rate(ann, movie, 4)
        assert api.rate(ann, movie, 4).headers["etag"] == first.headers["etag"]

    def test_without_a_rating_no_condition_holds(self, api: Api, ann: User) -> None:
        movie = api.movie()
        for if_match in ("*", '"1"'):
            assert _rate(api, ann, movie, 4, if_match).status_code == 412
        headers = {**ann.headers, "If-Match": "*"}
        path = f"/v1/movies/{movie}/rating"
        assert api.command.delete(path, headers=headers).status_code == 412

    def test_a_withdrawal_takes_a_condition(self, api: Api, ann: User) -> None:
        movie = api.movie()
        first = api.rate(ann, movie, 4).headers["etag"]
        second = api.rate(ann, movie, 3).headers["etag"]
        path = f"/v1/movies/{movie}/rating"
        for tag, status in ((first, 412), (second, 204)):
            headers = {**ann.headers, "If-Match": tag}
            assert api.command.delete(path, headers=headers).status_code == status


class TestProfiles:
    @pytest.mark.parametrize("own", [False, True])
    def test_what_a_read_gave_is_taken_once(self, api: Api, own: bool) -> None:
        user = api.sign_up()
        path = "/v1/users/me" if own else f"/v1/users/{user.user_id}"
        tag = _tag(api, path, **user.headers)

        def rename(name: str, if_match: str) -> httpx.Response:
            headers = {**user.headers, "If-Match": if_match}
            body = {"display_name": name}
            return api.note(api.command.patch("/v1/users/me", json=body, headers=headers))

        changed = rename("Anna", tag)
        assert changed.status_code == 204
        assert rename("Annie", tag).status_code == 412
        assert rename("Annie", changed.headers["etag"]).status_code == 204


class TestErasures:
    @pytest.mark.parametrize("own", [False, True])
    def test_a_user_is_erased_as_they_were_seen(self, api: Api, own: bool) -> None:
        user = api.sign_up()
        tag = _tag(api, f"/v1/users/{user.user_id}")
        body = {"display_name": "Anna"}
        renamed = api.command.patch("/v1/users/me", json=body, headers=user.headers)
        path, caller = (
            ("/v1/users/me", user.headers) if own else (f"/v1/users/{user.user_id}", api.service)
        )
        for condition, status in ((tag, 412), (renamed.headers["etag"], 204)):
            headers = {**caller, "If-Match": condition}
            assert api.command.delete(path, headers=headers).status_code == status


class TestLocations:
    """Where the query API serves what a command created."""

    def test_of_a_movie_a_user_and_a_rating(self, api: Api, ann: User) -> None:
        body = {"title": "Nostalghia", "year": 1983, "external_id": "test:nostalghia"}
        made = api.note(api.post("/v1/movies", body, api.service))
        movie = made.json()["movie_id"]
        signed_up = api.note(
            api.post(
                "/v1/users",
                {"email": "loc@example.org", "password": "a long pass phrase", "display_name": "L"},
            )
        )
        rated = api.note(api.post("/v1/ratings", {"movie_id": movie, "score": 4}, ann.headers))
        put = api.rate(ann, api.movie(), 4)
        for created in (made, signed_up, rated, put):
            assert created.status_code == 201, created.text
            read = api.query.get(created.headers["location"], headers={AT_LEAST: str(api.position)})
            assert read.status_code == 200
        repeats = api.post("/v1/movies", body, api.service), api.rate(ann, movie, 4)
        for repeat in repeats:
            assert repeat.status_code == 200
            assert "location" not in repeat.headers


def test_an_answer_without_content_has_no_type_of_it(api: Api, ann: User) -> None:
    for answer in (
        api.command.delete(f"/v1/movies/{api.movie()}/rating", headers=ann.headers),
        api.command.patch("/v1/users/me", json={"display_name": "A"}, headers=ann.headers),
    ):
        assert answer.status_code == 204
        assert not {"content-type", "content-length"} & set(answer.headers)
