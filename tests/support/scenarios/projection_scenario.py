"""`given(projection, events).when(events).times(2).then(documents)` for the projections.

Events are folded as a projector folds them: it reads the documents before all of the events, and
writes the operations as whole values. A second delivery acts like a second projector that has read
the same documents: it writes the same operations again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import pytest

from projector.documents.working_set import Key, Operation, WorkingSet
from projector.projections import DEFINITIONS, LogEvent
from shared.errors import ProjectionFault
from shared.ids import Position, StreamId, Version
from shared.log.events import Event
from shared.read_model.kinds import KINDS
from tests.support.builders import ANN

ReadModel = dict[Key, Any]


def given(projection: str, *history: Event) -> Given:
    """The read model of some events, whose positions begin at 1."""
    return Given(projection, history)


class Given:
    def __init__(self, projection: str, history: Sequence[Event]) -> None:
        self._projection = projection
        self._history = history

    def when(self, *batch: Event) -> Delivered:
        """Deliver the events that follow the history in the log."""
        return Delivered(self._projection, self._history, batch)


class Delivered:
    """A batch of events, delivered once unless `times` says otherwise."""

    def __init__(self, projection: str, history: Sequence[Event], batch: Sequence[Event]) -> None:
        self._projection = projection
        self._history = history
        self._batch = batch
        self._times = 1

    def times(self, count: int) -> Delivered:
        self._times = count
        return self

    def then(self, expected: Mapping[Key, Any]) -> ReadModel:
        """Compare some keys with what is stored under them, None for nothing; return all keys.

        A document is compared as it is folded, a sorted set as the rank of each member, a hash as
        the value of each field, and a stream as the value of each entry.
        """
        stored = self._stored(self._times)
        for key, value in expected.items():
            assert stored.get(key) == value, key
        assert stored == self._stored(1)
        return stored

    def then_fault(self, match: str | None = None) -> None:
        with pytest.raises(ProjectionFault, match=match):
            self._stored(1)

    def _stored(self, times: int) -> ReadModel:
        before = written({}, folded(self._projection, {}, self._history))
        stored = before
        for _ in range(times):
            operations = folded(self._projection, before, self._batch, after=len(self._history))
            stored = written(stored, operations)
        return stored


def folded(
    projection: str, stored: Mapping[Key, Any], events: Sequence[Event], *, after: int = 0
) -> list[Operation]:
    """Return the operations that folding the events after a position into a read model gives."""
    definition = DEFINITIONS[projection]
    working_set = WorkingSet(complete=True)
    working_set.documents |= deepcopy({k: v for k, v in stored.items() if k[0] in KINDS})
    for position, event in enumerate(events, start=after + 1):
        if definition.entity(event) is not None:
            definition.apply(working_set, logged(position, event))
    return working_set.take_operations()


def logged(position: int, event: Event) -> LogEvent:
    return LogEvent(Position(position), StreamId(ANN), Version(1), event)


def written(stored: Mapping[Key, Any], operations: Sequence[Operation]) -> ReadModel:
    """Return the read model after the operations, each of which is a whole value."""
    after: ReadModel = deepcopy(dict(stored))
    for operation in operations:
        _write(after, operation)
    return {key: value for key, value in after.items() if value != {}}


def _write(stored: ReadModel, operation: Operation) -> None:
    key, arguments = operation.key, operation.arguments
    match operation.letter:
        case b"D":
            stored.pop(key, None)
        case b"S":
            stored[key] = KINDS[key[0]].decode(arguments[0])
        case b"Z":
            ranked = zip(arguments[2::2], arguments[1::2], strict=True)
            stored.setdefault(key, {}).update({member: int(rank) for member, rank in ranked})
        case b"H":
            stored.setdefault(key, {}).update(zip(arguments[1::2], arguments[2::2], strict=True))
        case b"z" | b"h":
            stored.setdefault(key, {}).pop(arguments[0], None)
        case b"X":
            entries = zip(arguments[2::3], arguments[4::3], strict=True)
            stored.setdefault(key, {}).update(dict(entries))
        case other:
            raise AssertionError(f"nothing writes {other!r}")
