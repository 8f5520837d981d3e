"""Requests that rate a movie: what a body and a key may be."""

from __future__ import annotations

import httpx
import pytest

from tests.support.api import Api, User


def put(
    api: Api,
    user: User,
    body: bytes,
    movie_id: str,
    *,
    content_type: str = "application/json",
    key: str | None = None,
) -> httpx.Response:
    headers = {"Content-Type": content_type} | user.headers
    if key is not None:
        headers["Idempotency-Key"] = key
    return api.command.put(f"/v1/movies/{movie_id}/rating", content=body, headers=headers)


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "application/v.x+json"]
)
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"score": 4.5}', 201),
        (b'{"score": 4}', 201),
        (b'{"score": 4.5, "review": null, "rated_at": "2026-01-01T00:00:00Z"}', 201),
        (b'{"score": 3.3}', 422),
        (b'{"score": "4"}', 422),
        (b'{"score": true}', 422),
        (b'{"score": 4, "user_id": "x"}', 422),
        (b'{"review": "x"}', 422),
        (b"{}", 422),
        (b"[]", 422),
        (b"null", 422),
        (b"{", 400),
        (b"", 422),
    ],
)
def test_a_body_is_the_same_by_every_name_of_json(
    api: Api, body: bytes, status: int, content_type: str
) -> None:
    ann = api.sign_up()
    usual = put(api, ann, body, api.movie())
    other = put(api, ann, body, api.movie(), content_type=content_type)
    assert (usual.status_code, other.status_code) == (status, status)
    if status >= 400:
        assert usual.content == other.content


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded"])
def test_a_body_of_another_type_is_415(api: Api, content_type: str) -> None:
    answer = put(api, api.sign_up(), b'{"score": 4}', api.movie(), content_type=content_type)
    assert answer.status_code == 415
    assert "application/json" in answer.json()["detail"]


def test_a_first_rating_is_created_and_the_same_again_is_not(api: Api) -> None:
    ann, movie_id = api.sign_up(), api.movie()
    first, again = (put(api, ann, b'{"score": 4.5}', movie_id) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.headers["Starfold-Position"] == again.headers["Starfold-Position"]
    assert "RateLimit" in first.headers
    assert first.headers["X-Content-Type-Options"] == "nosniff"


def test_a_body_that_is_too_large_is_refused_and_one_of_no_size_is_taken(api: Api) -> None:
    ann, movie_id = api.sign_up(), api.movie()
    path = f"/v1/movies/{movie_id}/rating"
    headers = {"Content-Type": "application/json"} | ann.headers
    large = api.command.put(path, content=b" " * 300_000, headers=headers)
    assert large.status_code == 413
    streamed = api.command.put(path, content=iter([b" " * 200_000] * 3), headers=headers)
    assert streamed.status_code == 413
    chunked = api.command.put(path, content=iter([b'{"score"', b": 2}"]), headers=headers)
    assert chunked.status_code == 201


def test_a_key_gets_its_first_answer_whatever_came_between(api: Api) -> None:
    ann, movie_id = api.sign_up(), api.movie()
    key = "of-one-rating"
    first = put(api, ann, b'{"score": 4.5}', movie_id, key=key)
    put(api, ann, b'{"score": 2}', movie_id)
    again = put(api, ann, b'{"score": 4.5}', movie_id, key=key)
    other = put(api, ann, b'{"score": 3}', movie_id, key=key)
    assert (first.status_code, again.status_code, other.status_code) == (201, 201, 422)
    assert first.headers["Starfold-Position"] == again.headers["Starfold-Position"]


def test_without_a_believed_credential_nothing_is_read_of_the_body(api: Api) -> None:
    movie_id = api.movie()
    for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": "Basic x"}):
        answer = api.command.put(
            f"/v1/movies/{movie_id}/rating",
            content=b"{",
            headers={"Content-Type": "application/json", **headers},
        )
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.headers["RateLimit"].startswith('"anonymous"')
