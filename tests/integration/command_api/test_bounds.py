"""Bodies as large as they may be, and one byte larger."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from command_api.bodies.bounded_json import MEMBERS_MAX
from command_api.bodies.models import ACCOUNT_BYTES_MAX, MOVIE_BYTES_MAX, RATING_BYTES_MAX
from shared.web.problems import VALIDATION_ERRORS_MAX
from tests.support.api import Api

NOBODY = "00000000-0000-0000-0000-000000000007"
ACCOUNT_ROUTES = [
    ("POST", "/v1/users"),
    ("PATCH", "/v1/users/me"),
    ("PUT", "/v1/users/me/password"),
    ("PUT", f"/v1/users/{NOBODY}/role"),
    ("POST", "/v1/sessions"),
    ("POST", "/v1/sessions/refresh"),
]
OTHER_ROUTES = [
    ("POST", "/v1/ratings", RATING_BYTES_MAX),
    ("PUT", f"/v1/movies/{NOBODY}/rating", RATING_BYTES_MAX),
    ("POST", "/v1/movies", MOVIE_BYTES_MAX),
    ("PATCH", f"/v1/movies/{NOBODY}", MOVIE_BYTES_MAX),
]


def send(
    api: Api, method: str, path: str, body: bytes, headers: dict[str, str] | None = None
) -> httpx.Response:
    headers = {"Content-Type": "application/json", **(headers or {})}
    return api.command.request(method, path, content=body, headers=headers)


def kind(answer: httpx.Response) -> Any:
    return answer.json()["type"].rpartition(":")[2]


@pytest.mark.parametrize(
    ("method", "path", "bytes_max"),
    [*((method, path, ACCOUNT_BYTES_MAX) for method, path in ACCOUNT_ROUTES), *OTHER_ROUTES],
)
def test_a_body_has_so_many_bytes(api: Api, method: str, path: str, bytes_max: int) -> None:
    """Whether it says how many, or comes in chunks."""
    ann = api.sign_up()
    largest = b"{}".ljust(bytes_max)
    assert send(api, method, path, largest, ann.headers).status_code not in (400, 413)
    answer = send(api, method, path, largest + b" ", ann.headers)
    assert (answer.status_code, kind(answer)) == (413, "too-large")
    headers = {"Content-Type": "application/json"} | ann.headers
    chunked = api.command.request(method, path, content=iter([largest, b" "]), headers=headers)
    assert chunked.status_code == 413


@pytest.mark.parametrize(
    ("method", "path"),
    [*ACCOUNT_ROUTES, *((method, path) for method, path, _ in OTHER_ROUTES)],
)
def test_unknown_names_are_counted_before_they_are_reported(
    api: Api, method: str, path: str
) -> None:
    ann = api.sign_up()
    for count in (MEMBERS_MAX, MEMBERS_MAX + 1, 1_000):
        names = b",".join(b'"%d%s":1' % (n, b"" if n else b"x" * 1_000) for n in range(count))
        answer = send(api, method, path, b"{%s}" % names, ann.headers)
        assert len(answer.content) < 8_192
        if answer.status_code == 422:
            listed = len(answer.json().get("errors", []))
            assert listed == (VALIDATION_ERRORS_MAX if count <= MEMBERS_MAX else 0)
        else:
            assert answer.status_code in (401, 403)


def test_the_errors_that_are_not_listed_are_counted(api: Api) -> None:
    names = b",".join(b'"%d":1' % n for n in range(MEMBERS_MAX))
    answer = send(api, "POST", "/v1/sessions/refresh", b"{%s}" % names)
    assert answer.json()["detail"].endswith(f"the first 20 errors of {MEMBERS_MAX + 1}")


@pytest.mark.parametrize("body", [b"[" * 8_000, b"[" * 8_000 + b"]" * 8_000])
def test_depth_is_no_error_of_the_server(api: Api, body: bytes) -> None:
    ann, movie_id = api.sign_up(), api.movie()
    for method, path in (
        ("POST", "/v1/sessions"),
        ("PUT", f"/v1/movies/{movie_id}/rating"),
        ("POST", "/v1/ratings/batch"),
        ("POST", "/v1/movies/batch"),
    ):
        assert send(api, method, path, body, ann.headers).status_code in (400, 401, 403, 422)
