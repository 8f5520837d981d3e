"""A database of the release before is migrated, read, and appended to by both releases."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql

from command_api.commit.committer import Committer
from command_api.commit.idempotency import RequestKey
from command_api.commit.pending_command import Answer, Outcome, PendingCommand
from command_api.deciding.load_result import AnswerKey, KeptAnswer, LoadRequest
from command_api.deciding.principal import Member
from command_api.store.commit_store import CommitStore
from command_api.store.server import Server
from command_api.store.store import Store
from shared.errors import IdempotencyKeyReused
from shared.ids import EventId, Position, StreamId, new_uuid7
from shared.log.event_store import EventStore
from shared.log.events import Metadata
from shared.log.schema import COMMAND_ROLE, PROJECTOR_ROLE, migrate
from shared.log.sealing import SubjectKeys
from tests.support.builders import (
    ANN,
    NOON,
    STALKER,
    a_rating,
    movie_created,
    rating_submitted,
    user_created,
)
from tests.support.commits import pending
from tests.support.log import rating_of
from tests.support.system import System

SCHEMA = Path(__file__).with_name("release_before.sql").read_text()

# As that release called it.
APPEND = (
    "SELECT first_position, refused_by FROM append_events("
    "%s::uuid[], %s::bigint[], %s::text[], %s::bytea[], %s::uuid[], %s::bigint[],"
    " %s::uuid[], %s::bytea[], %s::uuid[], %s::uuid[], %s::uuid[],"
    " %s::uuid[], %s::uuid[], %s::bytea[], %s::text[], %s::uuid[], %s::bigint[], %s::bigint[],"
    " %s::uuid[])"
)
KEY, SESSION = AnswerKey(ANN, uuid4()), uuid4()
RATING = rating_of(str(ANN), str(STALKER))


class ReleaseBefore:
    """A log that the previous release wrote.

    It has a user with a session, a movie, and a rating with an Idempotency-Key.
    """

    def __init__(self, system: System) -> None:
        self.system = system
        self.schema = f"{system.schema}_before"
        self.owner = psycopg.connect(system.servers.home.owner_dsn(), autocommit=True)
        name = sql.Identifier(self.schema)
        self.owner.execute(sql.SQL("CREATE SCHEMA {}").format(name))
        self.owner.execute(sql.SQL("SET search_path TO {}").format(name))
        self.owner.execute(SCHEMA.encode())
        key, wrapped = system.key_wrap().new_key(ANN)
        events = [user_created(), movie_created(), rating_submitted(half_stars=7)]
        streams: list[UUID] = [ANN, STALKER, RATING]
        states = [
            system.codec().encode(
                event, Metadata(event_id=EventId(new_uuid7()), recorded_at=NOON), {ANN: key}
            )
            for event in events
        ]
        topics = [type(event).__name__ for event in events]
        self.append(
            self.owner,
            [
                *[streams, [1, 1, 1], topics, states, streams, [0, 0, 0], [ANN], [wrapped]],
                *[[], [], []],
                *[[ANN], [KEY.key_id], [b"r" * 32], ["created"], [STALKER], [2], [0], []],
            ],
        )
        self.owner.execute(
            "INSERT INTO sessions (session_id, subject_id, service, expires_at)"
            " VALUES (%s, %s, false, now() + interval '1 day')",
            [SESSION, ANN],
        )

    def append(self, connection: psycopg.Connection[Any], parameters: list[Any]) -> object:
        return connection.execute(APPEND, parameters).fetchone()

    def migrate(self) -> list[str]:
        home = self.system.servers.home
        roles = home.secrets().role_passwords
        return migrate(home.owner_dsn(), schema=self.schema, roles=roles)

    def server(self) -> Server:
        return Server(self.system.dsn(COMMAND_ROLE), schema=self.schema)

    def commit(self, *batch: PendingCommand) -> list[Answer]:
        store = CommitStore(self.server())
        committer = Committer(store, self.system.codec(), self.system.key_wrap())

        async def run() -> list[Answer]:
            answers = await committer.commit(batch)
            await committer.close()
            return answers

        return asyncio.run(run())

    def close(self) -> None:
        self.owner.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(self.schema)))
        self.owner.close()


@pytest.fixture
def before(system: System) -> Iterator[ReleaseBefore]:
    release = ReleaseBefore(system)
    release.migrate()
    yield release
    release.close()


def test_every_kind_of_row_is_read(before: ReleaseBefore) -> None:
    async def load() -> Any:
        store = Store(before.server())
        loaded = await store.load(
            LoadRequest(
                latest=[RATING],
                whole=[StreamId(ANN), StreamId(STALKER)],
                subjects=[ANN],
                sessions=[SESSION, uuid4()],
                answers=[KEY, AnswerKey(ANN, uuid4())],
            )
        )
        await store.close()
        return loaded

    loaded = asyncio.run(load())
    assert {
        stream: [(row.position, row.version) for row in rows]
        for stream, rows in loaded.streams.items()
    } == {ANN: [(1, 1)], STALKER: [(2, 1)], RATING: [(3, 1)]}
    assert loaded.sessions == {SESSION}
    assert loaded.answers == {KEY: KeptAnswer(b"r" * 32, "created", STALKER, Position(3))}
    keys = SubjectKeys(before.system.key_wrap(), loaded.wrapped_keys)
    (row,) = loaded.streams[ANN]
    created = before.system.codec().decode(row.topic, row.state, keys).event
    assert created == user_created()


def test_both_releases_append_to_it(before: ReleaseBefore) -> None:
    (changed,) = before.commit(pending(a_rating(ANN, STALKER, 9), Member(ANN, SESSION)))
    assert isinstance(changed, Outcome)
    assert (changed.status, changed.position) == ("changed", 4)
    role = before.system.dsn(COMMAND_ROLE)
    other = uuid4()
    with psycopg.connect(
        role, options=f"-c search_path={before.schema}", autocommit=True
    ) as earlier:
        empty: list[Any] = [[]] * 13
        parameters = [[other], [1], ["MovieCreated"], [b"state"], [other], [0], *empty]
        assert before.append(earlier, parameters) == (5, None)
        assert before.append(earlier, parameters) == (None, other)
    store = EventStore(before.system.dsn(PROJECTOR_ROLE), schema=before.schema, pool_size=1)
    assert [row.stream_id for row in store.fetch(Position(1), 10)] == [
        ANN,
        STALKER,
        RATING,
        RATING,
        other,
    ]
    store.close()


def test_an_answer_that_it_kept_is_given_again(before: ReleaseBefore) -> None:
    rating = a_rating(ANN, STALKER, 7)
    requests = [RequestKey(KEY, b"r" * 32), RequestKey(KEY, b"x" * 32)]
    first, reused = before.commit(*(pending(rating, Member(ANN, SESSION), key) for key in requests))
    assert first == Outcome("created", STALKER, Position(3))
    assert isinstance(reused, IdempotencyKeyReused)
