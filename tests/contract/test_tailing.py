"""A reader that tails the log while eight writers append to it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

from eventsourcing.persistence import StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
from psycopg.conninfo import conninfo_to_dict

from tests.support.system import System

WRITERS = 8
APPENDS = 60
EVENTS_AN_APPEND = 3
ROUNDS_MAX = 25
PAGE = 1_000


def test_the_librarys_db_functions_lose_events_for_a_tailing_reader(system: System) -> None:
    """Why the append has a lock of its own: this is the failure that it prevents."""
    recorder = _library_recorder(system)
    try:
        missed = 0
        for _ in range(ROUNDS_MAX):
            missed += _missed_by_a_tailing_reader(recorder)
            if missed:
                break
    finally:
        recorder.datastore.close()
    assert missed > 0


def test_the_event_store_loses_none(system: System) -> None:
    store = system.event_store(pool_size=WRITERS + 1)
    assert sum(_missed_by_a_tailing_reader(store) for _ in range(5)) == 0


def _missed_by_a_tailing_reader(recorder: PostgresApplicationRecorder) -> int:
    start = (recorder.max_notification_id() or 0) + 1
    seen: set[int] = set()
    written = threading.Event()

    def tail() -> None:
        position = start
        while True:
            last_round = written.is_set()
            page = recorder.select_notifications(position, PAGE)
            seen.update(notification.id for notification in page)
            if page:
                position = page[-1].id + 1
            elif last_round:
                return

    reader = threading.Thread(target=tail)
    reader.start()
    with ThreadPoolExecutor(WRITERS) as writers:
        for done in [writers.submit(_append_many, recorder.insert_events) for _ in range(WRITERS)]:
            done.result()
    written.set()
    reader.join()
    committed = recorder.select_notifications(start, WRITERS * APPENDS * EVENTS_AN_APPEND + 1)
    assert len(committed) == WRITERS * APPENDS * EVENTS_AN_APPEND
    return len({notification.id for notification in committed} - seen)


def _append_many(insert_events: Callable[[list[StoredEvent]], object]) -> None:
    for _ in range(APPENDS):
        stream_id = uuid4()
        insert_events(
            [
                StoredEvent(stream_id, version, "Tailed", b"state")
                for version in range(1, EVENTS_AN_APPEND + 1)
            ]
        )


def _library_recorder(system: System) -> PostgresApplicationRecorder:
    parameters = conninfo_to_dict(system.servers.home.owner_dsn())
    datastore = PostgresDatastore(
        dbname=str(parameters["dbname"]),
        host=str(parameters["host"]),
        port="5432",
        user=str(parameters["user"]),
        password=str(parameters["password"]),
        pool_size=WRITERS + 1,
        schema=system.schema,
        enable_db_functions=True,
    )
    recorder = PostgresApplicationRecorder(datastore, events_table_name="library_events")
    recorder.create_table()
    return recorder
