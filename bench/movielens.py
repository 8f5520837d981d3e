"""Made-up files in the form of MovieLens 32M: users in order, each with different films.

The real files may not be redistributed. As there, each user has 20 ratings or more, few users have
thousands, and popular films come more often.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

USERS, FILMS, RATINGS = 200_000, 87_000, 32_000_000
RATINGS_A_USER_MIN = 20
# Standard deviation of the logarithm of a user's ratings.
SPREAD = 1.1
FIRST_S, LAST_S = 852_076_800, 1_697_155_200
GENRES = ("Action", "Comedy", "Drama", "Horror", "Romance", "Sci-Fi", "Thriller")
# Weights of half stars 1 to 10, as in the newer MovieLens sets.
HALF_STARS_WEIGHTS = (2, 4, 2, 7, 5, 20, 12, 26, 9, 13)
_SCORES = tuple(f"{half_stars / 2}" for half_stars in range(1, 11))
_HEADER = "userId,movieId,rating,timestamp\n"


class Rating(NamedTuple):
    """A row of `ratings.csv`."""

    user: int
    film: int
    half_stars: int
    rated_at_s: int


class DataSet:
    """The files in a folder; users and films count from 1."""

    def __init__(self, folder: Path, *, size: float) -> None:
        """`size` is the share of MovieLens 32M's size, for each of users, films and ratings."""
        self.folder = folder
        self.users, self.films = max(int(USERS * size), 20), max(int(FILMS * size), 2_000)
        self.ratings = 0

    def write(self) -> None:
        """Write the files, the same ones for the same size; sets `ratings`."""
        self.folder.mkdir()
        with (self.folder / "movies.csv").open("w") as movies:
            movies.write("movieId,title,genres\n")
            for film in range(1, self.films + 1):
                genre = GENRES[film % len(GENRES)]
                movies.write(f"{film},Made up for an import {film} ({1930 + film % 94}),{genre}\n")
        with (self.folder / "links.csv").open("w") as links:
            links.write("movieId,imdbId,tmdbId\n")
            links.writelines(f"{film},,\n" for film in range(1, self.films + 1))
        with (self.folder / "ratings.csv").open("w") as ratings:
            ratings.write(_HEADER)
            for lines in self._lines():
                ratings.write("".join(lines))
                self.ratings += len(lines)

    def read(self, users: Collection[int], films: Collection[int]) -> Iterator[Rating]:
        """Yield the ratings of these users and of these films, read from the file."""
        users_of = {str(user) for user in users}
        films_of = {str(film) for film in films}
        with (self.folder / "ratings.csv").open() as lines:
            next(lines)
            for line in lines:
                user, film, score, rated_at_s = line.split(",")
                if user in users_of or film in films_of:
                    yield Rating(int(user), int(film), int(2 * float(score)), int(rated_at_s))

    def _lines(self) -> Iterator[list[str]]:
        """Yield the lines of each user."""
        drawn = random.Random(32)
        films = list(range(1, self.films + 1))
        drawn.shuffle(films)
        weights = list(itertools.accumulate(1 / (rank + 25) for rank in range(self.films)))
        more = RATINGS / USERS - RATINGS_A_USER_MIN
        for user in range(1, self.users + 1):
            # The mean of this distribution is 1.
            diligence = drawn.lognormvariate(-(SPREAD**2) / 2, SPREAD)
            count = min(RATINGS_A_USER_MIN + int(more * diligence), self.films // 2)
            chosen: dict[int, None] = {}
            while len(chosen) < count:
                missing = count - len(chosen)
                chosen |= dict.fromkeys(drawn.choices(films, cum_weights=weights, k=missing))
            scores = drawn.choices(_SCORES, HALF_STARS_WEIGHTS, k=count)
            at_s = drawn.randint(FIRST_S, LAST_S)
            yield [
                f"{user},{film},{score},{at_s + 60 * number}\n"
                for number, (film, score) in enumerate(zip(chosen, scores, strict=True))
            ]
