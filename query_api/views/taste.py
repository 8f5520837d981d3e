"""A summary of all of a user's ratings: genres, favourites, first and last rating.

It uses the movies' current genres: a correction of a movie changes the summaries of all users who
rated it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from query_api.catalogue.entry import Entry
from shared.read_model.ranks import from_rating_rank, half_stars_of
from shared.read_model.statistics import stars

GENRES_MAX = 100
FAVOURITES_MAX = 3
# A genre that was rated less often is no favourite.
FAVOURITE_RATINGS_MIN = 3
# Weight of the user's mean in a favourite's score, as a number of ratings.
FAVOURITE_PULL = 5

_json = msgspec.json.Encoder().encode

Member = tuple[bytes, int]


def taste_of(entries: Mapping[bytes, Entry], members: Sequence[Member]) -> bytes:
    """Return JSON members of `ratings`, each preceded by a comma, from all ratings newest first."""
    # For each genre, the number of ratings and the sum of half stars.
    tallies: dict[str, list[int]] = {}
    total = 0
    for movie, rank in members:
        half_stars = half_stars_of(rank)
        total += half_stars
        entry = entries.get(movie)
        if entry is None:
            continue  # Not in the index yet, so the answer reports a position before it.
        for genre in entry.film.genre_names:
            tally = tallies.get(genre)
            if tally is None:
                tallies[genre] = [1, half_stars]
            else:
                tally[0] += 1
                tally[1] += half_stars
    shown = {
        "genres": _genres(tallies),
        "favourite_genres": _favourites(tallies, len(members), total),
        "first": _rating(members[-1]) if members else None,
        "last": _rating(members[0]) if members else None,
    }
    return b"," + _json(shown)[1:-1]


def _genres(tallies: Mapping[str, Sequence[int]]) -> list[dict[str, Any]]:
    """Return the genres, most often rated first."""
    ordered = sorted(tallies.items(), key=lambda item: (-item[1][0], item[0]))
    return [
        {"genre": genre, "count": count, "average": stars(sum_half_stars, count)}
        for genre, (count, sum_half_stars) in ordered[:GENRES_MAX]
    ]


def _favourites(tallies: Mapping[str, Sequence[int]], ratings: int, total: int) -> list[str]:
    """Return the best-liked genres, smoothed towards the user's mean.

    The mean has the weight of `FAVOURITE_PULL` ratings, because few ratings say little.
    """
    liked = [
        (-(total_of * ratings + FAVOURITE_PULL * total) / (count + FAVOURITE_PULL), -count, genre)
        for genre, (count, total_of) in tallies.items()
        if count >= FAVOURITE_RATINGS_MIN
    ]
    return [genre for *_, genre in sorted(liked)[:FAVOURITES_MAX]]


def _rating(member: Member) -> dict[str, Any]:
    movie, rank = member
    rated_at, half_stars = from_rating_rank(rank)
    return {"movie_id": UUID(bytes=movie), "score": half_stars / 2, "rated_at": rated_at}
