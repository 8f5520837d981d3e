"""Statistics of the past against a recomputation by brute force."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from statistics import mean
from typing import Any

from tests.support.api import POSITION, Api

FIRST = datetime(2025, 12, 20, 12, tzinfo=UTC)
DAYS = 40


def test_statistics_of_any_past_day_are_exact(api: Api) -> None:
    """Ratings, other opinions, and days on which nothing happened, across a turn of the year."""
    drawn = random.Random(5)
    movie_id, users = api.movie(), [api.sign_up() for _ in range(6)]
    standing: dict[str, float] = {}
    truth: dict[date, dict[str, float]] = {}
    for n in range(DAYS):
        at = FIRST + timedelta(days=n)
        for user in drawn.sample(users, drawn.randrange(3)):
            score = drawn.randint(1, 10) / 2
            api.rate(user, movie_id, score, rated_at=at.isoformat())
            standing[user.user_id] = score
        truth[at.date()] = dict(standing)
    for day, scores in truth.items():
        stated = api.read(f"/v1/movies/{movie_id}/stats", as_of=day.isoformat())["ratings"]
        assert stated["count"] == len(scores), day
        assert stated["average"] == (round(mean(scores.values()), 4) if scores else None), day
        assert sum(stated["histogram"]) == len(scores)

    seen: list[dict[str, object]] = []
    cursor: dict[str, Any] = {}
    while True:
        page = api.get(f"/v1/movies/{movie_id}/history?limit=7", **cursor).json()
        seen += page["items"]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert [day["date"] for day in seen] == sorted({str(day["date"]) for day in seen})
    for day_seen in seen:
        scores = truth[date.fromisoformat(str(day_seen["date"]))]
        assert day_seen["count"] == len(scores)


def test_a_withdrawal_leaves_the_days_before_it_as_they_were(api: Api) -> None:
    movie_id, ann = api.movie(), api.sign_up()
    api.rate(ann, movie_id, 4, rated_at="2026-01-05T10:00:00Z")
    api.withdraw(ann, movie_id)
    path = f"/v1/movies/{movie_id}/stats"
    assert api.read(path, as_of="2026-01-04")["ratings"]["count"] == 0
    assert api.read(path, as_of="2026-01-05")["ratings"]["average"] == 4
    assert api.read(path)["ratings"]["count"] == 0


def test_what_others_rate_changes_nothing_in_the_past_of_a_movie(api: Api) -> None:
    movie_id, ann = api.movie(), api.sign_up()
    rated = api.rate(ann, movie_id, 4, rated_at="2026-01-05T10:00:00Z")
    paths = [
        *(f"/v1/movies/{movie_id}/stats?as_of=2026-01-{day}" for day in ("04", "05", "06")),
        f"/v1/movies/{movie_id}/history",
    ]
    before = [api.get(path) for path in paths]
    api.rate(ann, api.movie(), 1)
    for path, old in zip(paths, before, strict=True):
        new = api.get(path)
        assert int(new.headers[POSITION]) > int(old.headers[POSITION])
        assert (new.headers["ETag"], new.content) == (old.headers["ETag"], old.content)
    assert before[0].json()["ratings"]["position"] == int(rated.headers[POSITION])


def test_days_that_cannot_be_asked_for(api: Api) -> None:
    path = f"/v1/movies/{api.movie()}/stats"
    for bad in ("2999-01-01", "yesterday", "2026-02-30", ""):
        assert api.get(path, as_of=bad).status_code == 422, bad
    nobody = "/v1/movies/01900000-0000-7000-8000-000000000000"
    assert [api.get(f"{nobody}/{of}").status_code for of in ("stats", "history")] == [404, 404]


def test_a_date_out_of_range_is_refused(api: Api) -> None:
    ann, movie_id = api.sign_up(), api.movie()
    for bad in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "1969-12-31T23:59:59Z"):
        assert api.rate(ann, movie_id, 3, rated_at=bad).status_code == 422, bad


def test_a_history_by_week_month_and_year_has_the_state_at_the_end_of_each(api: Api) -> None:
    movie_id, ann, ben = api.movie(), api.sign_up(), api.sign_up()
    for user, score, day in (
        (ann, 4, "2024-12-30"),  # A Monday, whose week ends in the next year.
        (ben, 2, "2025-01-05"),
        (ann, 5, "2025-01-06"),
        (ben, 3, "2025-02-28"),
    ):
        api.rate(user, movie_id, score, rated_at=f"{day}T10:00:00Z")
    expected = {
        "day": [
            ("2024-12-30", 1, 4),
            ("2025-01-05", 2, 3),
            ("2025-01-06", 2, 3.5),
            ("2025-02-28", 2, 4),
        ],
        "week": [("2024-12-30", 2, 3), ("2025-01-06", 2, 3.5), ("2025-02-24", 2, 4)],
        "month": [("2024-12-01", 1, 4), ("2025-01-01", 2, 3.5), ("2025-02-01", 2, 4)],
        "year": [("2024-01-01", 1, 4), ("2025-01-01", 2, 4)],
    }
    path = f"/v1/movies/{movie_id}/history"
    for resolution, rows in expected.items():
        page = api.read(path, resolution=resolution, limit=1)
        items = page["items"]
        while page["next_cursor"] is not None:
            page = api.read(path, resolution=resolution, limit=1, cursor=page["next_cursor"])
            items += page["items"]
        assert [(one["date"], one["count"], one["average"]) for one in items] == rows, resolution
    assert api.read(path) == api.read(path, resolution="day")
    assert api.get(path, resolution="hour").status_code == 422
