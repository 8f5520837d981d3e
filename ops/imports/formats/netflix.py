"""The Netflix Prize: `movie_titles.csv`, and ratings in blocks that begin with a film's id.

Titles have unquoted commas: a line is split at its first two. `combined_data_N.txt` has many blocks
a file, `mv_N.txt` one.
"""

from __future__ import annotations

import re

from ops.imports.reading.entry import DataSet, Entry, Film, Passed, Rows, Unreadable
from ops.imports.reading.files import Files, SourceFile
from ops.imports.reading.tables import each, refused, text_of
from ops.imports.reading.values import half_stars_of_stars, noon, own_id, year

FILMS_MAX = 1_000_000
_RATINGS = re.compile(r"(combined_data_[0-9]{1,3}|mv_[0-9]{1,10})\.txt")


def read(files: Files) -> DataSet:
    titles = files.get("movie_titles.csv")
    chosen = [file for file in files.files if _RATINGS.fullmatch(file.base)]
    if titles is None or not chosen:
        missing = "movie_titles.csv" if titles is None else "combined_data_1.txt"
        raise Unreadable(missing, 1, "the file is missing")
    films, passed = _films(titles)
    lines = sum(file.count_lines() for file in chosen)
    rows = each(files, chosen, lambda file: _ratings(file, films))
    return DataSet(films, lines, rows, passed)


def _films(file: SourceFile) -> tuple[dict[str, Film], tuple[Passed, ...]]:
    films: dict[str, Film] = {}
    passed: list[Passed] = []
    for number, line in file.lines():
        try:
            film_id, film = _film(text_of(line).strip())
            films[film_id] = film
        except ValueError as error:
            passed.append(refused(file, number, str(error)))
        if len(films) + len(passed) > FILMS_MAX:
            raise Unreadable(file.name, number, f"more than {FILMS_MAX:,} films")
    return films, tuple(passed)


def _film(line: str) -> tuple[str, Film]:
    fields = line.split(",", 2)
    if len(fields) != 3 or not fields[2]:
        raise ValueError("the line is not id,year,title")
    film_id, released, title = fields
    external_id = f"netflix:{own_id(film_id)}"
    return film_id, Film(external_id=external_id, title=title, year=year(released))


def _ratings(file: SourceFile, films: dict[str, Film]) -> Rows:
    film: Film | None = None
    for number, raw in file.lines():
        line = text_of(raw).strip()
        if line.endswith(":"):
            film = films.get(line[:-1])
        elif line:
            try:
                yield _rating(file, number, film, line)
            except ValueError as error:
                yield refused(file, number, str(error))


def _rating(file: SourceFile, number: int, film: Film | None, line: str) -> Entry:
    fields = line.split(",")
    if len(fields) != 3:
        raise ValueError("the line is not customer,rating,day")
    if film is None:
        raise ValueError("the line belongs to no film of movie_titles.csv")
    customer, score, day = fields
    return Entry(
        source="netflix",
        file=file.name,
        line=number,
        film=film,
        user=own_id(customer),
        half_stars=half_stars_of_stars(score),
        rated_at=noon(day),
        day_only=True,
    )
