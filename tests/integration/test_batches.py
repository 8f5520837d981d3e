"""Batches of ratings as large as they may be, with rows of every kind in them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import msgspec
import psutil
import pytest

from command_api.batch_room import BATCHES_MAX
from command_api.bodies import RATINGS_MAX
from command_api.settings import MIB
from shared.events import RatingSubmitted
from tests.api import POSITION, Api
from tests.log import read_log
from tests.processes import CommandProcess, start_processes
from tests.servers import Servers
from tests.system import WITHIN_S, System, eventually

USERS, MOVIES = 100, 100
NOBODY = str(UUID(int=7))
FAR_AHEAD, LONG_AGO = "2999-01-01T00:00:00Z", "1971-01-01T00:00:00Z"
REVIEW = "The last half hour is worth the wait. " * 36
# Of a batch's body, parsed and answered: it is held once as bytes and once as rows.
HELD_BODIES_MAX = 6

Row = dict[str, Any]


@pytest.fixture(scope="module")
def system(servers: Servers) -> Iterator[System]:
    own = System(servers)
    yield own
    own.close()


@pytest.fixture(scope="module")
def process(system: System) -> CommandProcess:
    return start_processes(system, 1)[0]


@pytest.fixture(scope="module")
def api(system: System, process: CommandProcess) -> Iterator[Api]:
    with Api(process.url, process.url, system.service_key()) as client:
        client.command.timeout = 60
        yield client


@pytest.fixture
def pairs(api: Api) -> list[Row]:
    """As many pairs of new users and movies as a batch may have rows."""
    name = uuid4().hex
    users = [{"external_id": f"{name}:{n}", "display_name": "Ann"} for n in range(USERS)]
    movies = [{"title": f"Film {n}", "year": 1970} for n in range(MOVIES)]
    made = {
        field: api.expect(200, api.post(f"/v1/{field}/batch", {field: rows}, api.service))
        for field, rows in (("users", users), ("movies", movies))
    }
    return [
        {"user_id": user["user_id"], "movie_id": movie["movie_id"], "score": 3.5}
        for user in made["users"]["results"]
        for movie in made["movies"]["results"]
    ]


def send(api: Api, rows: list[Any]) -> Any:
    return api.expect(200, api.post("/v1/ratings/batch", {"ratings": rows}, api.service))["results"]


def refused(row: Row) -> list[tuple[Any, str, str]]:
    """Rows that are wrong, each with its status and the end of its problem's type."""
    return [
        ({**row, "score": 3.3}, "rejected", "invalid-input"),
        ({**row, "movie_id": NOBODY}, "rejected", "not-found"),
        ({**row, "user_id": NOBODY}, "rejected", "not-found"),
        ({**row, "user_id": None}, "rejected", "forbidden"),
        ({**row, "rated_at": FAR_AHEAD}, "rejected", "invalid-input"),
        ({**row, "rated_at": LONG_AGO}, "superseded", "rating-superseded"),
        ({**row, "colour": "red"}, "rejected", "invalid-input"),
        ({}, "rejected", "invalid-input"),
        (None, "rejected", "invalid-input"),
        ([row], "rejected", "invalid-input"),
        ("nonsense", "rejected", "invalid-input"),
    ]


