"""Averages and profiles: what went wrong in an earlier service."""

from __future__ import annotations

import statistics

from tests.support.api import Api


def test_a_profile_covers_every_rating(api: Api) -> None:
    ann = api.sign_up()
    scores = [n % 10 / 2 + 0.5 for n in range(45)]
    rows = [
        {"movie_id": api.movie(f"Many {n}", 1960), "score": score} for n, score in enumerate(scores)
    ]
    api.expect(200, api.post("/v1/ratings/batch", {"ratings": rows}, ann.headers))
    ratings = api.read(f"/v1/users/{ann.user_id}")["ratings"]
    assert ratings["count"] == 45
    assert ratings["average"] == round(statistics.mean(scores), 4)


def test_the_weighted_average_is_shown(api: Api) -> None:
    movie_id = api.movie()
    api.rate(api.sign_up(), movie_id, 5)
    ratings = api.read(f"/v1/movies/{movie_id}")["ratings"]
    assert ratings["weighted_average"] == round((5 + 25 * 3.5) / 26, 4)


def test_an_average_is_not_rounded_in_storage(api: Api) -> None:
    movie_id = api.movie()
    for score in (3, 4, 3.5, 3.5):
        api.rate(api.sign_up(), movie_id, score)
    assert api.read(f"/v1/movies/{movie_id}")["ratings"]["average"] == 3.5


def test_a_read_after_a_write_shows_it_in_every_list_and_profile(api: Api) -> None:
    """No cache can be stale: a read waits for the position that its client has written."""
    ann, movie_id = api.sign_up(), api.movie("Fresh", 2011)
    for score in (0.5, 5, 2.5):
        api.rate(ann, movie_id, score)
        assert api.read(f"/v1/movies/{movie_id}")["ratings"]["average"] == score
        assert api.read("/v1/movies", q="fresh")["items"][0]["ratings"]["average"] == score
        assert api.read(f"/v1/users/{ann.user_id}")["ratings"]["average"] == score
