"""Files of one person, in every variant of every format, and what becomes of each row."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from ops.errors import OperatorError
from ops.imports.formats import spreadsheet
from ops.imports.importer import own_rows
from ops.imports.reading.files import open_files
from ops.imports.report import Report
from tests.support.scenarios.import_reports import entries_of, report_of, written, zipped

LETTERBOXD = {
    "me/ratings.csv": "Date,Name,Year,Letterboxd URI,Rating\n"
    "2024-01-05,Heat,1995,https://boxd.it/1,4\n"
    "2024-01-06,Solaris,,https://boxd.it/2,3\n"
    "2024-01-07,Nobody's Film,1999,https://boxd.it/3,5\n"
    "2024-01-08,Mirror,1975,https://boxd.it/4,3.7\n",
    "me/watched.csv": "Date,Name,Year,Letterboxd URI\n2024-01-01,Heat,1995,https://boxd.it/1\n",
    "me/diary.csv": "Date,Name,Year,Letterboxd URI,Rating,Rewatch,Tags,Watched Date\r\n"
    '2024-02-01,Heat,1995,https://boxd.it/5,4.5,Yes,"crime, la",2024-01-31\r\n'
    "2024-02-02,Zerkalo,1976,https://boxd.it/6,,,,2024-02-02\r\n",
    "me/reviews.csv": "Date,Name,Year,Letterboxd URI,Rating,Rewatch,Review,Tags,Watched Date\n"
    '2024-02-01,Heat,1995,https://boxd.it/5,4.5,Yes,"The ""diner"",\n<i>it</i>.",,2024-01-31\n'
    '2024-02-03,Amélie,2001,https://boxd.it/7,,,"Sweet",,\n'
    "2024-02-04,Amélie,2001,https://boxd.it/8,4,,,,2024-02-04\n",
    "me/comments.csv": "Date,Content\n2024-01-01,hello\n",
    "me/deleted/diary.csv": "Date,Name,Year,Letterboxd URI,Rating\n2024-01-01,Heat,1995,x,1\n",
    "me/lists/best.csv": "Letterboxd list export v7\nDate,Name\n\nPosition,Name\n1,Heat\n",
}


def test_a_letterboxd_export_joins_its_files_by_name_and_year(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "export.zip", LETTERBOXD)
    assert report_of("letterboxd", archive) == [
        ("diary.csv", 2, "superseded", "heat", 9, "reviews.csv, line 2 is later"),
        ("diary.csv", 3, "not rated", "mirror", None, ""),
        ("ratings.csv", 2, "superseded", "heat", 8, "reviews.csv, line 2 is later"),
        ("ratings.csv", 3, "unmatched", None, 6, "Solaris (1972) solaris72; Sola"),
        ("ratings.csv", 4, "unmatched", None, 10, ""),
        ("ratings.csv", 5, "refused", None, None, "the score '3.7' is not from 0."),
        ("reviews.csv", 2, "would import", "heat", 9, 'The "diner",\n<i>it</i>.'),
        ("reviews.csv", 4, "would import", "amelie", None, "its review"),
        ("reviews.csv", 5, "would import", "amelie", 8, "Sweet"),
        ("watched.csv", 2, "not rated", "heat", None, ""),
    ]
    (review,) = [one for one in entries_of("letterboxd", archive) if one.rewatch and one.review]
    assert (review.rated_at and review.rated_at.isoformat(), review.day_only) == (
        "2024-01-31T12:00:00+00:00",
        True,
    )


def test_the_form_for_letterboxds_import_has_any_columns_in_any_order(tmp_path: Path) -> None:
    file = written(
        tmp_path / "films.csv",
        "Rating10,Title,imdbID,WatchedDate,tmdbID,Year\n9,,tt0113277,2024-01-01,,\n"
        "7,Solaris,,,2103,\n0,Amelie,,,,2001\n11,Amelie,,,,2001\n",
    )
    assert report_of("letterboxd", file) == [
        ("films.csv", 2, "would import", "heat", 9, ""),
        ("films.csv", 3, "would import", "solaris02", 7, ""),
        ("films.csv", 4, "not rated", "amelie", None, ""),
        ("films.csv", 5, "refused", None, None, "the score '11' is not a whole "),
    ]


IMDB = {
    "to 2017": '"position","const","created","modified","description","Title","Title type",'
    '"Directors","You rated"\n'
    '"1","tt0113277","Sat Mar  4 00:00:00 2017","","","Heat","Feature Film","Michael Mann","9"\n',
    "another person's, to 2017": '"position","const","created","modified","description","Title",'
    '"Title type","Directors","ann rated"\n'
    '"1","tt0113277","Sat Mar  4 00:00:00 2017","","","Heat","Feature Film","Michael Mann","9"\n',
    "November 2017": "Const,Your Rating,Date Added,Title,Title Type,Directors,IMDb Rating,"
    "Runtime (mins),Year,Genres,Num Votes\n"
    'tt0113277,9,2017-03-04,Heat,movie,Michael Mann,"8,3",170,1995,"Action, Crime",500000\n',
    "2018 to 2024": "Const,Your Rating,Date Rated,Title,URL,Title Type,IMDb Rating,"
    "Runtime (mins),Year,Genres,Num Votes,Release Date,Directors\n"
    "tt0113277,9,2017-03-04,Heat,https://x,movie,8.3,170,1995,Crime,5,1995-12-15,Michael Mann\n",
    "since June 2024": "\ufeffConst,Your Rating,Date Rated,Title,Original Title,URL,Title Type,"
    "IMDb Rating,Runtime (mins),Year,Genres,Num Votes,Release Date,Directors\r\n"
    "tt0113277,9,2017-03-04,Fuego contra fuego,Heat,https://x,Película,8.3,170,1995,C,5,,M M\r\n",
    "a list": "Position,Const,Created,Modified,Description,Title,Original Title,URL,Title Type,"
    "Your Rating,Date Rated\n1,tt0113277,2016-01-01,,,Heat,Heat,x,Movie,9,2017-03-04\n",
}


@pytest.mark.parametrize("content", IMDB.values(), ids=IMDB)
def test_every_variant_of_imdbs_ratings_is_read(tmp_path: Path, content: str) -> None:
    file = written(tmp_path / "ratings.csv", content)
    assert report_of("imdb", file) == [("ratings.csv", 2, "would import", "heat", 9, "")]
    (entry,) = entries_of("imdb", file)
    assert entry.rated_at is not None
    assert entry.rated_at.isoformat() == "2017-03-04T12:00:00+00:00"


def test_a_file_of_imdb_with_every_oddity_accounts_for_every_row(tmp_path: Path) -> None:
    """In cp1252, with episodes, ragged rows, a const twice, one without tt, and no rating."""
    rows = [
        "Const,Your Rating,Date Rated,Title,Title Type,Year",
        "tt0211915,8,2020-01-02,Le Fabuleux Destin d'Amélie,movie,2001",
        "tt0211915,6,2020-01-01,Amélie,movie,2001",
        "tt0959621,10,2020-01-01,Solaris,tvEpisode,1972",
        "tt0959622,10,2020-01-01,Solaris,TV Series,2013\u20132023",
        "tt0959623,10,2020-01-01,Solaris,Épisode télé,1972",
        "0113277,9,2020-01-01,Heat,movie,1995",
        "tt0113277,9,2020-01-01,Heat,movie",
        "tt0113277,9,2020-01-01,Heat,movie,1995,more",
        "tt0113277,,2020-01-01,Heat,movie,1995",
        "tt0069293,7,2020-13-01,Solaris,movie,1972",
        "",
        ",7,2020-01-01,Solaris,movie,1972",
    ]
    file = written(tmp_path / "ratings.csv", "\r\n".join(rows).encode("cp1252"))
    assert [line[1:] for line in report_of("imdb", file)] == [
        (2, "would import", "amelie", 8, ""),
        (3, "superseded", "amelie", 6, "ratings.csv, line 2 is later"),
        (4, "skipped", None, None, "the type is tvEpisode"),
        (5, "skipped", None, None, "the type is TV Series"),
        (6, "unmatched", None, 10, "Solaris (2002) solaris02"),
        (7, "refused", None, None, "'0113277' is not an IMDb id li"),
        (8, "refused", None, None, "5 fields instead of 6"),
        (9, "refused", None, None, "7 fields instead of 6"),
        (10, "not rated", "heat", None, ""),
        (11, "refused", None, None, "month must be in 1..12"),
        (13, "refused", None, None, "the row has no const"),
    ]
    assert entries_of("imdb", file)[0].film.title == "Le Fabuleux Destin d'Amélie"


TRAKT = (
    '[{"rated_at":"2024-03-07T19:37:27.000Z","rating":8,"type":"movie","movie":{"title":"Heat",'
    '"year":1995,"ids":{"trakt":1,"slug":"heat-1995","imdb":"tt0113277","tmdb":949}}},'
    '{"rated_at":"2024-03-08T19:37:27.000Z","rating":9,"type":"movie","movie":{"title":"Heat",'
    '"year":1995,"ids":{"trakt":1,"slug":null,"imdb":null,"tmdb":949}}},'
    '{"rated_at":null,"rating":7,"type":"movie","movie":{"title":"Zerkalo","year":null,'
    '"ids":{"trakt":77,"imdb":null,"tmdb":null}}},'
    '{"rated_at":"2024-03-07T19:37:27.000Z","rating":8,"type":"show","show":{"title":"Heat"}},'
    '{"rated_at":"x","rating":8,"type":"movie","movie":{"title":"Heat","ids":{}}},'
    '{"rating":true,"type":"movie","movie":{"title":"Heat","ids":null}},[]]'
)
TRAKT_REPORT = [
    (1, "superseded", "heat", 8),
    (2, "would import", "heat", 9),
    (3, "would import", "mirror", 7),
    (4, "skipped", None, None),
    (5, "refused", None, None),
    (6, "refused", None, None),
    (7, "refused", None, None),
]


@pytest.mark.parametrize(
    "name",
    [
        "ratings-movies.json",
        "ratings-movies-2.json",
        "ann/ratings/ratings-movies.json",
        "backup/ratings_movies.json",
    ],
)
def test_every_layout_of_trakts_export_is_read(tmp_path: Path, name: str) -> None:
    """Null ids and years, other types, and the later of two."""
    archive = zipped(tmp_path / "trakt.zip", {name: TRAKT, "lists-best.json": "[{}]"})
    assert [line[1:5] for line in report_of("trakt", archive)] == TRAKT_REPORT
    plain = written(tmp_path / "anything.json", TRAKT)
    assert [line[1:5] for line in report_of("trakt", plain)] == TRAKT_REPORT


def test_trakts_history_is_seen_and_not_rated_and_our_export_is_read(tmp_path: Path) -> None:
    movie = '"movie":{"title":"Heat","year":1996,"ids":{"trakt":1}}}]'
    ours = '{"movies":[{"rating":9,"rated_at":"2024-03-07T19:37:27Z","ids":{"tmdb":2103}}]}'
    archive = zipped(
        tmp_path / "trakt.zip",
        {
            "watched-movies.json": '[{"plays":2,"last_watched_at":null,' + movie,
            "watched-history-1.json": '[{"watched_at":"2024-03-07T19:37:27Z","type":"episode",'
            '"episode":{}},{"watched_at":"2024-03-07T19:37:27Z","type":"movie",' + movie,
            "ratings-movies.json": ours,
            "ratings-shows.json": '[{"rating":3,"type":"show","show":{}}]',
        },
    )
    assert [line[:5] for line in report_of("trakt", archive)] == [
        ("ratings-movies.json", 1, "would import", "solaris02", 9),
        ("ratings-shows.json", 1, "skipped", None, None),
        ("watched-history-1.json", 1, "skipped", None, None),
        ("watched-history-1.json", 2, "not rated", "heat", None),
        ("watched-movies.json", 1, "not rated", "heat", None),
    ]


def test_tmdbs_ratings_skip_what_is_no_film(tmp_path: Path) -> None:
    file = written(
        tmp_path / "ratings.csv",
        "TMDb ID,IMDb ID,Type,Name,Release Date,Season Number,Episode Number,Rating,Your Rating,"
        "Date Rated\n949,,movie,Heat,1995-12-15T00:00:00Z,,,8,9,2024-03-07T19:37:27Z\n"
        "1,tt1,tv,Series,2001-01-01,1,2,8,9,2024-03-07T19:37:27Z\n"
        "7,,movie,Solyaris,1972-03-20,,,8,,2024-03-07T19:37:27Z\nx,,movie,Heat,,,,8,9,\n",
    )
    assert [line[1:] for line in report_of("tmdb", file)] == [
        (2, "would import", "heat", 9, ""),
        (3, "skipped", None, None, "the type is 'tv'"),
        (4, "unmatched", None, None, ""),
        (5, "refused", None, None, "'x' is not a TMDB id"),
    ]


STARFOLD = (
    '{"user_id":"x","account":[{"event":"UserCreated"}],"ratings":['
    '{"movie_id":"1","title":"Heat","year":1995,"imdb_id":"tt0113277","tmdb_id":949,'
    '"external_id":null,"history":[{}],'
    '"current":{"score":4.5,"rated_at":"2024-03-07T19:37:27.123Z","review":"Two\\nlines"}},'
    '{"title":"Mirror","year":1975,"external_id":"trakt:77","history":[],"current":null},'
    '{"title":"Zerkalo","year":1976,"external_id":null,'
    '"current":{"score":5,"rated_at":"2024-03-07T19:37:27+02:00","review":null}},'
    '{"title":"Heat","year":1995,"current":{"score":4.3,"rated_at":"2024-03-07T19:37:27Z"}},'
    '{"title":"Heat","year":1995,"current":{"score":4,"rated_at":"2024-03-07T19:37:27"}},7]}'
)


def test_a_starfolds_own_export_is_read(tmp_path: Path) -> None:
    file = written(tmp_path / "mine.json", STARFOLD)
    assert [line[1:] for line in report_of("starfold", file)] == [
        (1, "would import", "heat", 9, "Two\nlines"),
        (2, "skipped", None, None, "the rating was withdrawn, or m"),
        (3, "would import", "mirror", 10, ""),
        (4, "refused", None, None, "the score '4.3' is not from 0."),
        (5, "refused", None, None, "rated_at has no time zone"),
        (6, "refused", None, None, "Expected `object`, got `int`"),
    ]
    other = written(tmp_path / "other.json", '{"movies":[]}')
    with pytest.raises(OperatorError, match="no export of a Starfold in JSON"):
        entries_of("starfold", other)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_spreadsheet_has_any_delimiter(tmp_path: Path, delimiter: str) -> None:
    text = (
        'Title|Year|Rating|Rated At|Review|imdb_id\r\nAmelie|2001|3,5|2024-01-01|"two\nlines"|\r\n'
        "|||2024-01-01T10:00:00+02:00||tt0113277\r\n"
    )
    text = text.replace("3,5", '"3,5"').replace("|", delimiter)
    assert [line[1:] for line in report_of("csv", written(tmp_path / "mine.csv", text))] == [
        (2, "would import", "amelie", 7, "two\nlines"),
        (4, "not rated", "heat", None, ""),
    ]


def test_an_unknown_header_is_refused_with_the_header(tmp_path: Path) -> None:
    file = written(tmp_path / "x.csv", "Foo,Bar\n1,2\n")
    for source in ("letterboxd", "imdb", "movielens", "tmdb", "csv"):
        with pytest.raises(OperatorError, match=r"x\.csv, line 1: unknown header: Foo,Bar"):
            entries_of(source, file)


def test_an_undated_row_is_as_old_as_its_file(tmp_path: Path) -> None:
    file = written(tmp_path / "x.csv", "title,year,rating\nHeat,1995,4\n")
    os.utime(file, (1_700_000_000, 1_700_000_000))
    with open_files(file) as files:
        assert files.written_at.timestamp() == 1_700_000_000


def test_a_report_is_csv_or_json_lines(tmp_path: Path) -> None:
    out = io.StringIO()
    with open_files(written(tmp_path / "x.csv", "title,year,rating\nHeat,1995,9\n")) as files:
        own_rows(spreadsheet.read(files), Report(out, as_csv=True))
    assert out.getvalue().splitlines()[1].startswith("x.csv,2,refused,,,,,,the score '9'")
