"""The movies with most ratings in the last days, against a count by brute force."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from query_api.catalogue.entry import Entry
from query_api.catalogue.slicing import Sliced
from query_api.catalogue.trends import Trends
from shared.process.clock import utc_now
from shared.read_model.keys import partition_of
from shared.read_model.kinds import HISTORY, year_suffix
from tests.support.api import Api
from tests.support.read_models import active
from tests.support.system import System, eventually

Given = dict[tuple[str, str], date]


def listed(api: Api, days: int, **parameters: Any) -> list[str]:
    """Return the ids of the whole order, page by page."""
    found: list[str] = []
    cursor: dict[str, Any] = {}
    while True:
        page = api.read("/v1/movies", rated_in_days=days, limit=3, **parameters, **cursor)
        found += [one["movie_id"] for one in page["items"]]
        if page["next_cursor"] is None:
            return found
        cursor = {"cursor": page["next_cursor"]}


def expected(given: Counter[tuple[str, date]], api: Api, days: int, today: date) -> list[str]:
    """Count again: what every day added, then all ratings, then the title."""
    counts: Counter[str] = Counter()
    for (movie, day), added in given.items():
        if today - timedelta(days=days) < day <= today:
            counts[movie] += added
    found = [movie for movie, count in counts.items() if count > 0]
    shown = {movie: api.read(f"/v1/movies/{movie}") for movie in found}
    return sorted(
        found,
        key=lambda one: (-counts[one], -shown[one]["ratings"]["count"], shown[one]["title"]),
    )


@pytest.fixture
def move_to(monkeypatch: pytest.MonkeyPatch) -> Callable[[date], None]:
    def move(day: date) -> None:
        moment = datetime(day.year, day.month, day.day, tzinfo=UTC)
        monkeypatch.setattr("query_api.views.trending.utc_now", lambda: moment)

    return move


def test_the_order_is_exact_as_ratings_come_and_days_go(
    api: Api, move_to: Callable[[date], None]
) -> None:
    drawn = random.Random(7)
    today = utc_now().date()
    move_to(today)
    movies = [api.movie(f"Film {number:02}", 1990 + number % 2) for number in range(12)]
    users = [api.sign_up() for _ in range(5)]
    given: Counter[tuple[str, date]] = Counter()
    first_day: dict[tuple[str, str], date] = {}

    def rate(movie: str, age: int, score: float) -> None:
        user, day = drawn.choice(users), today - timedelta(days=age)
        if first_day.get((user.user_id, movie), date.min) > day:
            return  # An older opinion does not replace a newer one.
        if (user.user_id, movie) not in first_day:
            given[movie, day] += 1
        first_day[user.user_id, movie] = day
        moment = datetime(day.year, day.month, day.day, 0, 0, 1, tzinfo=UTC)
        api.rate(user, movie, score, rated_at=moment.isoformat())

    for _ in range(60):
        rate(drawn.choice(movies[:10]), drawn.choice([0, 3, 6, 7, 20, 29, 30, 364, 365]), 3)
    for days in (7, 30, 365):
        assert listed(api, days) == expected(given, api, days, today) != [], days
    assert api.read("/v1/movies", rated_in_days=7, count="true")["count"] == len(listed(api, 7))

    # Another opinion adds nothing; a withdrawal takes one rating away, on its own day.
    user_id, movie = next(iter(first_day))
    user = next(one for one in users if one.user_id == user_id)
    api.rate(user, movie, 1)
    assert listed(api, 7) == expected(given, api, 7, today)
    api.withdraw(user, movie)
    given[movie, today] -= 1
    rate(movies[11], 0, 5)
    for days in (7, 30, 365):
        assert listed(api, days) == expected(given, api, days, today), days
    before = listed(api, 7)
    assert movies[11] in before

    for later in (1, 4, 7, 24, 364, 365):
        day = today + timedelta(days=later)
        move_to(day)
        for days in (7, 30, 365):
            assert listed(api, days) == expected(given, api, days, day), (later, days)
    assert listed(api, 365) == []
    move_to(today)
    assert listed(api, 7) == before

    of_year = [one for one in before if movies.index(one) % 2 == 0]
    assert listed(api, 7, year_max=1990) == of_year
    assert listed(api, 7, q="film") == before
    api.expect(202, api.post(f"/v1/movies/{movies[11]}/merge", {"into": movies[0]}, api.service))
    assert movies[11] not in listed(api, 365)


def test_it_is_an_order_of_its_own(api: Api) -> None:
    for others in ({"rated_in_days": 8}, {"rated_in_days": 7, "sort": "count"}):
        assert api.get("/v1/movies", **others).status_code == 422
    for beside in ({"ids": api.movie()}, {"changed_since": 0}):
        assert api.get("/v1/movies", rated_in_days=7, **beside).status_code == 422


def test_what_takes_longer_than_a_request_waits_is_finished_beside_the_requests(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    movie = api.movie("Slowly read")
    api.rate(api.sign_up(), movie, 4)
    update = Trends.update

    def slowly(trends: Trends, entries: Mapping[bytes, Entry], today: int) -> Sliced[None]:
        """Take longer than a request waits, wherever a movie has been read."""
        for _ in range(30 if trends._read else 0):
            time.sleep(0.01)
            yield
        yield from update(trends, entries, today)

    monkeypatch.setattr(Trends, "update", slowly)
    monkeypatch.setattr("query_api.views.trending.WAIT_MAX_S", 0.1)
    assert api.get("/v1/movies", rated_in_days=7).status_code == 503
    eventually(lambda: api.get("/v1/movies", rated_in_days=7).is_success)
    assert movie in listed(api, 7)


def test_a_damaged_history_keeps_only_its_own_movie_back(api: Api, module_system: System) -> None:
    torn, whole = api.movie("Torn"), api.movie("Whole")
    for movie in (torn, whole):
        api.rate(api.sign_up(), movie, 4)
    year = str(utc_now().year)
    wiring = module_system.projector_wiring()
    name = year_suffix(UUID(torn).hex, int(year))
    key = active(wiring, "movies").keys(partition_of(UUID(torn))).document(HISTORY.name, name)
    module_system.redis.set(key, b"{")
    found = [one["movie_id"] for one in api.read("/v1/movies", rated_in_days=7)["items"]]
    assert whole in found
    assert torn not in found
