"""MovieLens of every size, with many people's ratings, and a person's own export.

The sets latest, 20M, 25M and 32M are `movies.csv`, `links.csv` and `ratings.csv`; 1M and 10M are
`movies.dat` and `ratings.dat` with `::` between the fields; 100K is `u.item` with `|` and `u.data`
with tabs, or `ml-100k.item` and `.inter` of recommender libraries, with a header that has types.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec

from ops.imports.formats.movielens_titles import natural_titles, split_year
from ops.imports.reading.entry import DataSet, Entry, Film, Passed, Rows, Unreadable
from ops.imports.reading.files import Files, SourceFile
from ops.imports.reading.tables import Table, Values, each, records, refused, table, text_of
from ops.imports.reading.values import (
    half_stars_of_stars,
    imdb_id,
    imdb_id_of_digits,
    own_id,
    tmdb_id,
    unix_moment,
    year,
)

SOURCE = "movielens"
FILMS_MAX = 1_000_000
_NO_GENRES = {"(no genres listed)", "unknown"}
_GENRES_100K = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary",
    "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi",
    "Thriller", "War", "Western",
)  # fmt: skip
_OWN = {"movieid", "imdbid", "tmdbid", "rating", "title"}

# A line's fields; the second kind has the numbers of the lines.
Fields = Sequence[str]
Numbered = Iterator[tuple[int, Fields]]
Named = tuple[str, Film]


def read(files: Files) -> DataSet | Rows:
    """Return a data set, or the rows of a person's own export."""
    for films, ratings, read_set in (
        ("movies.csv", "ratings.csv", _modern),
        ("movies.dat", "ratings.dat", _colons),
        ("u.item", "u.data", _tabs_and_pipes),
        ("ml-100k.item", "ml-100k.inter", _typed),
    ):
        film_file, rating_file = files.get(films), files.get(ratings)
        if film_file and rating_file:
            return read_set(files, film_file, rating_file)
        if (film_file or rating_file) and not files.is_single:
            missing = films if rating_file else ratings
            raise Unreadable(
                missing, 1, f"the file is missing beside {films if film_file else ratings}"
            )
    return each(files, files.named(lambda name: name.endswith(".csv")), _own)


def _own(file: SourceFile) -> Rows:
    opened = table(file)
    if not _OWN.issubset(opened.columns):
        raise opened.unknown()
    return opened.entries(lambda line, values: _own_entry(opened, line, values))


def _own_entry(opened: Table, line: int, values: Values) -> Entry:
    title, released = split_year(values["title"])
    said, others = natural_titles(title)
    film_id = values["movieid"]
    return Entry(
        source="movielens",
        file=opened.file.name,
        line=line,
        film=Film(
            imdb_id=imdb_id_of_digits(values["imdbid"]),
            tmdb_id=tmdb_id(values["tmdbid"]),
            external_id=f"{SOURCE}:{own_id(film_id)}" if film_id else None,
            title=said or None,
            year=released,
            other_titles=others,
        ),
        half_stars=half_stars_of_stars(values["rating"]),
    )


def _modern(files: Files, film_file: SourceFile, rating_file: SourceFile) -> DataSet:
    links, passed = _links(files.get("links.csv"))

    def film(fields: Fields) -> Named:
        film_id, title, genres = _some(fields, 3)
        imdb, tmdb = links.get(film_id, (None, None))
        return film_id, _film(film_id, title, genres.split("|"), imdb=imdb, tmdb=tmdb)

    return _data_set(
        files,
        _films(film_file, _records(film_file, "movieid,title,genres"), film),
        rating_file,
        lambda: _records(rating_file, "userid,movieid,rating,timestamp"),
        passed,
    )


def _links(
    file: SourceFile | None,
) -> tuple[dict[str, tuple[str | None, int | None]], tuple[Passed, ...]]:
    links: dict[str, tuple[str | None, int | None]] = {}
    passed: list[Passed] = []
    for line, fields in _records(file, "movieid,imdbid,tmdbid") if file else ():
        try:
            film_id, imdb, tmdb = _some(fields, 3)
            links[film_id] = imdb_id_of_digits(imdb), tmdb_id(tmdb)
        except ValueError as error:
            assert file is not None
            passed.append(refused(file, line, str(error)))
        if len(links) > FILMS_MAX:
            raise Unreadable("links.csv", line, f"more than {FILMS_MAX:,} films")
    return links, tuple(passed)


def _colons(files: Files, film_file: SourceFile, rating_file: SourceFile) -> DataSet:
    def film(fields: Fields) -> Named:
        film_id, title, genres = _some(fields, 3)
        return film_id, _film(film_id, title, genres.split("|"))

    return _data_set(
        files,
        _films(film_file, _split(film_file, "::"), film),
        rating_file,
        lambda: _split(rating_file, "::"),
    )


def _tabs_and_pipes(files: Files, film_file: SourceFile, rating_file: SourceFile) -> DataSet:
    def film(fields: Fields) -> Named:
        film_id, title, *rest = _some(fields, 5 + len(_GENRES_100K))
        flags = rest[-len(_GENRES_100K) :]
        genres = [genre for genre, flag in zip(_GENRES_100K, flags, strict=True) if flag == "1"]
        return film_id, _film(film_id, title, genres)

    return _data_set(
        files,
        _films(film_file, _split(film_file, "|"), film),
        rating_file,
        lambda: _split(rating_file, "\t"),
    )


