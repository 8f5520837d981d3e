"""The shortest way through the whole system."""

from __future__ import annotations

from tests.support.api import Api


def test_a_rating_moves_the_average_and_the_profile(api: Api) -> None:
    movie_id = api.movie("Solaris", 1972)
    ann, ben = api.sign_up(name="Ann"), api.sign_up(name="Ben")

    assert api.rate(ann, movie_id, 4.5).status_code == 201
    assert api.rate(ben, movie_id, 3).status_code == 201

    ratings = api.read(f"/v1/movies/{movie_id}")["ratings"]
    assert (ratings["count"], ratings["average"]) == (2, 3.75)
    profile = api.read(f"/v1/users/{ann.user_id}")
    assert (profile["display_name"], profile["ratings"]["average"]) == ("Ann", 4.5)
