"""Files in the form of MovieLens 100K, made up: the real ones may not be passed on."""

from __future__ import annotations

import random
from pathlib import Path

USERS = 60
# In the catalogue that ships, by title and year; the second is there under its natural title.
KNOWN = [("Fargo", 1996), ("Godfather, The", 1972), ("Schindler's List", 1993)]
MADE_UP = 90
RATINGS_A_USER = 40
FIRST_RATED_AT = 880_000_000


def write_movielens(folder: Path, *, seed: int, later_s: int = 0) -> Path:
    """Every seed draws other scores for the same pairs of user and film."""
    drawn = random.Random(seed)
    pairs = random.Random(0)
    folder.mkdir(parents=True, exist_ok=True)
    users = [str(n) for n in range(1, USERS + 1)]
    titles = [*KNOWN, *((f"Made Up, The {n}", 1950 + n % 49) for n in range(MADE_UP)), ("None", 0)]
    items = [
        f"{n}\t{title}\t{year or 'unknown'}\tDrama Sci-Fi"
        for n, (title, year) in enumerate(titles, start=1)
    ]
    ratings = [
        f"{user}\t{item}\t{drawn.randint(1, 10) / 2}\t{FIRST_RATED_AT + later_s + n}"
        for user in users
        for n, item in enumerate(pairs.sample(range(1, len(items) + 1), RATINGS_A_USER))
    ]
    _write(folder / "ml-100k.user", "user_id:token\tage:token", [f"{user}\t30" for user in users])
    header = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq"
    _write(folder / "ml-100k.item", header, items)
    header = "user_id:token\titem_id:token\trating:float\ttimestamp:float"
    _write(folder / "ml-100k.inter", header, ratings)
    return folder


def _write(file: Path, header: str, lines: list[str]) -> None:
    file.write_text("\n".join([header, *lines]) + "\n")
