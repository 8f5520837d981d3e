"""The event index: in the log's order, whatever is killed, and without personal data."""

from __future__ import annotations

import subprocess
import sys
import threading
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec

from projector.event_index import EventIndex
from shared.ids import Position, StreamId, new_uuid7
from shared.log.events import SessionEnded
from shared.log.schema import PROJECTOR_ROLE
from tests.conftest import Starfold
from tests.support.builders import NOON, STALKER, later, movie_merged, rating_submitted
from tests.support.ports import free_port
from tests.support.system import System, eventually
from tests.support.written_log import PERSONAL, REVIEW, WrittenLog

FOLLOWER = """
import sys
from projector.event_index import EventIndex
from shared.log.event_store import EventStore
index = EventIndex(EventStore(sys.argv[1], schema=sys.argv[2]).connections, batch_events=7)
while index.advance():
    print("advanced", flush=True)
"""
# In one snapshot: whether the index is the log up to the checkpoint, and whether that is its end.
COMPARED = """
SELECT c.position,
    (SELECT array_agg(notification_id ORDER BY notification_id) FROM events
        WHERE notification_id <= c.position)
    = (SELECT array_agg(position ORDER BY position) FROM event_index),
    c.position = (SELECT max(notification_id) FROM events)
FROM event_index_checkpoint AS c
"""


def index_of(system: System, **options: Any) -> EventIndex:
    return EventIndex(system.event_store(PROJECTOR_ROLE).connections, **options)


def grown(log: WrittenLog, events: int) -> None:
    """Add many events at once."""
    position = log.add(rating_submitted())
    log.rows(
        "INSERT INTO events (originator_id, originator_version, topic, state)"
        " SELECT gen_random_uuid(), 1, topic, state FROM events, generate_series(1, %s)"
        " WHERE notification_id = %s RETURNING 1",
        [events, position],
    )


def test_each_event_is_indexed_with_its_ids_and_nothing_personal(system: System) -> None:
    log = WrittenLog(system)
    ann, actor, request, command = log.user(), uuid4(), uuid4(), uuid4()
    stream = StreamId(uuid4())
    rated = log.add(
        rating_submitted(user_id=ann, review=REVIEW),
        stream=stream,
        recorded_at=later(1),
        actor=actor,
        correlation=request,
        causation=command,
    )
    merged = log.add(movie_merged())
    ended = log.add(SessionEnded(session_id=uuid4(), subject_id=ann, ended_at=NOON))
    erased = log.erase(ann)
    index = index_of(system)
    assert index.advance() == 5
    assert index.advance() == 0
    rows = {row[0]: row[1:] for row in log.rows("SELECT * FROM event_index")}
    assert rows[rated] == (
        later(1), "RatingSubmitted", stream, actor, request, command, ann, STALKER,
    )  # fmt: skip
    assert rows[merged][-2:] == (None, STALKER)
    assert rows[ended][-2:] == (ann, None)
    assert rows[erased][-2:] == (ann, None)
    text = "\n".join(row[0] for row in log.rows("SELECT e::text FROM event_index AS e"))
    assert not [value for value in PERSONAL if value in text]
    # Nothing but times, types and ids, whatever an event holds.
    kinds = {type(value) for row in rows.values() for value in row}
    assert kinds == {datetime, str, UUID, type(None)}
    assert {row[1] for row in rows.values()} <= {
        "UserCreated", "RatingSubmitted", "MovieMerged", "SessionEnded", "UserErased",
    }  # fmt: skip


def test_an_event_that_cannot_be_read_is_indexed_by_its_place_alone(system: System) -> None:
    log = WrittenLog(system)
    torn = log.add_state("RatingSubmitted", REVIEW.encode())
    unknown = log.add_state(
        "MovieSold", msgspec.msgpack.encode([1, [new_uuid7().bytes, NOON], {"to": REVIEW}])
    )
    log.add(rating_submitted())
    assert index_of(system).advance() == 3
    found = dict(log.rows("SELECT position, recorded_at FROM event_index"))
    assert found[torn] is None
    assert found[unknown] == NOON


def test_a_follower_that_is_killed_loses_and_repeats_nothing(system: System) -> None:
    log = WrittenLog(system)
    grown(log, 400)
    command = [sys.executable, "-c", FOLLOWER, system.dsn(PROJECTOR_ROLE), system.schema]
    reached: list[Position] = []
    for batches in (3, 5, 1):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as follower:
            assert follower.stdout is not None
            for _ in range(batches):
                assert follower.stdout.readline() == "advanced\n"
            follower.kill()
        ((position, equal, ended),) = log.rows(COMPARED)
        assert equal
        assert not ended
        reached.append(position)
    assert reached == sorted(set(reached))
    index = index_of(system)
    while index.advance():
        pass
    ((_, equal, ended),) = log.rows(COMPARED)
    assert equal
    assert ended


def test_two_followers_take_turns(system: System) -> None:
    log = WrittenLog(system)
    grown(log, 300)
    index = index_of(system, batch_events=10)

    ((head,),) = log.rows("SELECT max(notification_id) FROM events")

    def follow() -> None:
        while index.checkpoint() != head:
            index.advance()

    threads = [threading.Thread(target=follow) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ((_, equal, ended),) = log.rows(COMPARED)
    assert equal
    assert ended


def test_the_projector_keeps_it_up_only_if_told_to(system: System, starfold: Starfold) -> None:
    log = WrittenLog(system)
    log.add(rating_submitted())
    off = system.start_projector()
    eventually(lambda: log.rows("SELECT 1 FROM generations WHERE state = 'active'"))
    assert "there is no event index" in starfold("status").stdout
    off.stop()
    assert log.rows("SELECT count(*) FROM event_index") == [(0,)]
    port = free_port()
    system.start_projector(event_index=True, metrics_port=port)
    url = f"http://127.0.0.1:{port}/metrics"
    # The tasks start once the metrics are served.
    eventually(lambda: [one[1:] for one in log.rows(COMPARED)] == [(True, True)])
    eventually(lambda: "starfold_event_index_lag_events 0.0" in httpx.get(url).text)
    assert "0 events and 0 s behind" in starfold("status").stdout
    dropped = starfold("event-index", "drop")
    assert dropped.stdout == "the event index is empty\n", dropped.output
    # The projector builds it again by itself.
    eventually(lambda: [one[1:] for one in log.rows(COMPARED)] == [(True, True)])
    eventually(lambda: "starfold_event_index_lag_seconds 0.0" in httpx.get(url).text)


def test_lag_is_counted_from_the_checkpoint(system: System) -> None:
    log, index = WrittenLog(system), index_of(system)
    assert index.status(Position(0)) is None
    first = log.add(rating_submitted())
    index.advance()
    last = log.add(rating_submitted())
    status = index.status(last)
    assert status is not None
    assert (status.checkpoint, status.lag_events) == (first, last - first)
    assert status.lag_s > 0
    index.drop()
    assert index.checkpoint() is None
