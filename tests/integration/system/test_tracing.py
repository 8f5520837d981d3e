"""One trace leads from a request over its event to the projections and to the read."""

from __future__ import annotations

import json
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from ops.home import redis_users
from shared.ids import Position
from shared.log.codec import trace_of
from shared.log.schema import PROJECTOR_ROLE
from tests.support.api import Api
from tests.support.processes import CommandProcess, Process
from tests.support.system import System, eventually

Span = dict[str, Any]


class Caller(NamedTuple):
    """A client's own span, and whether the client records it."""

    trace: str
    span: str
    sampled: bool = True

    @property
    def headers(self) -> dict[str, str]:
        return {"traceparent": f"00-{self.trace}-{self.span}-{int(self.sampled):02x}"}


def caller(*, sampled: bool = True) -> Caller:
    return Caller(secrets.token_hex(16), secrets.token_hex(8), sampled)


class Traced:
    """Every service as a process of its own, with traces to one file."""

    def __init__(self, system: System, file: Path) -> None:
        self._file = file
        traced = {"STARFOLD_TRACES": str(file), "STARFOLD_ACCESS_LOG": "true"}
        read_side = {**system.projector_environment(), **traced}
        home = system.servers.home.environment(PROJECTOR_ROLE, redis_users.QUERY_API)
        self.command = CommandProcess(system, traced)
        self.query = Process(system, "query_api", {**home, **traced})
        self._projector = Process(system, "projector", read_side)
        self._processes = (self.command, self.query, self._projector)
        self.command.wait_ready()
        self.query.wait_ready()

    def stop(self) -> None:
        for process in self._processes:
            process.stop()

    def of(self, asker: Caller) -> dict[str, Span]:
        """Return the spans of a trace by name; those of several partitions count once."""
        spans = map(json.loads, self._file.read_text().splitlines())
        return {
            one["name"]: one for one in spans if one["context"]["trace_id"] == f"0x{asker.trace}"
        }


@pytest.fixture
def traced(system: System, tmp_path: Path) -> Iterator[Traced]:
    started = Traced(system, tmp_path / "traces.jsonl")
    yield started
    started.stop()


def test_a_rating_its_commit_its_projections_and_a_read_are_one_trace(
    system: System, traced: Traced
) -> None:
    asker, silent, importer, leaver = caller(), caller(sampled=False), caller(), caller()
    with Api(traced.command.url, traced.query.url, system.service_key()) as api:
        member, movie_id = api.sign_up(), api.movie()
        path = f"/v1/movies/{movie_id}/rating"
        rated = api.command.put(
            path, json={"score": 4}, headers={**member.headers, **asker.headers}
        )
        api.expect(201, rated)
        position = int(rated.headers["starfold-position"])
        read = api.query.get(
            f"/v1/movies/{movie_id}",
            headers={"Starfold-At-Least": str(position), **asker.headers},
        )
        assert api.expect(200, read)["ratings"]["count"] == 1
        unseen = api.command.put(
            path, json={"score": 5}, headers={**member.headers, **silent.headers}
        )
        api.expect(200, unseen)
        rows = {"ratings": [{"movie_id": movie_id, "score": score} for score in (1, 2)]}
        bulk = api.command.post(
            "/v1/ratings/batch", json=rows, headers={**member.headers, **importer.headers}
        )
        api.expect(200, bulk)
        api.position = max(api.position, int(bulk.headers["starfold-position"]))
        api.read(f"/v1/users/{member.user_id}")
        # A client that leaves before its body is complete.
        address = urlsplit(traced.command.url)
        fields = {**leaver.headers, "Host": "a", "Content-Length": "9", **member.headers}
        head = [f"PUT {path} HTTP/1.1", *(f"{name}: {it}" for name, it in fields.items())]
        with socket.create_connection((address.hostname, address.port)) as connection:
            connection.sendall("\r\n".join([*head, "", "{"]).encode())
        eventually(lambda: traced.of(leaver))
    traced.stop()
    assert traced.of(leaver).keys() == {"PUT /v1/movies/{movie_id}/rating"}

    spans = traced.of(asker)
    request, commit = (
        spans.pop("PUT /v1/movies/{movie_id}/rating"),
        spans.pop("commit SubmitRating"),
    )
    reading = spans.pop("GET /v1/movies/{movie_id}")
    assert spans.keys() == {"apply movies", "apply profiles", "apply changes"}
    assert request["parent_id"] == reading["parent_id"] == f"0x{asker.span}"
    assert commit["parent_id"] == request["context"]["span_id"]
    assert {one["parent_id"] for one in spans.values()} == {commit["context"]["span_id"]}
    assert commit["attributes"]["starfold.position"] == position
    assert reading["attributes"]["starfold.at_least"] == str(position)
    assert request["attributes"]["starfold.request_id"] == rated.headers["x-request-id"]
    services = {one["resource"]["attributes"]["service.name"] for one in (request, reading)}
    assert services == {"starfold-command-api", "starfold-query-api"}

    assert traced.of(silent) == {}
    events = system.event_store().fetch(Position(1), 100)
    stored = {int(row.position): trace_of(row.state) for row in events}
    assert stored[position] == bytes.fromhex(asker.trace + commit["context"]["span_id"][2:])
    assert stored[int(unseen.headers["starfold-position"])] is None

    shared = traced.of(importer)
    bulk_request = shared.pop("POST /v1/ratings/batch")
    assert shared.keys() == {"apply movies", "apply profiles", "apply changes"}
    assert {one["parent_id"] for one in shared.values()} == {bulk_request["context"]["span_id"]}

    lines = [json.loads(line) for line in traced.command.output.read_text().splitlines()]
    (line,) = [one for one in lines if one.get("request_id") == rated.headers["x-request-id"]]
    assert (line["event"], line["trace_id"]) == ("request_answered", asker.trace)
