"""Bad input is refused with its reason: what went wrong in an earlier service."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.api import Api, User, problem

SOMEBODY = "01900000-0000-7000-8000-000000000000"


@pytest.mark.parametrize("sort", ["title; DROP TABLE events", "-title", "", "popularity"])
def test_an_unknown_order_is_refused(api: Api, sort: str) -> None:
    assert problem(api.get("/v1/movies", sort=sort))["status"] == 422


@pytest.mark.parametrize("limit", ["0", "-1", "101", "many", "1e3"])
def test_a_limit_out_of_range_is_refused(api: Api, limit: str) -> None:
    assert problem(api.get("/v1/movies", limit=limit))["status"] == 422


@pytest.mark.parametrize("cursor", ["x", "gA", "////", "a" * 5_000, "\0", "kqV0aXRsZZA"])
def test_a_forged_cursor_is_refused(api: Api, cursor: str) -> None:
    assert problem(api.get("/v1/movies", cursor=cursor, sort="title"))["status"] == 422


def test_what_does_not_exist_is_a_404(api: Api) -> None:
    ann, movie_id = api.sign_up(), api.movie()
    for path in (
        f"/v1/movies/{SOMEBODY}",
        f"/v1/users/{SOMEBODY}",
        f"/v1/movies/{SOMEBODY}/ratings",
        f"/v1/users/{ann.user_id}/ratings/{movie_id}",
        "/v1/nothing",
    ):
        assert problem(api.get(path))["status"] == 404
    assert problem(api.rate(ann, SOMEBODY, 3))["status"] == 404
    assert problem(api.get("/v1/movies/17"))["status"] == 422


@pytest.mark.parametrize("score", [3.3, 0, 5.5, -1, "5", None, True, 1e300, [5], {}])
def test_a_score_is_half_a_star_to_five(api: Api, score: Any) -> None:
    ann, movie_id = api.sign_up(), api.movie()
    answer = problem(api.rate(ann, movie_id, score))
    assert answer["status"] == 422
    assert answer["errors"][0]["pointer"] == "/score"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("title", value) for value in ("", " ", "x" * 301, "a\0b", 7, None)),
        *(("year", value) for value in (1887, 2100, "1979", 1979.5, None, 10**30)),
        *(("runtime_min", value) for value in (0, -5, 10**9, "90")),
        *(("genres", value) for value in ("Drama", [""], ["x" * 101], ["x"] * 101)),
        *(("description", value) for value in ("x" * 5_001, "a\0b")),
        *(("poster_url", value) for value in ("javascript:alert(1)", "x")),
        *(("imdb_id", value) for value in ("111", "tt", "tt1 OR 1=1")),
        ("colour", "red"),
    ],
)
def test_a_movie_out_of_its_limits_is_refused(api: Api, field: str, value: Any) -> None:
    body = {"title": "Mirror", "year": 1975} | {field: value}
    answer = problem(api.post("/v1/movies", body, api.service))
    assert answer["status"] == 422
    assert answer["errors"][0]["pointer"].startswith(f"/{field}")


@pytest.mark.parametrize("review", ["x" * 10_001, "nul\0byte", 5])
def test_a_review_has_limits(api: Api, review: Any) -> None:
    ann, movie_id = api.sign_up(), api.movie()
    assert problem(api.rate(ann, movie_id, 3, review=review))["status"] == 422


def test_a_title_of_300_characters_and_a_review_of_10_000_are_kept(api: Api) -> None:
    ann, movie_id = api.sign_up(), api.movie("ö" * 300)
    assert api.rate(ann, movie_id, 3, review="ü" * 10_000).status_code == 201
    rating = api.read(f"/v1/users/{ann.user_id}/ratings/{movie_id}")
    assert (rating["title"], rating["review"]) == ("ö" * 300, "ü" * 10_000)


def test_a_rating_from_the_future_is_refused(api: Api) -> None:
    ann, movie_id = api.sign_up(), api.movie()
    answer = problem(api.rate(ann, movie_id, 3, rated_at="2999-01-01T00:00:00Z"))
    assert (answer["status"], answer["errors"][0]["pointer"]) == (422, "/rated_at")


@pytest.mark.parametrize(
    "body", [b"", b"{", b"null", b"[]", b'"x"', b"\xff\xfe", b'{"score": 5', b"[" * 100_000]
)
def test_malformed_json_is_refused(api: Api, body: bytes) -> None:
    ann, movie_id = api.sign_up(), api.movie()
    headers = {"content-type": "application/json"} | ann.headers
    answer = api.command.put(f"/v1/movies/{movie_id}/rating", content=body, headers=headers)
    assert problem(answer)["status"] in (400, 422)


def test_a_huge_body_is_a_413(api: Api) -> None:
    ann, movie_id = api.sign_up(), api.movie()
    answer = api.rate(ann, movie_id, 3, review="x" * 10_000_000)
    assert problem(answer)["status"] == 413


@pytest.mark.parametrize(
    "credential", ["Bearer", "Bearer x", "Bearer a.b.c", "Basic eDp5", "sfk_1", "Bearer sfk_zz"]
)
def test_a_forged_credential_is_a_401(api: Api, credential: str) -> None:
    movie_id = api.movie()
    headers = {"Authorization": credential}
    for answer in (
        api.command.put(f"/v1/movies/{movie_id}/rating", json={"score": 5}, headers=headers),
        api.query.get("/v1/users/me", headers=headers),
    ):
        assert problem(answer)["status"] == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_token_whose_signature_was_changed_is_a_401(api: Api) -> None:
    ann, movie_id = api.sign_up(), api.movie()
    head, payload, signature = ann.token.split(".")
    forged = User(ann.user_id, ann.email, f"{head}.{payload}.{signature[::-1]}")
    assert problem(api.rate(forged, movie_id, 5))["status"] == 401


def test_nothing_refused_was_written(api: Api) -> None:
    before = api.command.get("/ready").json()["position"]
    api.post("/v1/users", {"email": "x"})
    api.post("/v1/movies", {"title": ""}, api.service)
    api.post("/v1/ratings/batch", {"ratings": [{}, 7, None, {"score": 9}]}, api.service)
    assert api.command.get("/ready").json()["position"] == before
