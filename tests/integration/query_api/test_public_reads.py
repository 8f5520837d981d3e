"""What anybody may read is the same with a credential and without."""

from __future__ import annotations

import pytest

from tests.support.api import AT_LEAST, Api

# The caller is charged, or else the address.
VARYING = {"date", "x-request-id", "ratelimit", "ratelimit-policy"}


@pytest.mark.parametrize("room", ["movies", "users"])
def test_a_movie_and_a_profile_are_the_same_to_everybody(api: Api, room: str) -> None:
    ann, movie_id = api.sign_up(), api.movie()
    api.rate(ann, movie_id, 4.5)
    path = f"/v1/movies/{movie_id}" if room == "movies" else f"/v1/users/{ann.user_id}"
    public, own = api.get(path), api.get(path, ann)
    assert public.content == own.content
    assert public.json()["ratings"]["average"] == 4.5
    headers = [
        {name: value for name, value in answer.headers.items() if name not in VARYING}
        for answer in (public, own)
    ]
    assert headers[0] == headers[1]
    for credential in ({}, ann.headers):
        tag = public.headers["ETag"]
        for known in (tag, f'"x", {tag}', f"W/{tag}", "*"):
            answer = api.query.get(path, headers={"If-None-Match": known} | credential)
            assert (answer.status_code, answer.content) == (304, b""), known
            assert answer.headers["ETag"] == tag
        for other in ('"x"', f'"x{tag[1:]}', "x", ""):
            answer = api.query.get(path, headers={"If-None-Match": other} | credential)
            assert (answer.status_code, answer.content) == (200, public.content), other


def test_a_private_profile_is_nobody_to_others(api: Api) -> None:
    ann, ben = api.sign_up(), api.sign_up()
    api.note(api.command.patch("/v1/users/me", json={"visibility": "private"}, headers=ann.headers))
    path = f"/v1/users/{ann.user_id}"
    assert [api.get(path, who).status_code for who in (None, ben, ann)] == [404, 404, 200]


def test_a_position_is_waited_for_and_a_bad_one_refused(api: Api) -> None:
    path = f"/v1/movies/{api.movie()}"
    assert api.get(path).status_code == 200
    assert api.query.get(path, headers={AT_LEAST: "-1"}).status_code == 422
    ahead = {AT_LEAST: str(api.position + 1_000)}
    assert api.query.get(path, headers=ahead).status_code == 503


def test_the_callers_request_id_comes_back(api: Api) -> None:
    own = "018f3c5e-0000-7000-8000-000000000001"
    answer = api.query.get(f"/v1/movies/{api.movie()}", headers={"X-Request-ID": own})
    assert answer.headers["X-Request-ID"] == own


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?limit=1",
        "?sort=title&limit=2",
        "?sort=nonsense",
        "?limit=0",
        "?limit=1&limit=2",
        "?sort=title&sort=title",
        "?cursor=x",
        "?cursor=",
        "?unknown=1",
        "?q=public%20re",
        "?q=",
        "?sort=match",
        "?sort=score",
        "?genre=Dr%C3%A0ma&year_min=1979&year_max=1980",
        "?year_min=19799",
    ],
)
@pytest.mark.parametrize("room", ["/v1/movies", "/v1/users/{}/ratings"])
def test_pages_are_the_same_to_everybody(api: Api, room: str, query: str) -> None:
    ann, other = api.sign_up(), api.sign_up()
    for number in range(3):
        api.rate(
            ann, api.movie(f"Public reads {number}", genres=["Drama"]), number + 0.5, review="Ah"
        )
    path = room.format(ann.user_id) + query
    position = {AT_LEAST: str(api.position)}
    public = api.query.get(path, headers=position)
    own = api.query.get(path, headers=position | other.headers)
    assert (public.status_code, public.content) == (own.status_code, own.content)
    headers = [
        {name: value for name, value in answer.headers.items() if name not in VARYING}
        for answer in (public, own)
    ]
    assert headers[0] == headers[1]
    if public.status_code == 200:
        known = {"If-None-Match": public.headers["ETag"]}
        assert api.query.get(path, headers=known).status_code == 304
