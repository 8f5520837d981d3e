"""Members export their ratings for other programs."""

from __future__ import annotations

import csv
import io
import json

from tests.support.api import Api

EXPORT = "/v1/users/me/export"


def test_the_current_ratings_are_exported_in_each_format(api: Api) -> None:
    ann = api.sign_up()
    heat = api.movie("Heat", 1995, imdb_id="tt7200001", tmdb_id=7200001)
    old, withdrawn = api.movie("Merged away", 1996), api.movie("Withdrawn", 1997)
    for movie_id, score in ((heat, 3), (heat, 4.5), (old, 2), (withdrawn, 1)):
        at = "2024-05-06T07:08:09.123Z"
        api.rate(ann, movie_id, score, rated_at=at, review='Quoted, "so"\nand on.')
    api.withdraw(ann, withdrawn)
    kept = api.movie("Kept", 1996)
    api.expect(202, api.post(f"/v1/movies/{old}/merge", {"into": kept}, api.service))
    answers = {
        kind: api.command.get(EXPORT, params={"format": kind}, headers=ann.headers)
        for kind in ("csv", "letterboxd", "trakt", "json")
    }
    assert [
        (answer.status_code, answer.headers["content-type"]) for answer in answers.values()
    ] == [
        (200, "text/csv; charset=utf-8"),
        (200, "text/csv; charset=utf-8"),
        (200, "application/json"),
        (200, "application/json"),
    ]
    assert 'filename="letterboxd.csv"' in answers["letterboxd"].headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answers["csv"].text, newline="")))
    rated = {row["title"]: row for row in rows}
    assert len(rows) == 2
    assert "Withdrawn" not in rated
    assert rated["Heat"] == {
        "imdb_id": "tt7200001",
        "tmdb_id": "7200001",
        "external_id": "",
        "title": "Heat",
        "year": "1995",
        "rating": "4.5",
        "rated_at": "2024-05-06T07:08:09.123Z",
        "review": 'Quoted, "so"\nand on.',
    }
    movies = json.loads(answers["trakt"].content)["movies"]
    assert {one["title"]: one["rating"] for one in movies}["Heat"] == 9
    default = api.command.get(EXPORT, headers=ann.headers)
    assert default.json().keys() == answers["json"].json().keys()
    assert 'filename="starfold-export.json"' in default.headers["content-disposition"]


def test_an_unknown_format_is_refused_and_nobody_else_is_admitted(api: Api) -> None:
    ann = api.sign_up()
    wrong = api.command.get(EXPORT, params={"format": "xlsx"}, headers=ann.headers)
    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (422, "/query/format")
    assert api.command.get(EXPORT, params={"format": "csv"}).status_code == 401
    empty = api.command.get(EXPORT, params={"format": "csv"}, headers=ann.headers)
    assert empty.text.splitlines() == [
        "imdb_id,tmdb_id,external_id,title,year,rating,rated_at,review"
    ]
