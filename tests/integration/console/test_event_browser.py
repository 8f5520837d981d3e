"""Events as operators find and read them: by every selection, at a bounded cost, and masked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import msgspec
import psycopg
import pytest

from console.events import pages
from console.events.browser import EventBrowser
from console.events.selection import Selection
from projector.event_index import EventIndex
from shared.errors import EventIndexOff, NotFound
from shared.ids import Position, StreamId
from shared.log.events import MovieClosed, UserPasswordChanged
from shared.log.schema import PROJECTOR_ROLE
from tests.support.builders import (
    SOLARIS,
    STALKER,
    later,
    movie_merged,
    rating_submitted,
    rating_withdrawn,
)
from tests.support.system import System
from tests.support.written_log import HASH, NAME, PERSONAL, REVIEW, WrittenLog


class Scene:
    """A log with two users, and the functions that read it."""

    def __init__(self, system: System) -> None:
        store = system.event_store(PROJECTOR_ROLE)
        self.connections = store.connections
        self.browser = EventBrowser(store.connections, system.key_wrap())
        self.index = EventIndex(store.connections)
        self.log = WrittenLog(system)
        self.ann, self.ben = self.log.user(), self.log.user()
        self.actor, self.request, self.command = uuid4(), uuid4(), uuid4()
        self.rating = StreamId(uuid4())
        self.rated = self.log.add(
            rating_submitted(user_id=self.ann, review=REVIEW),
            stream=self.rating,
            recorded_at=later(1),
            actor=self.actor,
            correlation=self.request,
            causation=self.command,
        )
        self.closed = self.log.add(
            MovieClosed(movie_id=SOLARIS),
            recorded_at=later(1),
            correlation=self.request,
            causation=self.command,
        )
        self.merged = self.log.add(
            movie_merged(), recorded_at=later(2), correlation=self.request, causation=uuid4()
        )
        self.withdrawn = self.log.add(
            rating_withdrawn(user_id=self.ann), stream=self.rating, recorded_at=later(3)
        )

    def found(self, limit: int = 50, **selection: Any) -> list[Position]:
        page = self.browser.page(Selection(**selection), limit=limit)
        return [Position(event.position) for event in page.events]

    def fill_index(self) -> None:
        while self.index.advance():
            pass


@pytest.fixture(scope="module")
def scene(module_system: System) -> Scene:
    return Scene(module_system)


@pytest.fixture
def indexed(scene: Scene) -> Iterator[Scene]:
    scene.fill_index()
    yield scene
    scene.index.drop()


def test_events_come_newest_first_and_page_by_page(scene: Scene) -> None:
    every = scene.found()
    assert every == sorted(every, reverse=True)
    assert scene.withdrawn in every
    pages, place = [], None
    while True:
        page = scene.browser.page(Selection(), place=place, limit=2)
        pages += [event.position for event in page.events]
        if (place := page.next_place) is None:
            break
    assert pages == every


def test_events_are_found_by_stream_type_and_position_without_the_index(scene: Scene) -> None:
    assert scene.found(stream=scene.rating) == [scene.withdrawn, scene.rated]
    assert scene.found(topic="MovieMerged") == [scene.merged]
    assert scene.found(topic="RatingSubmitted", stream=scene.rating) == [scene.rated]
    between = scene.found(position_min=scene.closed, position_max=scene.merged)
    assert between == [scene.merged, scene.closed]
    assert scene.found(stream=scene.rating, position_max=scene.merged) == [scene.rated]
    # A page of a stream continues by version.
    first = scene.browser.page(Selection(stream=scene.rating), limit=1)
    second = scene.browser.page(Selection(stream=scene.rating), place=first.next_place, limit=1)
    assert [event.position for event in second.events] == [scene.rated]


@pytest.mark.parametrize(
    "selection",
    [
        {"actor": uuid4()},
        {"correlation": uuid4()},
        {"user_id": uuid4()},
        {"movie_id": uuid4()},
        {"since": later(0)},
        {"until": later(0)},
    ],
    ids=lambda one: next(iter(one)),
)
def test_what_only_the_index_knows_names_the_setting(
    scene: Scene, selection: dict[str, Any]
) -> None:
    with pytest.raises(EventIndexOff, match="STARFOLD_EVENT_INDEX=true"):
        scene.found(**selection)


def test_the_index_finds_by_each_id_by_time_and_by_all_together(indexed: Scene) -> None:
    request = [indexed.merged, indexed.closed, indexed.rated]
    assert indexed.found(correlation=indexed.request) == request
    assert indexed.found(actor=indexed.actor) == [indexed.rated]
    assert indexed.found(user_id=indexed.ann)[:2] == [indexed.withdrawn, indexed.rated]
    assert indexed.found(movie_id=SOLARIS) == [indexed.closed]
    assert indexed.found(topic="MovieMerged") == [indexed.merged]
    assert indexed.found(since=later(1), until=later(2)) == [indexed.closed, indexed.rated]
    assert indexed.found(since=later(2), movie_id=STALKER) == [indexed.withdrawn, indexed.merged]
    assert indexed.found(correlation=indexed.request, stream=indexed.rating) == [indexed.rated]
    assert indexed.found(stream=indexed.rating, until=later(2)) == [indexed.rated]
    assert indexed.found(user_id=indexed.ann, movie_id=SOLARIS) == []


def test_a_page_looks_at_a_limited_number_of_events_and_the_next_continues(scene: Scene) -> None:
    """A rare type is found over several short pages, never by one long statement."""
    rare, place, looked = Selection(topic="UserCreated"), None, 0
    found: list[Position] = []
    with scene.connections.get_connection() as connection:
        while True:
            page = pages.find(connection, rare, place=place, limit=10, scanned_max=2)
            found += page.positions
            looked += 1
            if (place := page.next_place) is None:
                break
    assert len(found) == 2
    assert looked == 4


def test_each_selection_is_read_by_an_index(indexed: Scene) -> None:
    plans = {
        "events_position_idx": Selection(topic="MovieMerged"),
        "events_pkey": Selection(stream=indexed.rating),
        "event_index_topic_idx": Selection(topic="MovieMerged", since=later(1)),
        "event_index_actor_idx": Selection(actor=indexed.actor, topic="MovieMerged"),
        "event_index_correlation_idx": Selection(correlation=indexed.request),
        "event_index_user_id_idx": Selection(user_id=indexed.ann, since=later(1)),
        "event_index_movie_id_idx": Selection(movie_id=STALKER, until=later(3)),
        "event_index_pkey": Selection(since=later(1)),
    }
    with indexed.connections.get_connection() as connection, connection.transaction():
        connection.execute(pages.IN_ORDER)
        for index, selection in plans.items():
            has_index = index not in ("events_position_idx", "events_pkey")
            found, _, parameters = pages.statements(
                connection, selection, place=None, limit=50, has_index=has_index
            )
            explained = b"EXPLAIN " + found.as_bytes(connection)
            rows = connection.execute(explained, parameters).fetchall()
            plan = "\n".join(line for row in rows for line in row.values())
            assert re.search(f"Scan (Backward )?using {index} on", plan), plan
            # What is scanned comes in order; at most the scanned events are sorted.
            assert "Sort" not in plan[plan.index("Limit", len("Limit")) :], plan
            assert "Seq Scan" not in plan, plan


def test_one_event_comes_with_its_links(indexed: Scene) -> None:
    event, links = indexed.browser.event(indexed.rated)
    assert event.version == 1
    assert event.actor == indexed.actor
    assert event.fields is not None
    assert event.fields["half_stars"] == 6
    assert links.previous_in_stream is None
    assert links.next_in_stream == indexed.withdrawn
    assert links.same_request == [indexed.closed, indexed.merged]
    assert links.same_command == [indexed.closed]
    _, links = indexed.browser.event(indexed.withdrawn)
    assert links.previous_in_stream == indexed.rated
    with pytest.raises(NotFound):
        indexed.browser.event(Position(10**12))


def test_without_the_index_an_event_still_has_its_neighbours(scene: Scene) -> None:
    _, links = scene.browser.event(scene.rated)
    assert links.next_in_stream == scene.withdrawn
    assert links.same_request is None


def test_personal_fields_are_masked_wherever_they_are(indexed: Scene) -> None:
    shown = msgspec.json.encode(
        [
            *indexed.browser.page(Selection(), limit=100).events,
            *(event for page in indexed.browser.exported(Selection()) for event in page),
            *indexed.browser.event(indexed.rated),
        ]
    ).decode()
    for value in PERSONAL:
        assert value not in shown
    event, _ = indexed.browser.event(indexed.rated)
    assert event.fields is not None
    assert event.fields["review"] == "sealed"


def test_an_erased_person_is_shown_as_erased_and_cannot_be_revealed(system: System) -> None:
    scene = Scene(system)
    scene.log.erase(scene.ann)
    erased, kept = scene.found(stream=StreamId(scene.ann)), scene.found(stream=StreamId(scene.ben))
    event, _ = scene.browser.event(erased[-1])
    assert event.fields is not None
    assert event.fields["email"] == event.fields["password_hash"] == "erased"
    assert scene.browser.reveal(erased[-1]) == {}
    event, _ = scene.browser.event(kept[-1])
    assert event.fields is not None
    assert event.fields["email"] == "sealed"


def test_one_event_is_revealed_without_its_password_hash(scene: Scene) -> None:
    (created,) = scene.found(stream=StreamId(scene.ben))
    revealed = scene.browser.reveal(created)
    assert revealed["display_name"] == NAME
    assert HASH not in msgspec.json.encode(revealed).decode()
    assert scene.browser.reveal(scene.rated) == {"review": REVIEW}
    assert scene.browser.reveal(scene.closed) == {}


def test_an_event_of_an_old_schema_version_is_shown_as_stored_and_as_read(system: System) -> None:
    """Version 1 of `UserCreated` held the external id in the clear: it is masked all the same."""
    scene = Scene(system)
    metadata = [uuid4().bytes, datetime(2025, 1, 1, tzinfo=UTC), None, None, None]
    fields = {
        "user_id": uuid4().bytes,
        "display_name": None,
        "external_id": "marker-of-an-external-id",
        "created_at": datetime(2025, 1, 1, tzinfo=UTC),
    }
    state = msgspec.msgpack.encode([1, metadata, fields])
    event, _ = scene.browser.event(scene.log.add_state("UserCreated", state))
    assert (event.stored_schema_version, event.schema_version) == (1, 2)
    assert event.stored_fields is not None
    assert event.stored_fields["user_id"] == str(UUID(bytes=fields["user_id"]))  # type: ignore[arg-type]
    assert "marker" not in msgspec.json.encode(event).decode()


def test_an_event_that_cannot_be_read_is_shown_without_its_content(system: System) -> None:
    scene = Scene(system)
    unknown = scene.log.add_state("MovieSold", msgspec.msgpack.encode([1, [], {"to": REVIEW}]))
    torn = scene.log.add_state("RatingSubmitted", REVIEW.encode())
    for position, reason in ((unknown, "MovieSold"), (torn, "")):
        event, _ = scene.browser.event(position)
        assert event.unreadable is not None
        assert reason in event.unreadable
        assert REVIEW not in msgspec.json.encode(event).decode()


def test_a_failed_masking_shows_nothing_of_a_password(scene: Scene) -> None:
    changed = scene.log.add(
        UserPasswordChanged(user_id=scene.ben, password_hash=HASH), stream=StreamId(scene.ben)
    )
    event, _ = scene.browser.event(changed)
    assert event.fields == {"user_id": str(scene.ben), "password_hash": "sealed"}
    assert scene.browser.reveal(changed) == {}


def test_the_projectors_role_may_not_change_an_event(scene: Scene) -> None:
    with (
        scene.connections.get_connection() as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute("DELETE FROM events")
