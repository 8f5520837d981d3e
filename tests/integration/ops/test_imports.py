"""`starfold import` against a running Starfold: what it writes, and what a repeat does."""

from __future__ import annotations

import json
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from ops.cli import app
from ops.home.client import client_of
from ops.home.folder import Addresses
from ops.imports.importer import Import
from ops.imports.reading.entry import Source
from starfold_client import NewRating, Starfold
from tests.support.api import Api
from tests.support.local_starfold import starfold as starfold_command
from tests.support.scenarios.expected_statistics import differences
from tests.support.scenarios.synthetic_movielens import write_movielens
from tests.support.system import eventually

Imported = Callable[..., list[dict[str, Any]]]

HEADER = "Date,Name,Year,Letterboxd URI,Rating"
REVIEWS = f"{HEADER},Rewatch,Review,Tags,Watched Date"


@pytest.fixture
def client(api: Api) -> Iterator[Starfold]:
    addresses = Addresses(str(api.command.base_url), str(api.query.base_url))
    with client_of(addresses, api.service["Authorization"].removeprefix("Bearer ")) as client:
        yield client


@pytest.fixture
def run(api: Api, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    for name, value in {
        "COMMAND_URL": str(api.command.base_url),
        "QUERY_URL": str(api.query.base_url),
        "API_KEY": api.service["Authorization"].removeprefix("Bearer "),
    }.items():
        monkeypatch.setenv(f"STARFOLD_{name}", value)

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(app, ["import", *map(str, arguments)])

    return run


@pytest.fixture
def imported(run: Callable[..., Result], tmp_path: Path) -> Imported:
    """Import, and return the report's lines."""

    def imported(*arguments: object) -> list[dict[str, Any]]:
        report = tmp_path / "report.jsonl"
        result = run(*arguments, "--report", report)
        assert result.exit_code == 0, result.output
        return [json.loads(line) for line in report.read_text().splitlines()]

    return imported


def external_user(client: Starfold, external_id: str) -> str:
    return str(client.create_external_user(external_id, "Ann").user_id)


def rate(client: Starfold, user_id: str, movie_id: str, score: float) -> None:
    rating = NewRating(user_id=user_id, movie_id=movie_id, score=score)
    assert client.submit_rating(rating).status == "changed"


def head_of(client: Starfold) -> int:
    """Return the log's last position; what the client reads from now on includes it."""
    position = client.command_ready().position
    client.caller.note(position)
    return position


def test_a_letterboxd_export_is_imported_once_and_a_repeat_changes_nothing(
    api: Api, client: Starfold, imported: Imported, tmp_path: Path
) -> None:
    heat, ran = api.movie("Heat", 1995), api.movie("Ran", 1985, alternative_titles=["Chaos"])
    ann = external_user(client, "letterboxd:ann")
    archive = tmp_path / "letterboxd.zip"
    with zipfile.ZipFile(archive, "w") as out:
        rows = f"{HEADER}\n2024-01-05,Heat,1995,x,4\n2024-01-06,Chaos,1986,x,3\n1,x,1,1,1,1\n"
        out.writestr("me/ratings.csv", rows)
        review = '2024-01-04,Heat,1995,x,2,,"Two\nlines",,2024-01-04'
        out.writestr("me/reviews.csv", f"{REVIEWS}\n{review}\n2024-01-04,None such,1995,x,2,,,,\n")

    dry = imported("letterboxd", archive, "--user", ann, "--dry-run")
    assert sorted(line["status"] for line in dry) == [
        "refused", "unmatched", "would import", "would import", "would import",
    ]  # fmt: skip
    assert client.get_profile(ann).ratings.count == 0

    first = imported("letterboxd", archive, "--user", ann)
    assert {(line["file"], line["line"]): line["status"] for line in first} == {
        ("ratings.csv", 2): "imported",
        ("ratings.csv", 3): "imported",
        ("ratings.csv", 4): "refused",
        ("reviews.csv", 2): "imported",
        ("reviews.csv", 4): "unmatched",
    }
    head = head_of(client)
    ratings = client.list_user_ratings(ann).items
    assert {str(one.movie_id): (one.score, one.review, one.rated_at) for one in ratings} == {
        heat: (4.0, "Two\nlines", datetime(2024, 1, 5, 12, tzinfo=UTC)),
        ran: (3.0, None, datetime(2024, 1, 6, 12, tzinfo=UTC)),
    }

    again = imported("letterboxd", archive, "--user", ann)
    assert [line["status"] for line in again].count("unchanged") == 3
    assert head_of(client) == head, "a repeat appends nothing"

    rate(client, ann, heat, 0.5)
    later = imported("letterboxd", archive, "--user", ann)
    assert {line["status"] for line in later if line["movie_id"] == heat} == {"superseded"}


def test_a_row_without_a_date_does_not_undo_what_the_user_did_since(
    api: Api, client: Starfold, imported: Imported, tmp_path: Path
) -> None:
    movie, ann = api.movie("Stalker", 1979, tmdb_id=1398), external_user(client, "mine:ann")
    file = tmp_path / "mine.csv"
    file.write_text("tmdb_id,rating10\n1398,9\n")
    assert [line["status"] for line in imported("csv", file, "--user", "mine:ann")] == ["imported"]
    rate(client, ann, movie, 0.5)
    again = imported("csv", file, "--user", "mine:ann")
    assert [line["status"] for line in again] == ["superseded"]


def test_a_member_imports_for_themselves_and_a_service_not_for_them(
    api: Api, client: Starfold, imported: Imported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    movie, ann = api.movie("Nostalghia", 1983, imdb_id="tt0086022"), api.sign_up()
    file = tmp_path / "imdb.csv"
    file.write_text("Const,Your Rating,Date Rated\ntt0086022,9,2020-01-01\n")
    (line,) = imported("imdb", file, "--user", ann.user_id)
    assert line["status"] == "refused"
    assert "a service rates only for users with an external id" in line["detail"]
    monkeypatch.setenv("STARFOLD_API_KEY", ann.token)
    (line,) = imported("imdb", file)
    assert (line["status"], line["movie_id"]) == ("imported", movie)
    head_of(client)
    assert client.get_profile(ann.user_id).ratings.average == 4.5


def test_a_refusal_of_the_command_api_is_a_reason_in_the_report(
    api: Api, imported: Imported, tmp_path: Path
) -> None:
    api.movie("Solaris", 1972, imdb_id="tt0069293")
    file = tmp_path / "imdb.csv"
    file.write_text("Const,Your Rating,Date Rated\ntt0069293,9,2999-01-01\n")
    (line,) = imported("imdb", file, "--user", "external:ann")
    assert (line["status"], line["detail"]) == (
        "refused",
        "rated_at is more than 5 minutes in the future",
    )


def test_a_data_set_creates_its_users_and_the_films_that_are_missing(
    api: Api, client: Starfold, imported: Imported, run: Callable[..., Result], tmp_path: Path
) -> None:
    api.movie("Fargo", 1996)
    folder = write_movielens(tmp_path / "ml", seed=1)
    assert {line["status"] for line in imported("movielens", folder, "--dry-run")} == {
        "would import"
    }
    head = head_of(client)
    first = imported("movielens", folder)
    assert {line["status"] for line in first} == {"imported"}
    assert len(first) == 2_400
    assert head_of(client) > head
    assert differences(client, folder) == []

    head = head_of(client)
    again = imported("movielens", folder)
    assert {line["status"] for line in again} == {"unchanged"}
    assert head_of(client) == head, "a repeat appends nothing"
    refused = run("movielens", folder, "--user", "ann")
    assert "a data set has users of its own" in str(refused.exception)


def test_an_interrupted_import_ends_its_requests_and_is_repeated(
    api: Api, client: Starfold, imported: Imported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C at the second request; the report tells what was written."""
    folder = write_movielens(tmp_path / "ml", seed=2, later_s=86_400)
    created: list[int] = []
    create_users = Import._create_users

    def interrupted(self: Import, source: Source, entries: Any, users: Any) -> None:
        if created:
            raise KeyboardInterrupt
        created.append(len(entries))
        create_users(self, source, entries, users)

    with monkeypatch.context() as patch:
        patch.setattr(Import, "_create_users", interrupted)
        patch.setattr("ops.imports.importer.ROWS_AT_ONCE", 1_000)
        result = CliRunner().invoke(
            app, ["import", "movielens", str(folder), "--report", str(tmp_path / "cut.jsonl")]
        )
    assert result.exit_code == 130
    assert "ratings read" in result.output
    lines = imported("movielens", folder)
    assert len(lines) == 2_400
    assert {line["status"] for line in lines} <= {"imported", "unchanged"}
    assert differences(client, folder) == []


def test_a_killed_import_is_repeated_without_doubling(
    client: Starfold, imported: Imported, run: Callable[..., Result], tmp_path: Path
) -> None:
    folder = write_movielens(tmp_path / "ml", seed=3, later_s=2 * 86_400)
    before = head_of(client)
    with subprocess.Popen(
        starfold_command("import", "movielens", str(folder)), stdout=subprocess.DEVNULL
    ) as killed:
        eventually(lambda: head_of(client) > before)
        killed.kill()
    lines = imported("movielens", folder)
    assert len(lines) == 2_400
    assert {line["status"] for line in lines} <= {"imported", "unchanged"}
    assert differences(client, folder) == []


def test_a_row_of_now_is_one_request_however_often_the_same_file_is_imported(
    api: Api, client: Starfold, imported: Imported, tmp_path: Path
) -> None:
    """Its day has no noon yet, so that it is dated now: a repeat must not undo a later rating."""
    movie, ann = api.movie("Sans Soleil", 1983, imdb_id="tt0084628"), "mine:now"
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).date().isoformat()
    file = tmp_path / "imdb.csv"
    file.write_text(f"Const,Your Rating,Date Rated\ntt0084628,9,{tomorrow}\n")

    def score() -> float:
        head_of(client)
        return client.get_user_rating(external_user(client, ann), movie).score

    assert [one["status"] for one in imported("imdb", file, "--user", ann)] == ["imported"]
    assert score() == 4.5
    rate(client, external_user(client, ann), movie, 1)
    assert [one["status"] for one in imported("imdb", file, "--user", ann)] == ["imported"]
    assert score() == 1, "the repeat got the first answer"
    file.write_text(file.read_text() + "\n")
    imported("imdb", file, "--user", ann)
    assert score() == 4.5, "another file is another request"
