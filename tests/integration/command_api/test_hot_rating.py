"""A rating answered ahead of the framework is answered as the route answers."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.support.api import Api, User

# The framework parses a body before it knows the caller, whose limit it then does not state.
VARYING = {
    *("date", "x-request-id", "starfold-position", "content-length"),
    *("ratelimit", "ratelimit-policy"),
}


def put(
    api: Api, user: User, body: bytes, movie_id: str, *, ahead: bool, key: str | None = None
) -> httpx.Response:
    """Ahead of the framework or by the route: the content type makes the difference."""
    kind = "application/json" if ahead else "application/vnd.x+json"
    headers = {"Content-Type": kind} | user.headers
    if key is not None:
        headers["Idempotency-Key"] = key
    return api.command.put(f"/v1/movies/{movie_id}/rating", content=body, headers=headers)


@pytest.mark.parametrize(
    "body",
    [
        b'{"score": 4.5}',
        b'{"score": 4.5, "review": null, "rated_at": "2026-01-01T00:00:00Z"}',
        b'{"score": 3.3}',
        b'{"score": "4"}',
        b'{"score": 4, "user_id": "x"}',
        b'{"review": "x"}',
        b"{}",
        b"[]",
        b"null",
        b"{",
        b"",
    ],
)
def test_both_ways_give_the_same_answer(api: Api, body: bytes) -> None:
    ann = api.sign_up()
    ahead, routed = (put(api, ann, body, api.movie(), ahead=way) for way in (True, False))
    assert ahead.status_code in (201, 400, 422)
    assert _shape(ahead) == _shape(routed)


def _shape(answer: httpx.Response) -> tuple[int, Any, dict[str, str]]:
    headers = {k: v for k, v in answer.headers.items() if k not in VARYING}
    body = answer.json()
    return answer.status_code, (body.get("type"), body.get("status")), headers


def test_a_first_rating_is_created_and_the_same_again_is_not(api: Api) -> None:
    ann, movie_id = api.sign_up(), api.movie()
    first, again = (
        put(api, ann, b'{"score": 4.5}', movie_id, ahead=ahead) for ahead in (True, False)
    )
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.headers["Starfold-Position"] == again.headers["Starfold-Position"]
    assert "RateLimit" in first.headers
    assert first.headers["X-Content-Type-Options"] == "nosniff"


def test_a_body_that_is_too_large_or_of_no_size_is_the_applications(api: Api) -> None:
    ann, movie_id = api.sign_up(), api.movie()
    path = f"/v1/movies/{movie_id}/rating"
    headers = {"Content-Type": "application/json"} | ann.headers
    large = api.command.put(path, content=b" " * 300_000, headers=headers)
    assert large.status_code == 413
    chunked = api.command.put(path, content=iter([b'{"score"', b": 2}"]), headers=headers)
    assert chunked.status_code == 201


@pytest.mark.parametrize("first_ahead", [True, False])
def test_a_key_means_the_same_on_both_ways(api: Api, *, first_ahead: bool) -> None:
    ann, movie_id = api.sign_up(), api.movie()
    key = f"both-ways-{first_ahead}"
    first = put(api, ann, b'{"score": 4.5}', movie_id, ahead=first_ahead, key=key)
    put(api, ann, b'{"score": 2}', movie_id, ahead=True)
    again = put(api, ann, b'{"score": 4.5}', movie_id, ahead=not first_ahead, key=key)
    other = put(api, ann, b'{"score": 3}', movie_id, ahead=not first_ahead, key=key)
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
