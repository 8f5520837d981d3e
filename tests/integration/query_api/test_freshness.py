"""Reading one's own writes: a read that is behind says so, and never says that nothing is there."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from query_api.redis_reads import freshness
from tests.conftest import wait_ready
from tests.support.api import POSITION, Api
from tests.support.system import System, eventually


def test_a_read_that_is_behind_is_a_503_and_no_false_404(system: System) -> None:
    command, query = system.start_command_api(), system.start_query_api()
    projector = system.start_projector()
    with Api(command.url, query.url, system.service_key()) as api:
        wait_ready(api)
        projector.stop()
        ann, movie_id = api.sign_up(), api.movie()
        api.rate(ann, movie_id, 4)
        paths = [
            "/v1/movies",
            f"/v1/movies/{movie_id}",
            f"/v1/movies/{movie_id}/ratings",
            "/v1/users/me",
            f"/v1/users/{ann.user_id}",
            f"/v1/users/{ann.user_id}/ratings",
            f"/v1/users/{ann.user_id}/ratings/{movie_id}",
        ]
        # Each answer comes after some seconds: all are asked for at the same time.
        with ThreadPoolExecutor(len(paths)) as pool:
            answers = list(pool.map(lambda path: api.get(path, ann), paths))
        for path, behind in zip(paths, answers, strict=True):
            assert behind.status_code == 503, path
            assert behind.json()["type"].endswith("projection-behind"), path
            assert "Retry-After" in behind.headers
            assert int(behind.headers[POSITION]) < api.position
        system.start_projector()
        eventually(lambda: all(api.get(path, ann).status_code == 200 for path in paths))
        for path in paths:
            assert int(api.get(path, ann).headers[POSITION]) >= api.position


def test_what_is_not_there_is_not_there_as_of_a_position(api: Api) -> None:
    ann, private, movie_id = api.sign_up(), api.sign_up(), api.movie()
    api.note(
        api.command.patch("/v1/users/me", json={"visibility": "private"}, headers=private.headers)
    )
    for path in (
        *(f"/v1/movies/{ann.user_id}{part}" for part in ("", "/ratings", "/stats", "/history")),
        *(f"/v1/users/{movie_id}{part}" for part in ("", "/ratings", f"/ratings/{movie_id}")),
        *(f"/v1/users/{private.user_id}{part}" for part in ("", "/ratings")),
        f"/v1/users/{ann.user_id}/ratings/{movie_id}",
    ):
        for caller in (None, ann):
            missing = api.get(path, caller)
            assert missing.status_code == 404, path
            assert int(missing.headers[POSITION]) >= api.position, path


def test_a_reader_is_woken_when_its_position_is_applied(api: Api) -> None:
    ann, movie_id = api.sign_up(), api.movie()
    for score in (1, 2, 3, 4, 5) * 4:
        api.rate(ann, movie_id, score)
        rating = api.read(f"/v1/users/{ann.user_id}/ratings/{movie_id}")
        assert rating["score"] == score
        assert rating["movie_average"] == score


def test_a_position_that_is_none_is_refused(api: Api) -> None:
    for header in ("-1", "x", "1.5", "", "9" * 30):
        answer = api.query.get("/v1/movies", headers={"Starfold-At-Least": header})
        assert answer.status_code == 422, header


def test_only_so_many_wait_for_a_position(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers beyond the limit are refused at once, and none once the others have given up."""
    monkeypatch.setattr(freshness, "WAITERS_MAX", 3)
    path, far = f"/v1/movies/{api.movie()}", {"Starfold-At-Least": str(2**62)}
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: api.query.get(path, headers=far), range(10)))
    assert {answer.status_code for answer in answers} == {503}
    assert all("Retry-After" in answer.headers for answer in answers)
    codes = [answer.json()["type"].rpartition(":")[2] for answer in answers]
    assert codes.count("projection-behind") == 3
    assert codes.count("overloaded") == 7
    assert api.read(path)["movie_id"] in path
