"""A synthetic data set shaped like MovieLens 100K: as many users, films and ratings, as skewed.

The real files may not be redistributed. Activity and popularity follow power laws with the real
ones' extremes (20 to about 700 ratings a user, a few films with hundreds); a user rates mostly on
one day within seven months, in whole stars.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from starfold_client import NewMovie, NewUser

USERS = 943
FILMS = 1_682
RATINGS = 100_000
RATINGS_A_USER_MIN = 20
DAYS = 214
SAME_DAY_SHARE = 0.8
FIRST_DAY = datetime(1997, 9, 20, tzinfo=UTC)
# Percentages of one to five stars.
STARS_PERCENT = (6, 11, 27, 34, 22)
GENRES = ("Action", "Adventure", "Comedy", "Crime", "Drama", "Horror", "Romance", "Sci-Fi", "War")
FIRST_WORDS = ("Bright", "Dark", "Empty", "Far", "Golden", "Hidden", "Last", "Lost", "Quiet", "Red")
SECOND_WORDS = (
    "Bridge",
    "City",
    "Dream",
    "Evening",
    "Garden",
    "Harbour",
    "Island",
    "Journey",
    "Letter",
    "Mountain",
    "Night",
    "Orchard",
    "Promise",
    "River",
    "Road",
    "Shadow",
    "Station",
    "Winter",
)


class Rating(NamedTuple):
    """A rating, by indexes in the lists of users and films; `stars` are whole."""

    user: int
    film: int
    stars: int
    rated_at: datetime


def films() -> list[NewMovie]:
    drawn = random.Random(1)
    return [
        NewMovie(
            external_id=f"bench:{n}",
            title=f"{drawn.choice(FIRST_WORDS)} {drawn.choice(SECOND_WORDS)} {n}",
            year=drawn.randint(1930, 1998),
            genres=drawn.sample(GENRES, drawn.randint(1, 3)),
            directors=[f"Director {drawn.randint(1, 400)}"],
            runtime_min=drawn.randint(80, 180),
        )
        for n in range(FILMS)
    ]


def users() -> list[NewUser]:
    return [NewUser(f"bench:{n}", f"Viewer {n}") for n in range(USERS)]


def ratings(count: int = RATINGS) -> list[Rating]:
    """Return ratings with each pair of user and film at most once, in random order."""
    drawn = random.Random(2)
    weights = list(itertools.accumulate(1 / (rank + 25) for rank in range(FILMS)))
    made = [
        Rating(user, film, *_opinion(drawn, day))
        for user, size in enumerate(_sizes(drawn, count))
        for day in [drawn.randrange(DAYS)]
        for film in _distinct(drawn, weights, size)
    ]
    drawn.shuffle(made)
    return made


def popular(drawn: random.Random, count: int) -> list[int]:
    """Draw films to request, the popular ones more often."""
    return drawn.choices(range(FILMS), [1 / (rank + 25) for rank in range(FILMS)], k=count)


def _sizes(drawn: random.Random, count: int) -> list[int]:
    """Return the number of ratings of each user, `count` in total."""
    shares = [drawn.paretovariate(1.1) for _ in range(USERS)]
    spare = count - USERS * RATINGS_A_USER_MIN
    bounded = [min(share, 25.0) for share in shares]
    sizes = [RATINGS_A_USER_MIN + int(spare * one / sum(bounded)) for one in bounded]
    for user in itertools.islice(itertools.cycle(range(USERS)), count - sum(sizes)):
        sizes[user] += 1
    return sizes


def _distinct(drawn: random.Random, weights: list[float], size: int) -> Iterator[int]:
    chosen: dict[int, None] = {}
    while len(chosen) < size:
        chosen.update(dict.fromkeys(drawn.choices(range(FILMS), cum_weights=weights, k=size)))
    return itertools.islice(chosen, size)


def _opinion(drawn: random.Random, day: int) -> tuple[int, datetime]:
    """Draw stars and time, mostly on the user's own day."""
    at = day if drawn.random() < SAME_DAY_SHARE else drawn.randrange(DAYS)
    stars = drawn.choices(range(1, 6), STARS_PERCENT)[0]
    return stars, FIRST_DAY + timedelta(days=at, seconds=drawn.randrange(86_400))
