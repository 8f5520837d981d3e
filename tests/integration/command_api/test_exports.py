"""Members export their ratings for other programs, and all that is stored of them."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from typing import Any
from uuid import uuid4

import pytest

from command_api.privacy.export import Export
from command_api.store.store import Store
from shared.errors import Overloaded
from shared.ids import UserId
from tests.support.api import Api
from tests.support.system import System

NAME, EMAIL, REVIEW = "Cassandra Quill", "cassandra@quill.example", "A dream of wet grass."
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


def test_an_export_holds_all_that_one_did(api: Api) -> None:
    ann = api.sign_up(EMAIL, NAME)
    rated, other = api.movie("Stalker"), api.movie("Solaris")
    api.rate(ann, rated, 4.5, review=REVIEW)
    api.rate(ann, rated, 3)
    api.withdraw(ann, rated)
    api.rate(api.sign_up(), other, 1, review="Not hers.")
    answer = api.command.get("/v1/users/me/export", headers=ann.headers)
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    export = answer.json()
    assert export["user_id"] == ann.user_id
    assert export["position"] == api.position
    (created,) = export["account"]
    assert (created["email"], created["display_name"]) == (EMAIL, NAME)
    (rating,) = export["ratings"]
    assert (rating["movie_id"], rating["title"]) == (rated, "Stalker")
    assert [entry["event"] for entry in rating["history"]] == [
        "RatingSubmitted",
        "RatingSubmitted",
        "RatingWithdrawn",
    ]
    assert [entry.get("score") for entry in rating["history"]] == [4.5, 3, None]
    assert rating["history"][0]["review"] == REVIEW
    assert len(export["sessions"]) == 1
    assert "argon2" not in answer.text
    assert "Not hers" not in answer.text


class HeldExport(Export):
    """Makes no export until it is let go."""

    def __init__(self, system: System) -> None:
        super().__init__(system.command_store(), system.codec(), system.key_wrap())
        self.begun: set[UserId] = set()
        self.let_go = asyncio.Event()

    async def _of(self, store: Store, user_id: UserId) -> dict[str, Any]:
        self.begun.add(user_id)
        await self.let_go.wait()
        return await super()._of(store, user_id)


def test_a_user_has_one_export_made_at_a_time(system: System) -> None:
    """So that nobody takes the places of all."""
    export = HeldExport(system)
    ann, ben, cleo = (UserId(uuid4()) for _ in range(3))

    async def run() -> None:
        first = asyncio.create_task(export.of(ann))
        await asyncio.sleep(0)
        assert export.begun == {ann}
        with pytest.raises(Overloaded, match="this user"):
            await export.of(ann)
        second = asyncio.create_task(export.of(ben))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="too many"):
            await export.of(cleo)
        export.let_go.set()
        assert {(await first)[:1], (await second)[:1]} == {b"{"}
        assert await export.of(ann)

    asyncio.run(run())


def test_a_user_of_no_ratings_and_a_service_have_little_to_export(api: Api) -> None:
    ann = api.sign_up()
    api.command.delete("/v1/sessions/current", headers=ann.headers)
    path = "/v1/users/me/export"
    assert api.command.get(path, headers=ann.headers).status_code == 401
    assert api.command.get(path, headers=api.service).status_code == 403
    ben = api.sign_up()
    assert api.command.get(path, headers=ben.headers).json()["ratings"] == []