def test_of_10_000_rows_the_bad_ones_spoil_no_other(
    system: System, api: Api, pairs: list[Row]
) -> None:
    """Results come in the order of the rows, and so do the events of the good ones."""
    assert len(pairs) == RATINGS_MAX
    standing = pairs[0]
    send(api, [standing])
    rows: list[Any] = []
    expected: list[tuple[str, str | None]] = []
    for number, row in enumerate(pairs[1:]):
        wrong = refused({**standing, "score": 1})
        bad, status, kind = wrong[number % len(wrong)]
        rows += [row, bad]
        expected += [("created", None), (status, kind)]
    rows, expected = rows[:RATINGS_MAX], expected[:RATINGS_MAX]
    answer = api.post("/v1/ratings/batch", {"ratings": rows}, api.service)
    results = api.expect(200, answer)["results"]
    assert [result["index"] for result in results] == list(range(RATINGS_MAX))
    assert [_outcome(result) for result in results] == expected
    events = [entry.event for entry in read_log(system.event_store(), system.key_wrap())]
    rated = [str(event.movie_id) for event in events if isinstance(event, RatingSubmitted)]
    assert rated[-RATINGS_MAX // 2 :] == [row["movie_id"] for row in rows[::2]]
    assert int(answer.headers[POSITION]) == system.event_store().head()


def _outcome(result: Row) -> tuple[str, str | None]:
    problem = result.get("problem")
    return result["status"], problem["type"].rpartition(":")[2] if problem else None


def test_a_batch_sent_again_changes_nothing(system: System, api: Api, pairs: list[Row]) -> None:
    first = send(api, pairs[:500])
    head = system.event_store().head()
    again = send(api, pairs[:500])
    assert {result["status"] for result in first} == {"created"}
    assert {result["status"] for result in again} == {"unchanged"}
    assert system.event_store().head() == head


@pytest.mark.parametrize(("rows", "status"), [(0, 422), (1, 200), (RATINGS_MAX + 1, 422)])
def test_a_batch_has_one_to_10_000_rows(api: Api, pairs: list[Row], rows: int, status: int) -> None:
    body = {"ratings": [pairs[0]] * rows}
    assert api.post("/v1/ratings/batch", body, api.service).status_code == status


def test_a_batch_over_16_mib_is_a_413(api: Api, pairs: list[Row]) -> None:
    rows = [{**pairs[0], "review": "x" * 10_000}] * 1_700
    assert api.post("/v1/ratings/batch", {"ratings": rows}, api.service).status_code == 413


def test_more_batches_than_a_process_takes_are_told_to_come_again(
    process: CommandProcess, api: Api, pairs: list[Row]
) -> None:
    """The others are known, and their bodies have been asked for and not been sent yet."""
    head = (
        "POST /v1/ratings/batch HTTP/1.1\r\nhost: starfold\r\ncontent-type: application/json\r\n"
        f"authorization: {api.service['Authorization']}\r\n"
        "expect: 100-continue\r\ncontent-length: 1000\r\n\r\n"
    )
    address = urlsplit(process.url)
    with ExitStack() as held:
        for _ in range(BATCHES_MAX):
            waiting = socket.create_connection((address.hostname, address.port), timeout=WITHIN_S)
            held.enter_context(waiting)
            waiting.sendall(head.encode())
            assert waiting.recv(100).startswith(b"HTTP/1.1 100 ")
        assert _is_told_to_come_again(api, pairs)
        assert api.command.get("/ready").status_code == 200
    eventually(lambda: not _is_told_to_come_again(api, pairs))


def _is_told_to_come_again(api: Api, pairs: list[Row]) -> bool:
    answer = api.post("/v1/ratings/batch", {"ratings": pairs[:1]}, api.service)
    if answer.status_code == 200:
        return False
    assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (503, "overloaded")
    assert answer.headers["Retry-After"]
    return True


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer nonsense"}])
def test_nobody_sends_a_batch(api: Api, headers: dict[str, str]) -> None:
    """However large: its body is not read."""
    body = {"ratings": ["x" * 8 * MIB]}
    answer = api.post("/v1/ratings/batch", body, headers)
    assert answer.status_code == 401, answer.text
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_batch_takes_memory_by_its_own_size(
    process: CommandProcess, api: Api, pairs: list[Row]
) -> None:
    """As many rows as there may be, with as many words as the body takes."""
    send(api, pairs)
    rows = [{**row, "review": REVIEW} for row in pairs]
    size = len(msgspec.json.encode({"ratings": rows}))
    assert 14 * MIB < size < 16 * MIB
    running = psutil.Process(process.pid)
    before = running.memory_info().rss
    assert {result["status"] for result in send(api, rows)} == {"changed"}
    assert running.memory_info().rss - before < HELD_BODIES_MAX * size
