"""Expected statistics of imported ratings, recomputed from the file by brute force.

Tests compare them with the query API's answers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from fractions import Fraction
from statistics import median
from typing import Any

from ops.home.api_client import ApiClient
from ops.imports.movielens import match
from ops.imports.movielens_files import Files, Rating

BINS = 10
AVERAGE_DECIMALS = 4


def differences(client: ApiClient, files: Files) -> list[str]:
    """Every movie and every user of the files whose statistics are not exactly the truth."""
    head = client.head()
    by_item: dict[str, list[Rating]] = defaultdict(list)
    by_user: dict[str, list[Rating]] = defaultdict(list)
    for rating in files.ratings:
        by_item[rating.item_id].append(rating)
        by_user[rating.user_id].append(rating)
    found: list[str] = []
    for item_id, movie_id in movie_ids(client, files).items():
        stated = client.query(f"/v1/movies/{movie_id}", at_least=head)["ratings"]
        found += _compare(f"film {item_id}", stated, by_item[item_id])
    for user, user_id in user_ids(client, files).items():
        stated = client.query(f"/v1/users/{user_id}", at_least=head)["ratings"]
        found += _compare(f"user {user}", stated, by_user[user])
    return found


def movie_ids(client: ApiClient, files: Files) -> dict[str, str]:
    """Starfold's movie id of every film of the files."""
    catalogue, own, cursor = [], {}, None
    while True:
        page = client.query(
            "/v1/movies", sort="title", limit=100, **({"cursor": cursor} if cursor else {})
        )
        for movie in page["items"]:
            source, _, item_id = (movie["external_id"] or "").partition(":")
            if source == "movielens":
                own[item_id] = movie["movie_id"]
            else:
                catalogue.append(movie)
        cursor = page["next_cursor"]
        if cursor is None:
            return match(files.items, catalogue) | own


def user_ids(client: ApiClient, files: Files) -> dict[str, str]:
    """Starfold's user id of every user of the files: a repeated creation answers with it."""
    rows = [{"external_id": f"movielens:{user}", "display_name": "?"} for user in files.users]
    results = client.rows("/v1/users/batch", "users", rows)
    return {user: result["user_id"] for user, result in zip(files.users, results, strict=True)}


def _compare(name: str, stated: Mapping[str, Any], ratings: Iterable[Rating]) -> list[str]:
    truth = _statistics([round(2 * rating.score) for rating in ratings])
    return [
        f"{name}: {field} is {stated.get(field)} and must be {value}"
        for field, value in truth.items()
        if (field in stated and stated[field] != value)
        or (field not in stated and field != "median")
    ]


def _statistics(half_stars: list[int]) -> dict[str, object]:
    count = len(half_stars)
    return {
        "count": count,
        "average": _rounded(Fraction(sum(half_stars), 2 * count)) if count else None,
        "median": median(half_stars) / 2 if count else None,
        "histogram": [half_stars.count(value) for value in range(1, BINS + 1)],
    }


def _rounded(value: Fraction) -> float:
    """To four decimals, a half upwards."""
    scale = 10**AVERAGE_DECIMALS
    return float(Fraction(int(value * scale + Fraction(1, 2)), scale))
