"""The statement that reads what commands are decided on, in one round trip."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from typing import Any
from uuid import UUID

from psycopg.rows import TupleRow

from command_api.deciding.load_result import AnswerKey, KeptAnswer, LoadRequest, LoadResult
from command_api.store.arrays import UuidArray
from shared.ids import StreamId, UserId
from shared.log.stored_row import StoredRow

LOAD = files("command_api.store").joinpath("load.sql").read_bytes()


def parameters(wanted: LoadRequest) -> dict[str, Any]:
    """Return the parameters of the statement `LOAD`."""
    return {
        "latest": UuidArray.of(wanted.latest),
        "whole": UuidArray.of(wanted.whole),
        "subjects": UuidArray.of(wanted.subjects),
        "sessions": UuidArray.of(wanted.sessions),
        "principals": UuidArray.of([key.principal for key in wanted.answers]),
        "key_ids": UuidArray.of([key.key_id for key in wanted.answers]),
    }


def result_of(rows: Iterable[TupleRow]) -> LoadResult:
    """Return the rows of `LOAD`, sorted by kind."""
    streams: dict[StreamId, list[StoredRow]] = {}
    wrapped_keys: dict[UserId, bytes] = {}
    sessions: set[UUID] = set()
    answers: dict[AnswerKey, KeptAnswer] = {}
    for kind, row_id, version, position, topic, content, principal, subject, status in rows:
        if kind == "event":
            row = StoredRow(position, row_id, version, topic, content)
            streams.setdefault(row_id, []).append(row)
        elif kind == "key":
            wrapped_keys[row_id] = content
        elif kind == "session":
            sessions.add(row_id)
        else:
            answer = KeptAnswer(content, status, subject, position)
            answers[AnswerKey(principal, row_id)] = answer
    for stored in streams.values():
        if len(stored) > 1:
            stored.sort(key=lambda row: row.version)
    return LoadResult(streams, wrapped_keys, frozenset(sessions), answers)
