"""Numbers and charts as people read them."""

from __future__ import annotations

from datetime import date

import pytest

from starfold_client.answers import Day
from web.drawing import (
    chart,
    device,
    histogram,
    people,
    signed,
    spoken_period,
    stars,
    web_address,
)


def test_the_bars_begin_with_five_stars_and_the_longest_fills_its_row() -> None:
    bars = histogram([0, 0, 0, 0, 0, 0, 0, 5, 0, 10])
    assert [(one.stars, one.ratings, one.share) for one in bars[:3]] == [
        (5.0, 10, 100),
        (4.5, 0, 0),
        (4.0, 5, 50),
    ]
    assert {one.share for one in histogram([0] * 10)} == {0}


@pytest.mark.parametrize(
    ("score", "spoken"),
    [(0.5, "½ star"), (1, "1 star"), (1.5, "1½ stars"), (3.0, "3 stars"), (5.0, "5 stars")],
)
def test_scores_are_said_in_stars(score: float, spoken: str) -> None:
    assert stars(score) == spoken


def test_only_an_address_of_https_is_a_picture() -> None:
    assert web_address("https://posters.example/1.jpg") == "https://posters.example/1.jpg"
    for bad in (None, "", "javascript:alert(1)", "http://posters.example/1.jpg", "//posters"):
        assert web_address(bad) is None


def test_a_chart_runs_from_the_first_period_to_the_last_in_any_order_given() -> None:
    days = [
        Day(date(2026, 3, 1), 30, 4.0),
        Day(date(2026, 1, 1), 10, 2.0),
        Day(date(2026, 2, 1), 0, None),
    ]
    drawn = chart(days)
    assert [one.day.date.month for one in drawn.points] == [1, 3]
    assert drawn.points[0].x < drawn.points[1].x
    assert drawn.points[0].y > drawn.points[1].y
    assert len(chart(days[:1]).points) == 1


def test_a_period_is_named_by_its_month_or_year() -> None:
    assert spoken_period(date(2026, 3, 1), "month") == "March 2026"
    assert spoken_period(date(2026, 1, 1), "year") == "2026"


def test_numbers_have_their_nouns_and_signs() -> None:
    assert people(1, "rating", "ratings") == "1 rating"
    assert people(2_400, "rating", "ratings") == "2,400 ratings"
    assert signed(-0.5) == "−0.50"
    assert signed(0.001) == signed(-0.001) == "0.00"


@pytest.mark.parametrize(
    ("user_agent", "shown"),
    [
        (
            "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
            "Firefox on Linux",
        ),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/141.0 Safari/537.36 Edg/141.0", "Edge on Windows"),
        ("Mozilla/5.0 (iPhone; CPU like Mac OS X) Version/18 Safari/604.1", "Safari on iPhone"),
        ("curl/8.5.0", "curl/8.5.0"),
        (None, "An unknown device"),
    ],
)
def test_a_session_is_shown_by_browser_and_system(user_agent: str | None, shown: str) -> None:
    assert device(user_agent) == shown
