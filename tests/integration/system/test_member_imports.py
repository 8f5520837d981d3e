"""Members import their ratings from elsewhere: the file, the worker's reading, the writing."""

from __future__ import annotations

import asyncio
import io
import zipfile
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from uuid import UUID, uuid4

import httpx
import pytest

from command_api.bulk.room import BULK_REQUESTS_PER_CALLER_MAX as UPLOADS
from command_api.imports.shelf import Shelf
from shared.errors import Overloaded
from shared.ids import UserId
from tests.support.api import problem
from tests.support.importing import IMPORTS, SHEET, Importing


def test_an_import_is_read_written_reported_and_completed_by_choices(
    importing: Importing,
) -> None:
    ann = importing.sign_up()
    location = importing.start(ann, SHEET)
    assert importing.state(ann, location)["progress"] == 0
    assert importing.send(ann, SHEET).headers["location"] == location
    assert problem(importing.send(ann, "title,year,rating\n"))["status"] == 409
    assert importing.inbox.step()
    found = importing.ended(ann, location)
    assert (found["state"], found["format"], found["progress"]) == ("finished", "csv", 1)
    assert found["rows"] == {"imported": 2, "unmatched": 2, "refused": 1}
    assert importing.ratings(ann) == {"Heat": 4.5, "Alien": 5}
    twins, unheard = found["unmatched"]
    assert (twins["title"], twins["year"], twins["half_stars"]) == ("Twins", 1988, 4)
    assert [one["title"] for one in twins["candidates"]] == ["Twins", "Twins"]
    assert (unheard["title"], unheard["candidates"]) == ("Unheard Of", [])
    lines = importing.report(ann, location)
    assert [(line["line"], line["status"]) for line in lines] == [
        ("2", "imported"),
        ("4", "imported"),
        ("5", "unmatched"),
        ("6", "unmatched"),
        ("7", "refused"),
    ]
    # Nothing of the file is left but the films to choose for and the report.
    kinds = importing.owner.execute("SELECT DISTINCT kind FROM import_parts").fetchall()
    assert not {("file",), ("ratings",)} & {*kinds}

    chosen = {"film": twins["film"], "movie_id": twins["candidates"][1]["movie_id"]}
    choices = f"{location}/choices"
    for odd in ({"film": 99}, {"movie_id": str(uuid4())}, {"movie_id": ann.user_id}):
        refused = importing.post(choices, {"choices": [chosen | odd]}, ann.headers)
        assert problem(refused)["status"] == 422
    importing.expect(202, importing.post(choices, {"choices": [chosen]}, ann.headers))
    found = importing.ended(ann, location)
    assert found["rows"] == {"imported": 3, "unmatched": 1, "refused": 1}
    assert [film["title"] for film in found["unmatched"]] == ["Unheard Of"]
    assert importing.ratings(ann) == {"Heat": 4.5, "Alien": 5, "Twins": 2}
    assert problem(importing.post(choices, {"choices": [chosen]}, ann.headers))["status"] == 422

    again = importing.imported(ann, SHEET)
    assert again["rows"] == {"unchanged": 2, "unmatched": 2, "refused": 1}
    items = importing.command.get(IMPORTS, headers=ann.headers).json()["items"]
    assert [one["import_id"] for one in items] == [again["import_id"], found["import_id"]]


