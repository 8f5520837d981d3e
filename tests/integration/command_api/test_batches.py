"""Batches of ratings as large as they may be, with rows of every kind in them."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import httpx
import msgspec
import psutil
import pytest

from command_api.bodies.fields import REVIEW_CHARS_MAX
from command_api.bodies.models import RATING_BYTES_MAX, RATINGS_MAX
from command_api.bulk.requests import ERRORS_A_BODY_MAX, ERRORS_A_ROW_MAX
from command_api.bulk.room import BULK_REQUESTS_MAX, BULK_REQUESTS_PER_CALLER_MAX
from command_api.settings import MIB
from shared.log.events import RatingSubmitted
from tests.support.api import POSITION, Api
from tests.support.log import read_log
from tests.support.processes import CommandProcess, start_processes
from tests.support.servers import Servers
from tests.support.system import WITHIN_S, System, eventually

USERS, MOVIES = 100, 100
NOBODY = str(UUID(int=7))
FAR_AHEAD, LONG_AGO = "2999-01-01T00:00:00Z", "1971-01-01T00:00:00Z"
REVIEW = "The last half hour is worth the wait. " * 36
# A bulk body, parsed and answered, is in memory once as bytes and once as rows.
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


def test_batches_that_come_slowly_keep_nobody_out(
    process: CommandProcess, api: Api, pairs: list[Row]
) -> None:
    """Not even their own sender: a place is taken once a body is there."""
    body = msgspec.json.encode({"ratings": pairs[:1]})
    head = (
        "POST /v1/ratings/batch HTTP/1.1\r\nhost: starfold\r\ncontent-type: application/json\r\n"
        f"authorization: {api.service['Authorization']}\r\n"
        f"expect: 100-continue\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    address = urlsplit(process.url)
    with ExitStack() as held:
        slow: list[socket.socket] = []
        for _ in range(BULK_REQUESTS_MAX + 1):
            waiting = socket.create_connection((address.hostname, address.port), timeout=WITHIN_S)
            slow.append(held.enter_context(waiting))
            waiting.sendall(head.encode())
            assert waiting.recv(100).startswith(b"HTTP/1.1 100 ")
            waiting.sendall(body[:1])
        assert _status_of_a_batch(api, pairs) == 200
        slow[0].sendall(body[1:])
        assert slow[0].recv(100).startswith(b"HTTP/1.1 200 ")


def test_a_caller_has_some_of_the_places_and_others_have_the_rest(
    system: System, api: Api, pairs: list[Row]
) -> None:
    """While the append lock is held, no batch ends."""
    other = {"Authorization": f"Bearer {system.service_key()}"}
    batch = {"ratings": pairs[:1]}
    with ThreadPoolExecutor(BULK_REQUESTS_MAX) as pool, ExitStack() as held:
        owner = held.enter_context(system.owner())
        held.enter_context(owner.transaction())
        owner.execute("SELECT hold_append_lock()")
        mine = [
            pool.submit(api.post, "/v1/ratings/batch", batch, api.service)
            for _ in range(BULK_REQUESTS_PER_CALLER_MAX)
        ]
        eventually(lambda: _status_of_a_batch(api, [], api.service) == 503)
        assert _status_of_a_batch(api, [], other) == 422
        theirs = pool.submit(api.post, "/v1/ratings/batch", batch, other)
        held.close()
        assert {one.result().status_code for one in (*mine, theirs)} == {200}
    assert _status_of_a_batch(api, pairs, api.service) == 200


def _status_of_a_batch(api: Api, pairs: list[Row], headers: dict[str, str] | None = None) -> int:
    batch = {"ratings": pairs[:1]}
    answer = api.post("/v1/ratings/batch", batch, headers or api.service)
    if answer.status_code == 503:
        assert answer.json()["type"].rpartition(":")[2] == "overloaded"
        assert answer.headers["Retry-After"]
    return answer.status_code


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer nonsense"}])
def test_nobody_sends_a_batch(api: Api, headers: dict[str, str]) -> None:
    """However large, and however often on one connection: its body is not read."""
    body = {"ratings": ["x" * 8 * MIB]}
    with httpx.Client(base_url=api.command.base_url, timeout=60) as one:
        for _ in range(6):
            answer = one.post("/v1/ratings/batch", json=body, headers=headers)
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


def junk_members(count: int) -> bytes:
    """The members of an object, without its braces; no two have the same name."""
    return b",".join(b'"a%d":1' % n for n in range(count))


@pytest.mark.parametrize(
    "rows",
    [
        b"{%s}" % junk_members(1_200_000),
        b",".join([b"1"] * 7_000_000),
        b",".join([b"{%s}" % junk_members(10_000)] * 130),
        b",".join([b'{"score":"%s"}' % (b"x" * 100_000)] * 140),
        b'{"%s":1}' % (b"x" * 14_000_000),
        b"[" * 7_000_000 + b"]" * 7_000_000,
    ],
    ids=["one row of names", "rows", "many rows of names", "long values", "one name", "depth"],
)
def test_junk_costs_no_more_than_its_own_size(
    process: CommandProcess, api: Api, rows: bytes
) -> None:
    body = b'{"ratings":[%s]}' % rows
    running = psutil.Process(process.pid)
    before = running.memory_info().rss
    headers = {"Content-Type": "application/json"} | api.service
    answer = api.command.post("/v1/ratings/batch", content=body, headers=headers)
    assert answer.status_code in (200, 422), answer.text[:500]
    assert len(answer.content) < 64 * 1024
    assert running.memory_info().rss - before < HELD_BODIES_MAX * len(body)


def test_an_answer_lists_so_many_errors_of_a_row_and_of_all(api: Api) -> None:
    """Each row says in any case that it is rejected, and how many of its errors are not listed."""
    names = {f"{n}{'long name' * 8}": 1 for n in range(12)}
    results = send(api, [names] * RATINGS_MAX)
    problems = [result["problem"] for result in results]
    assert {len(problem.get("errors", [])) for problem in problems[:100]} <= {ERRORS_A_ROW_MAX, 0}
    listed = sum(len(problem.get("errors", [])) for problem in problems)
    assert ERRORS_A_ROW_MAX <= listed <= ERRORS_A_BODY_MAX
    first = problems[0]["errors"][-1]
    assert len(first["pointer"]) == 65
    assert first["pointer"].endswith("…")
    assert problems[0]["detail"].endswith("6 more values are not allowed")
    assert problems[-1]["detail"] == "14 more values are not allowed"
    size = len(msgspec.json.encode(results))
    assert size < RATINGS_MAX * 200


@pytest.mark.parametrize("more", [0, 1])
def test_a_row_has_so_many_bytes(api: Api, pairs: list[Row], more: int) -> None:
    """As many as the longest review takes with every character escaped, and some besides."""
    row = json.dumps({**pairs[0], "review": "\U0001f600" * REVIEW_CHARS_MAX})
    padded = row[:-1] + " " * (RATING_BYTES_MAX - len(row) + more) + "}"
    assert len(padded) == RATING_BYTES_MAX + more
    headers = {"Content-Type": "application/json"} | api.service
    body = '{"ratings":[' + padded + ", {}]}"
    answer = api.command.post("/v1/ratings/batch", content=body, headers=headers)
    statuses = [result["status"] for result in answer.json()["results"]]
    assert statuses == ["rejected" if more else "created", "rejected"]


def test_a_thousand_users_may_have_names_as_long_as_names_are(api: Api) -> None:
    rows = [
        {"external_id": f"é{n}".rjust(100, "x"), "display_name": "é" * 100} for n in range(1_000)
    ]
    answer = api.post("/v1/users/batch", {"users": rows}, api.service)
    assert {result["status"] for result in api.expect(200, answer)["results"]} == {"created"}


def test_a_caller_checked_a_moment_ago_is_refused_once_the_session_has_ended(api: Api) -> None:
    """A bulk request is refused as a whole, whether its rows are right or wrong."""
    movie_id, user = api.movie(), api.sign_up()
    path, row = "/v1/ratings/batch", {"movie_id": movie_id, "score": 4}
    assert api.post(path, {"ratings": [row]}, user.headers).status_code == 200
    ended = api.command.delete("/v1/sessions/current", headers=user.headers)
    assert ended.status_code == 204
    bodies: list[Row] = [{"ratings": [row]}, {"ratings": [{"score": "none"}]}, {"rows": []}]
    for body in bodies:
        assert api.post(path, body, user.headers).status_code == 401