def _typed(files: Files, film_file: SourceFile, rating_file: SourceFile) -> DataSet:
    def film(fields: Fields) -> Named:
        film_id, title, released, genres = _some(fields, 4)
        return film_id, _film(film_id, title, genres.split(), released=year(released))

    items = "item_id:token,movie_title:token_seq,release_year:token,class:token_seq"
    ratings = "user_id:token,item_id:token,rating:float,timestamp:float"
    return _data_set(
        files,
        _films(film_file, _headed(film_file, items), film),
        rating_file,
        lambda: _headed(rating_file, ratings),
    )


def _data_set(
    files: Files,
    films: tuple[dict[str, Film], tuple[Passed, ...]],
    file: SourceFile,
    numbered: Callable[[], Numbered],
    passed: tuple[Passed, ...] = (),
) -> DataSet:
    known = films[0]
    _date_films(known, numbered)
    rows = each(files, [file], lambda _: _ratings(file, known, numbered()))
    return DataSet(known, file.count_lines(), rows, films[1] + passed)


def _films(
    file: SourceFile, numbered: Numbered, film: Callable[[Fields], Named]
) -> tuple[dict[str, Film], tuple[Passed, ...]]:
    films: dict[str, Film] = {}
    passed: list[Passed] = []
    for line, fields in numbered:
        try:
            film_id, made = film(fields)
            films[own_id(film_id)] = made
        except ValueError as error:
            passed.append(refused(file, line, str(error)))
        if len(films) > FILMS_MAX:
            raise Unreadable(file.name, line, f"more than {FILMS_MAX:,} films")
    return films, tuple(passed)


def _film(
    film_id: str,
    title: str,
    genres: Sequence[str],
    *,
    released: int | None = None,
    imdb: str | None = None,
    tmdb: int | None = None,
) -> Film:
    bare, closing = split_year(title)
    said, others = natural_titles(bare)
    if not said:
        raise ValueError("the film has no title")
    return Film(
        imdb_id=imdb_id(imdb or ""),
        tmdb_id=tmdb,
        external_id=f"{SOURCE}:{film_id}",
        title=said,
        year=released or closing,
        other_titles=others,
        genres=tuple(genre for genre in genres if genre and genre not in _NO_GENRES),
    )


def _date_films(films: dict[str, Film], numbered: Callable[[], Numbered]) -> None:
    """Give each film without a year the year of its first rating: it is not newer."""
    undated = {film_id for film_id, film in films.items() if film.year is None}
    first: dict[str, float] = {}
    for _, fields in numbered() if undated else ():
        if len(fields) == 4 and fields[1] in undated:
            try:
                seconds = unix_moment(fields[3]).timestamp()
            except (ValueError, OverflowError):
                continue  # The row is refused when its rating is read.
            first[fields[1]] = min(seconds, first.get(fields[1], seconds))
    for film_id, seconds in first.items():
        film = films[film_id]
        films[film_id] = msgspec.structs.replace(film, year=unix_moment(str(int(seconds))).year)


def _ratings(file: SourceFile, films: dict[str, Film], numbered: Numbered) -> Rows:
    for line, fields in numbered:
        try:
            yield _rating(file, films, line, fields)
        except (ValueError, OverflowError) as error:
            yield refused(file, line, str(error))


def _rating(file: SourceFile, films: dict[str, Film], line: int, fields: Fields) -> Entry:
    user, film_id, score, seconds = _some(fields, 4)
    film = films.get(film_id)
    if film is None:
        raise ValueError("the files lack the film")
    return Entry(
        source="movielens",
        file=file.name,
        line=line,
        film=film,
        user=own_id(user),
        half_stars=half_stars_of_stars(score),
        rated_at=unix_moment(seconds),
    )


def _records(file: SourceFile, header: str) -> Numbered:
    """Yield the records below a header of these columns, in this order."""
    opened = table(file)
    if ",".join(opened.columns) != header:
        raise opened.unknown()
    rows = records(file, delimiter=",")
    next(rows)
    yield from rows


def _headed(file: SourceFile, header: str) -> Numbered:
    rows = _split(file, "\t")
    _, names = next(rows, (1, []))
    wanted = [name.partition(":")[0] for name in header.split(",")]
    if [name.partition(":")[0] for name in names] != wanted:
        raise Unreadable(file.name, 1, f"unknown header: {' '.join(names)[:300]}")
    yield from rows


def _split(file: SourceFile, delimiter: str) -> Numbered:
    for number, line in file.lines():
        text = text_of(line).rstrip("\r\n")
        if text:
            yield number, [field.strip() for field in text.split(delimiter)]


def _some(fields: Fields, count: int) -> Fields:
    if len(fields) != count:
        raise ValueError(f"{len(fields)} fields instead of {count}")
    if any("\0" in field for field in fields):
        raise ValueError("the row has a NUL byte")
    return fields