def test_each_format_is_found_from_the_file(importing: Importing) -> None:
    ann = importing.sign_up()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as made:
        head, row = "Date,Name,Year,Letterboxd URI", "2024-01-02,Heat,1995,u"
        made.writestr("out/ratings.csv", f"{head},Rating\n{row},4\n")
        made.writestr("out/watched.csv", f"{head}\n{row}\n")
    trakt = (
        '[{"rated_at":"2024-03-07T19:37:27.000Z","rating":9,'
        '"movie":{"title":"Heat","year":1995,"ids":{}}}]'
    )
    imdb = (
        "Const,Your Rating,Date Rated,Title,URL,Title Type,Year\n"
        "tt0113277,7,2024-04-01,Heat,u,Movie,1995\n"
    )
    tmdb = (
        "TMDb ID,IMDb ID,Type,Name,Release Date,Season Number,Episode Number,Rating,Your Rating,"
        "Date Rated\n348,,movie,Alien,1979-01-01,,,8,6,2024-05-01T00:00:00Z\n"
    )
    found = [
        importing.imported(ann, content) for content in (archive.getvalue(), trakt, imdb, tmdb)
    ]
    assert [one["format"] for one in found] == ["letterboxd", "trakt", "imdb", "tmdb"]
    assert [one["rows"] for one in found] == [
        {"not rated": 1, "imported": 1},
        {"imported": 1},
        {"imported": 1},
        {"imported": 1},
    ]
    assert importing.ratings(ann) == {"Heat": 3.5, "Alien": 3}


def _bomb() -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("ratings.csv", bytes(50 * 1024**2))
    return archive.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (_bomb(), "times its size"),
        (b"\0\1\2\3", "NUL bytes"),
        (b"PK\3\4 no archive", "no readable ZIP archive"),
        (b"colour,taste\nred,sweet\n", "unknown header: colour,taste"),
        (b",".join(b"c%d" % number for number in range(9_999)), "9,999 columns"),
    ],
)
def test_a_hostile_file_fails_with_a_reason(
    importing: Importing, content: bytes, reason: str
) -> None:
    found = importing.imported(importing.sign_up(), content)
    assert (found["state"], found["rows"]) == ("failed", {})
    assert reason in found["failure"]
    assert "/" not in found["failure"], "a path of this machine"
    assert importing.rows(f"imports WHERE strpos(failure, '{reason}') > 0") == 0
    assert importing.rows("import_parts WHERE kind = 'file'") == 0


def test_what_is_too_large_empty_or_of_an_unknown_format_is_refused(importing: Importing) -> None:
    ann = importing.sign_up()
    assert problem(importing.send(ann, bytes(16 * 1024**2 + 1)))["status"] == 413
    assert problem(importing.send(ann, b""))["status"] == 422
    assert problem(importing.send(ann, SHEET, format="xlsx"))["status"] == 422
    assert importing.command.get(IMPORTS, headers=ann.headers).json() == {"items": []}


def test_an_import_is_its_members_own_and_gone_with_them(importing: Importing) -> None:
    ann, bob = importing.sign_up(), importing.sign_up()
    location = importing.start(ann, SHEET)
    for method, path in (("GET", ""), ("GET", "/report"), ("DELETE", "")):
        answer = importing.command.request(method, location + path, headers=bob.headers)
        assert problem(answer)["status"] == 404
    chosen = {"choices": [{"film": 0, "movie_id": str(uuid4())}]}
    assert problem(importing.post(f"{location}/choices", chosen, bob.headers))["status"] == 404
    assert problem(importing.post(f"{location}/choices", chosen, ann.headers))["status"] == 409
    assert importing.command.get(IMPORTS, headers=bob.headers).json() == {"items": []}
    # What is stored is sealed.
    ((content,),) = importing.owner.execute(
        "SELECT content FROM import_parts WHERE import_id = %s", [location.rpartition("/")[2]]
    ).fetchall()
    assert b"Heat" not in content

    importing.expect(204, importing.command.delete(location, headers=ann.headers))
    assert not importing.inbox.step()
    location = importing.start(ann, SHEET)
    importing.expect(204, importing.command.delete("/v1/users/me", headers=ann.headers))
    assert importing.rows(f"imports WHERE user_id = '{ann.user_id}'") == 0
    assert not importing.inbox.step()


