"""Expected statistics of imported ratings, recomputed from the file by brute force.

Tests compare them with the query API's answers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import Any
from uuid import UUID

import msgspec

from ops.imports.formats import movielens
from ops.imports.importer import match_films
from ops.imports.matcher import Matcher, read_catalogue
from ops.imports.reading.entry import DataSet, Entry
from ops.imports.reading.files import open_files
from starfold_client import NewUser, Starfold

BINS = 10
AVERAGE_DECIMALS = 4


def differences(client: Starfold, folder: Path) -> list[str]:
    """Every movie and every user of the files whose statistics are not exactly the truth."""
    reader = client.for_caller(position=client.command_ready().position)
    by_film: dict[str, list[Entry]] = defaultdict(list)
    by_user: dict[str, list[Entry]] = defaultdict(list)
    with open_files(folder) as files:
        data_set = movielens.read(files)
        assert isinstance(data_set, DataSet)
        for rating in data_set.rows:
            assert isinstance(rating, Entry)
            by_film[str(rating.film.external_id)].append(rating)
            by_user[str(rating.user)].append(rating)
    films = data_set.films.values()
    matched = match_films(films, Matcher(read_catalogue(client)))
    assert matched.keys() == {film.external_id for film in films}
    found: list[str] = []
    for film, movie_id in matched.items():
        stated = msgspec.to_builtins(reader.get_movie(movie_id).ratings)
        found += _compare(film, stated, by_film[film])
    for user, user_id in user_ids(client, list(by_user)).items():
        stated = msgspec.to_builtins(reader.get_profile(user_id).ratings)
        found += _compare(f"user {user}", stated, by_user[user])
    return found


def user_ids(client: Starfold, users: list[str]) -> dict[str, UUID]:
    """Starfold's user id of every user of the files: a repeated creation answers with it."""
    rows = [NewUser(f"movielens:{user}", "?") for user in users]
    created = client.create_external_users(rows)
    return {
        user: result.user_id
        for user, (_, result) in zip(users, created, strict=True)
        if result.user_id is not None
    }


def _compare(name: str, stated: Mapping[str, Any], ratings: Iterable[Entry]) -> list[str]:
    truth = _statistics([rating.half_stars for rating in ratings if rating.half_stars])
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
