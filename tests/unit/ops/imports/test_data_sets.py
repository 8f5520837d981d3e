"""Data sets of many users: MovieLens of every size, and the Netflix Prize."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from ops.imports.formats.movielens_titles import natural_titles, split_year
from ops.imports.importer import READERS
from ops.imports.reading.entry import DataSet, Entry
from ops.imports.reading.files import open_files
from tests.support.scenarios.import_reports import entries_of, report_of, written, zipped

FILMS = {
    "1": ("The City of Lost Children", ("La Cité des enfants perdus",), 1995, ("Adventure",)),
    "2": ("Undated", (), 1997, ()),
}
MOVIELENS: dict[str, dict[str, str | bytes]] = {
    "latest, 20M, 25M, 32M": {
        "ml/movies.csv": "movieId,title,genres\n1,"
        '"City of Lost Children, The (Cité des enfants perdus, La) (1995) ",Adventure\n'
        "2,Undated,(no genres listed)\n",
        "ml/links.csv": "movieId,imdbId,tmdbId\n1,0112682,902\n2,0000001,\n",
        "ml/tags.csv": "userId,movieId,tag,timestamp\n1,1,odd,1\n",
        "ml/ratings.csv": "userId,movieId,rating,timestamp\n7,1,3.5,881250949\n8,2,4.0,881250949\n"
        "8,3,4.0,881250949\n8,2,4.7,881250949\n8,2,4\n",
    },
    "1M, 10M": {
        "ml/movies.dat": "1::City of Lost Children, The (Cité des enfants perdus, La) (1995)"
        "::Adventure\n2::Undated::(no genres listed)\n".encode("latin-1"),
        "ml/ratings.dat": "7::1::3.5::881250949\n8::2::4::881250949\n8::3::4::881250949\n"
        "8::2::4.7::881250949\n8::2::4\n",
    },
    "100K": {
        "ml/u.item": "1|City of Lost Children, The (Cité des enfants perdus, La) (1995)|"
        "01-Jan-1995||http://x|0|0|1|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0\n"
        "2|Undated||||1|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0\n".encode("latin-1"),
        "ml/u.data": "7\t1\t3.5\t881250949\n8\t2\t4\t881250949\n8\t3\t4\t881250949\n"
        "8\t2\t4.7\t881250949\n8\t2\t4\n",
    },
    "100K of recommender libraries": {
        "ml-100k.item": "item_id:token\tmovie_title:token_seq\trelease_year:token\t"
        "class:token_seq\n1\tCity of Lost Children, The (Cité des enfants perdus, La)\t1995\t"
        "Adventure\n2\tUndated\tunknown\tunknown\n",
        "ml-100k.inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
        "7\t1\t3.5\t881250949\n8\t2\t4\t881250949\n8\t3\t4\t881250949\n"
        "8\t2\t4.7\t881250949\n8\t2\t4\n",
    },
}


@pytest.mark.parametrize("content", MOVIELENS.values(), ids=MOVIELENS)
@pytest.mark.parametrize("packed", [True, False], ids=["ZIP", "folder"])
def test_movielens_of_every_size_is_read(
    tmp_path: Path, content: dict[str, str | bytes], packed: bool
) -> None:
    path = zipped(tmp_path / "ml.zip", content)
    if not packed:
        with zipfile.ZipFile(path) as archive:
            archive.extractall(tmp_path / "folder")
        path = tmp_path / "folder"
    with open_files(path) as files:
        data_set = READERS["movielens"](files)
        assert isinstance(data_set, DataSet)
        assert data_set.passed == ()
        assert {
            key: (film.title, film.other_titles, film.year, film.genres)
            for key, film in data_set.films.items()
        } == FILMS
        rows = list(data_set.rows)
    head = 1 if any(name.endswith((".csv", ".inter")) for name in content) else 0
    entries = [row for row in rows if isinstance(row, Entry)]
    assert [(one.line, one.user, one.film.external_id, one.half_stars) for one in entries] == [
        (head + 1, "7", "movielens:1", 7),
        (head + 2, "8", "movielens:2", 8),
    ]
    assert {one.rated_at and one.rated_at.isoformat() for one in entries} == {
        "1997-12-04T15:55:49+00:00"
    }
    reasons = [(row.line, row.reason[:20]) for row in rows if not isinstance(row, Entry)]
    assert reasons == [
        (head + 3, "the files lack the f"),
        (head + 4, "the score '4.7' is n"),
        (head + 5, "3 fields instead of "),
    ]
    if any("links" in name for name in content):
        film = data_set.films["1"]
        assert (film.imdb_id, film.tmdb_id) == ("tt0112682", 902)


def test_a_persons_own_export_of_movielens_has_no_dates(tmp_path: Path) -> None:
    file = written(
        tmp_path / "movielens-ratings.csv",
        "movie_id,imdb_id,tmdb_id,rating,average_rating,title\n6,0113277,949,4.5,3.9,Heat (1995)\n"
        '4973,,,3.5,4.1,"Amelie (Fabuleux destin d\'Amélie Poulain, Le) (2001)"\n9,,,-1,3,Odd\n',
    )
    assert report_of("movielens", file) == [
        (file.name, 2, "would import", "heat", 9, ""),
        (file.name, 3, "would import", "amelie", 7, ""),
        (file.name, 4, "refused", None, None, "'-1' is not a number"),
    ]
    assert {one.rated_at for one in entries_of("movielens", file)} == {None}


@pytest.mark.parametrize(
    ("title", "natural", "others"),
    [
        ("Usual Suspects, The", "The Usual Suspects", ()),
        ("Postino, Il (Postman, The)", "Il Postino", ("The Postman",)),
        ("Enfer, L'", "L'Enfer", ()),
        ("Seven (a.k.a. Se7en)", "Seven", ("Se7en",)),
        ("Good, The Bad and The Ugly, The", "The Good, The Bad and The Ugly", ()),
        ("Paris, France", "Paris, France", ()),
        ("8 1/2 (8½)", "8 1/2", ("8½",)),
        ("(500) Days of Summer", "(500) Days of Summer", ()),
        ("Birdman: Or (The Unexpected Virtue of Ignorance)",) * 2 + ((),),
    ],
)
def test_a_title_is_written_as_it_is_said(
    title: str, natural: str, others: tuple[str, ...]
) -> None:
    assert natural_titles(title) == (natural, others)


def test_the_year_closes_a_title() -> None:
    assert split_year("Heat (1995) ") == ("Heat", 1995)
    assert split_year("Death Note (2006-2007)") == ("Death Note", 2006)
    assert split_year("Cosmos") == ("Cosmos", None)


def test_the_netflix_prize_has_blocks_and_unquoted_commas(tmp_path: Path) -> None:
    folder = tmp_path / "netflix"
    folder.mkdir()
    written(
        folder / "movie_titles.csv", "1,1995,Heat\n2,NULL,So, What, Café\nodd\n".encode("latin-1")
    )
    written(
        folder / "combined_data_1.txt", "1:\n6,3,2005-09-06\n7,9,2005-09-06\n2:\n6,5,2005-01-01\n"
    )
    written(folder / "combined_data_2.txt", "9:\n6,3,2005-09-06\n6,3\n")
    with open_files(folder) as files:
        data_set = READERS["netflix"](files)
        assert isinstance(data_set, DataSet)
        assert [(f.title, f.year) for f in data_set.films.values()] == [
            ("Heat", 1995),
            ("So, What, Café", None),
        ]
        assert [(row.line, row.reason) for row in data_set.passed] == [
            (3, "the line is not id,year,title")
        ]
        rows = list(data_set.rows)
    assert [
        (row.file, row.line, row.user, row.half_stars) for row in rows if isinstance(row, Entry)
    ] == [("combined_data_1.txt", 2, "6", 6), ("combined_data_1.txt", 5, "6", 10)]
    assert [(row.file, row.line) for row in rows if not isinstance(row, Entry)] == [
        ("combined_data_1.txt", 3),
        ("combined_data_2.txt", 2),
        ("combined_data_2.txt", 3),
    ]
