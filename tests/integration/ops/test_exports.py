"""`starfold export ratings`: every current rating but those of erased users, and no review."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ops.cli import app
from ops.errors import OperatorError
from tests.support.api import Api
from tests.support.system import System

AT = "2024-05-06T07:08:09Z"
SECONDS = "1714979289"


@pytest.fixture
def writer(system: System, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    command = system.start_command_api()
    home = system.servers.home
    monkeypatch.setenv("STARFOLD_OWNER_DATABASE_URL", home.owner_dsn())
    monkeypatch.setenv("STARFOLD_DATABASE_SCHEMA", system.schema)
    with Api(command.url, command.url, system.service_key()) as client:
        yield client


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def export(form: str, directory: Path) -> Any:
    arguments = ["export", "ratings", "--format", form, str(directory)]
    return CliRunner().invoke(app, arguments)


def test_ratings_are_exported_without_erased_users_and_reviews(writer: Api, tmp_path: Path) -> None:
    ann, ben, erased = (writer.sign_up() for _ in range(3))
    heat = writer.movie(
        "Heat, the film", 1995, genres=["Crime", "Drama"], imdb_id="tt0113277", tmdb_id=949
    )
    mirror, gone = writer.movie("Mirror", 1975), writer.movie("Gone", 1976)
    writer.expect(204, writer.command.delete(f"/v1/movies/{gone}", headers=writer.service))
    for user, movie_id, score in (
        (ann, heat, 1),
        (ann, heat, 4.5),
        (ben, heat, 0.5),
        (ben, mirror, 3),
        (erased, heat, 5),
        (ann, mirror, 2),
    ):
        writer.rate(user, movie_id, score, rated_at=AT, review="A secret review.")
    writer.withdraw(ann, mirror)
    writer.expect(204, writer.command.delete("/v1/users/me", headers=erased.headers))

    result = export("movielens", tmp_path / "ml")
    assert result.exit_code == 0, result.output
    assert "3 ratings exported" in result.output
    assert rows(tmp_path / "ml/movies.csv") == [
        {"movieId": "1", "title": "Heat, the film (1995)", "genres": "Crime|Drama"},
        {"movieId": "2", "title": "Mirror (1975)", "genres": "(no genres listed)"},
    ]
    assert rows(tmp_path / "ml/links.csv") == [
        {"movieId": "1", "imdbId": "0113277", "tmdbId": "949"},
        {"movieId": "2", "imdbId": "", "tmdbId": ""},
    ]
    exported = {tuple(row.values()) for row in rows(tmp_path / "ml/ratings.csv")}
    assert exported == {
        ("1", "1", "4.5", SECONDS),
        ("2", "1", "0.5", SECONDS),
        ("2", "2", "3.0", SECONDS),
    }

    assert export("csv", tmp_path / "csv").exit_code == 0
    written = rows(tmp_path / "csv/ratings.csv")
    assert {(row["user_id"], row["title"], row["rating"]) for row in written} == {
        (ann.user_id, "Heat, the film", "4.5"),
        (ben.user_id, "Heat, the film", "0.5"),
        (ben.user_id, "Mirror", "3.0"),
    }
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or b"secret" not in file.read_bytes()
    assert not list(tmp_path.rglob("*.part"))


def test_a_folder_with_something_in_it_is_left_alone(writer: Api, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    result = export("csv", tmp_path)
    assert isinstance(result.exception, OperatorError)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]