def test_ratings_of_a_movie_and_of_one_merged_into_it_are_both_decided(
    importing: Importing,
) -> None:
    """The later one counts, whichever the file names first."""
    ann, kept, merged = importing.sign_up(), *(importing.movie("Kept", 2020) for _ in range(2))
    answer = importing.post(f"/v1/movies/{merged}/merge", {"into": kept}, importing.service)
    assert not answer.is_error, answer.text
    location = importing.start(
        ann,
        "title,year,rating,rated_at\nFirst,1930,2,2024-01-01\nSecond,1931,5,2024-01-02\n",
    )
    assert importing.inbox.step()
    films = [film["film"] for film in importing.ended(ann, location)["unmatched"]]
    choices = [
        {"film": film, "movie_id": movie} for film, movie in zip(films, (kept, merged), strict=True)
    ]
    answer = importing.post(f"{location}/choices", {"choices": choices}, ann.headers)
    importing.expect(202, answer)
    assert importing.ended(ann, location)["rows"] == {"imported": 2, "unmatched": 0}
    assert importing.ratings(ann) == {"Kept": 5}


def test_no_movies_are_chosen_while_another_import_is_in_progress(importing: Importing) -> None:
    ann = importing.sign_up()
    found = importing.imported(ann, SHEET)
    location = f"{IMPORTS}/{found['import_id']}"
    film = found["unmatched"][0]
    chosen = {"film": film["film"], "movie_id": film["candidates"][0]["movie_id"]}

    def choose() -> httpx.Response:
        return importing.post(f"{location}/choices", {"choices": [chosen]}, ann.headers)

    other = importing.start(ann, SHEET)
    assert problem(choose())["status"] == 409
    importing.expect(204, importing.command.delete(other, headers=ann.headers))
    # As the index refuses it when the other import begins at the same moment.
    with importing.trigger("BEFORE UPDATE", "RAISE unique_violation;"):
        assert problem(choose())["status"] == 409
    importing.expect(202, choose())
    assert importing.ended(ann, location)["rows"]["imported"] == 3


def test_an_upload_whose_predecessor_ends_at_the_same_moment_is_a_conflict(
    importing: Importing,
) -> None:
    ann = importing.sign_up()
    with importing.trigger("BEFORE INSERT", "RETURN NULL;"):
        assert problem(importing.send(ann, SHEET))["status"] == 409
    assert importing.imported(ann, SHEET)["state"] == "finished"


def test_the_files_that_wait_have_limited_bytes_in_all(
    importing: Importing, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, bob, eve = importing.sign_up(), importing.sign_up(), importing.sign_up()
    store = importing.system.command_store()
    shelf = Shelf(store, importing.system.key_wrap(), b"")
    monkeypatch.setattr("command_api.imports.shelf.WAITING_BYTES_MAX", 2_100)

    async def add() -> None:
        for user in (ann, bob):
            await shelf.add(UserId(UUID(user.user_id)), bytes(1_000), None)
        with pytest.raises(Overloaded, match="2 imports of 2,056 bytes are waiting"):
            await shelf.add(UserId(UUID(eve.user_id)), bytes(1_000), None)
        await store.close()

    asyncio.run(add())
    while importing.inbox.step():
        pass
    assert importing.imported(eve, SHEET)["state"] == "finished"


def test_a_member_has_a_limited_number_of_uploads_and_reports_in_progress(
    importing: Importing,
) -> None:
    ann = importing.sign_up()
    location = f"{IMPORTS}/{importing.imported(ann, SHEET)['import_id']}"

    def report() -> int:
        return importing.command.get(f"{location}/report", headers=ann.headers).status_code

    def upload() -> int:
        return importing.send(ann, SHEET).status_code

    requests = (("import_parts", 1, report, 200), ("imports", UPLOADS, upload, 202))
    with ThreadPoolExecutor(UPLOADS + 1) as pool:
        for table, places, request, accepted in requests:
            with importing.owner.transaction():
                importing.owner.execute(f"LOCK TABLE {table}")
                sent = [pool.submit(request) for _ in range(places + 1)]
                refused, _ = wait(sent, return_when=FIRST_COMPLETED)
            assert {one.result() for one in refused} == {503}
            assert {one.result() for one in sent if one not in refused} == {accepted}
    assert importing.inbox.step()
