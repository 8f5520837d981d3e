"""What is answered ahead of the framework is what the routes answer."""

from __future__ import annotations

import pytest

from tests.api import AT_LEAST, Api

VARYING = {"date", "x-request-id"}


@pytest.mark.parametrize("room", ["movies", "users"])
def test_both_ways_give_the_same_answer(api: Api, room: str) -> None:
    ann, movie_id = api.sign_up(), api.movie()
    api.rate(ann, movie_id, 4.5)
    path = f"/v1/movies/{movie_id}" if room == "movies" else f"/v1/users/{ann.user_id}"
    hot, routed = api.get(path), api.get(path, ann)
    assert hot.content == routed.content
    assert hot.json()["ratings"]["average"] == 4.5
    headers = [
        {name: value for name, value in answer.headers.items() if name not in VARYING}
        for answer in (hot, routed)
    ]
    assert headers[0] == headers[1]
    for credential in ({}, ann.headers):
        known = {"If-None-Match": f'"x", {hot.headers["ETag"]}'} | credential
        answer = api.query.get(path, headers=known)
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["ETag"] == hot.headers["ETag"]


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
