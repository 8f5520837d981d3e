"""The event browser over HTTP; no answer and no log line of it shows a sealed value."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from console import worker_thread
from ops.acts import log
from projector.event_index import EventIndex
from shared.errors import Unavailable
from shared.ids import Position, StreamId
from shared.log.schema import PROJECTOR_ROLE
from tests.support.api import Api, problem
from tests.support.builders import later, movie_merged, rating_submitted
from tests.support.system import System
from tests.support.written_log import HASH, PERSONAL, REVIEW, WrittenLog


class Browsed:
    """A log with personal data, an index of it, and an operator who reads it."""

    def __init__(self, system: System) -> None:
        self.log = WrittenLog(system)
        self.ann, erased = self.log.user(), self.log.user()
        self.rated = self.log.add(
            rating_submitted(user_id=self.ann, review=REVIEW), stream=StreamId(self.ann)
        )
        self.log.add(rating_submitted(user_id=erased, review=REVIEW))
        self.log.erase(erased)
        self.torn = self.log.add_state("RatingSubmitted", REVIEW.encode())
        self.merged = self.log.add(movie_merged(), recorded_at=later(1))
        self.index = EventIndex(system.event_store(PROJECTOR_ROLE).connections)
        self.index.advance()
        credential = {"Authorization": f"Bearer {system.service_key(['operate'])}"}
        url = system.start_console().url
        self.http = httpx.Client(base_url=url + "/v1/operator", headers=credential, timeout=30)
        self.answers: list[httpx.Response] = []

    def get(self, path: str, **parameters: Any) -> httpx.Response:
        answer = self.http.get(path, params=parameters)
        self.answers.append(answer)
        return answer

    def found(self, path: str = "/events", **parameters: Any) -> list[Position]:
        answer = self.get(path, **parameters)
        assert answer.status_code == 200, answer.text
        return [one["position"] for one in answer.json()["items"]]


@pytest.fixture(scope="module")
def browsed(module_system: System) -> Iterator[Browsed]:
    one = Browsed(module_system)
    yield one
    one.http.close()


def test_events_are_listed_by_their_conditions(browsed: Browsed) -> None:
    assert browsed.found(type="MovieMerged") == [browsed.merged]
    assert browsed.found(user=str(browsed.ann), limit=1) == [browsed.rated]
    assert browsed.found(since="2026-01-10T13:00:00Z") == [browsed.merged]
    assert browsed.found(position_min=browsed.torn, position_max=browsed.torn) == [browsed.torn]
    assert browsed.found(f"/streams/{browsed.ann}")[0] == browsed.rated
    page = browsed.get("/events", limit=2).json()
    following = browsed.get("/events", limit=100, cursor=page["next_cursor"]).json()
    assert following["next_cursor"] is None
    assert page["indexed_to"] == browsed.merged
    assert [one["position"] for one in (*page["items"], *following["items"])] == browsed.found(
        limit=100
    )


def test_a_wrong_condition_is_named(browsed: Browsed) -> None:
    for name, value in (
        ("user", "ann"),
        ("limit", "101"),
        ("cursor", "0"),
        ("since", "yesterday"),
        ("position_min", "1.5"),
        ("colour", "red"),
    ):
        refused = browsed.get("/events", **{name: value})
        assert refused.status_code == 422, refused.text
        assert problem(refused)["errors"][0]["pointer"] == f"/query/{name}"
    assert browsed.get("/events/999999999").status_code == 404


def test_one_event_has_links_and_no_cache_keeps_it(browsed: Browsed) -> None:
    answer = browsed.get(f"/events/{browsed.rated}")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["event"]["fields"]["review"] == "sealed"
    assert answer.json()["links"]["previous_in_stream"] < browsed.rated


def test_an_export_is_every_selected_event_as_a_line(browsed: Browsed) -> None:
    exported = browsed.get("/events/export")
    assert exported.headers["content-type"] == "application/jsonl"
    lines = [json.loads(line) for line in exported.text.splitlines()]
    assert [line["position"] for line in lines] == browsed.found(limit=100)
    one = browsed.get("/events/export", type="MovieMerged")
    assert json.loads(one.text)["position"] == browsed.merged


def test_an_event_is_revealed_for_a_reason_that_the_audit_log_has(
    browsed: Browsed, module_system: System
) -> None:
    path = f"/events/{browsed.rated}/reveal"
    answer = browsed.http.post(path, json={"reason": "a complaint"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["fields"] == {"review": REVIEW}
    ((via, act, parameters, outcome, request_id),) = browsed.log.rows(
        "SELECT via, act, parameters, outcome, request_id FROM operator_acts WHERE act_id = %s",
        [answer.json()["act_id"]],
    )
    assert (via, act, outcome) == ("key", "event reveal", "done")
    assert parameters == {"position": browsed.rated, "reason": "a complaint"}
    assert str(request_id) == answer.headers["x-request-id"]
    shown = browsed.get(f"/acts/{answer.json()['act_id']}").json()
    assert (shown["state"], shown["act"], shown["result"]) == ("done", "event reveal", {})
    assert browsed.get(f"/acts/{request_id}").status_code == 404
    created = browsed.found(f"/streams/{browsed.ann}")[-1]
    personal = browsed.http.post(f"/events/{created}/reveal", json={"reason": "a request"}).json()
    assert sorted(personal["fields"]) == ["display_name", "email", "external_id"]
    assert HASH not in str(personal)


def test_nothing_is_revealed_without_a_reason_and_a_repeat_is_the_same_act(
    browsed: Browsed,
) -> None:
    path = f"/events/{browsed.rated}/reveal"
    for body in ({}, {"reason": " "}, {"reason": "x" * 501}, {"reason": "x", "all": True}):
        assert browsed.http.post(path, json=body).status_code == 422
    key, reason = {"Idempotency-Key": "one"}, {"reason": "a repeat"}
    first, second = (browsed.http.post(path, json=reason, headers=key).json() for _ in range(2))
    assert first == second
    other = browsed.http.post(path, json={"reason": "another"}, headers=key)
    assert problem(other)["type"].endswith(":idempotency-key-reused")
    missing = browsed.http.post("/events/999999999/reveal", json={"reason": "missing"})
    assert missing.status_code == 404
    rows = browsed.log.rows(
        "SELECT outcome FROM operator_acts WHERE parameters->>'reason' IN ('a repeat', 'missing')"
        " ORDER BY at"
    )
    assert rows == [("done",), ("failed",)]


def test_a_repeat_of_an_act_that_failed_or_is_old_is_a_further_act(
    browsed: Browsed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def revealed(position: Position, key: str) -> httpx.Response:
        path, headers = f"/events/{position}/reveal", {"Idempotency-Key": key}
        return browsed.http.post(path, json={"reason": key}, headers=headers)

    for _ in range(2):
        refused = revealed(browsed.torn, "failed")
        assert problem(refused)["type"].endswith(":event-unreadable")
        assert refused.status_code == 409
    first = revealed(browsed.rated, "old").json()
    monkeypatch.setattr(log, "REPEATED_WITHIN", timedelta(0))
    second = revealed(browsed.rated, "old").json()
    assert first["fields"] == second["fields"]
    assert first["act_id"] != second["act_id"]
    rows = browsed.log.rows(
        "SELECT outcome FROM operator_acts WHERE parameters->>'reason' IN ('failed', 'old')"
        " ORDER BY at"
    )
    assert rows == [("failed",), ("failed",), ("done",), ("done",)]


def test_no_input_of_an_operator_is_a_fault_of_the_service(browsed: Browsed) -> None:
    assert browsed.get("/events", type="Movie\0").status_code == 422
    path = f"/events/{browsed.rated}/reveal"
    assert browsed.http.post(path, json={"reason": "a\0b"}).status_code == 422
    last = "9999-12-31T23:59:59Z"
    assert browsed.found(until=last)
    assert browsed.found(since=last) == []


def test_requests_that_wait_are_bounded_and_readiness_does_not_wait_for_them(
    browsed: Browsed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_thread, "WAITING_MAX", 0)
    for _ in range(2):
        refused = browsed.get("/events")
        assert refused.status_code == 503
        assert refused.json()["type"].endswith(":overloaded")
        assert httpx.get(browsed.http.base_url.join("/ready")).status_code == 200


def test_no_caller_learns_the_address_of_a_server_that_does_not_answer(
    module_system: System,
) -> None:
    away = {"database_url": "host=127.0.0.1 port=1"}
    refused = httpx.get(f"{module_system.start_console(**away).url}/ready", timeout=30)
    assert refused.status_code == 503
    assert "127.0.0.1" not in refused.text

    async def head() -> Position:
        reads = worker_thread.WiredThread(module_system.console_settings(**away), "reads")
        try:
            return await reads.run(lambda wiring: wiring.reader.head())
        finally:
            await reads.close()

    with pytest.raises(Unavailable) as error:
        asyncio.run(head())
    assert "127.0.0.1" not in str(error.value)


def test_without_an_index_the_problem_names_the_setting(system: System) -> None:
    browsed = Browsed(system)
    browsed.index.drop()
    for path in ("/events", "/events/export"):
        refused = browsed.get(path, actor=str(browsed.ann))
        assert refused.status_code == 409
        assert problem(refused)["type"].endswith(":event-index-off")
        assert "STARFOLD_EVENT_INDEX=true" in problem(refused)["detail"]
    assert browsed.found(type="MovieMerged") == [browsed.merged]
    browsed.http.close()


def test_no_answer_and_no_log_line_shows_a_sealed_value(
    browsed: Browsed, api: Api, capfd: pytest.CaptureFixture[str]
) -> None:
    person = api.sign_up()
    every = browsed.found(limit=100)
    for position in every:
        browsed.get(f"/events/{position}")
    browsed.get("/events/export")
    browsed.get(f"/streams/{browsed.ann}")
    browsed.get(f"/streams/{person.user_id}")
    browsed.get("/events", user=str(browsed.ann), type=REVIEW)
    shown = "".join(answer.text for answer in browsed.answers)
    logged = "".join(capfd.readouterr())
    assert "sealed" in shown
    assert "erased" in shown
    for value in (*PERSONAL, person.email):
        assert value not in shown, value
        assert value not in logged, value
