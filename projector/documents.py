"""A partition's working set: the documents that a fold has read and what it wants written.

Folding touches only this; nothing reaches Redis before `take_operations`. Every operation is a
whole value (a document, a member with its rank, a field), so that applying it twice changes
nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol, TypeVar

from projector.kinds import Kind
from shared.errors import ProjectionFault
from shared.ids import Position

Folded = TypeVar("Folded")
# The kind's name and what follows it in the key.
Key = tuple[str, str]

STREAM_ENTRIES_MAX = 10_000
# Of one ZADD: few enough for Lua's stack, enough that a command's own cost does not show.
MEMBERS_A_COMMAND = 100
_NOT_HELD = object()


class Documents(Protocol):
    """What a projection's `apply` may do."""

    def get(self, kind: Kind[Folded], suffix: str) -> Folded | None: ...

    def put(self, kind: Kind[Folded], suffix: str, document: Folded) -> None: ...

    def rank(self, kind: str, suffix: str, member: bytes, rank: int) -> None: ...

    def unrank(self, kind: str, suffix: str, member: bytes) -> None: ...

    def set_field(self, kind: str, suffix: str, field: bytes, value: bytes) -> None: ...

    def delete_field(self, kind: str, suffix: str, field: bytes) -> None: ...

    def delete(self, kind: str, suffix: str) -> None: ...

    def append(self, kind: str, position: Position, field: bytes, value: bytes) -> None: ...


class Operation(NamedTuple):
    """Commands of a call on one key: their letter in `apply.lua`, the key, and the arguments.

    `commands` says how much work they are: one for each member that they touch.
    """

    letter: bytes
    key: Key
    arguments: tuple[bytes, ...]
    commands: int = 1

    @property
    def size_bytes(self) -> int:
        return sum(map(len, self.arguments)) + len(self.key[1]) + 64


class Corrupt(NamedTuple):
    """Stands for a stored document that cannot be decoded."""

    reason: str


class WorkingSet:
    """Documents in memory.

    `documents` holds None for a document that is known to be absent. A document that is in neither
    has to be loaded before it is read; `complete` says that what is not held does not exist (a
    build starts empty). `pending_commands` and `pending_bytes` are upper bounds.
    """

    def __init__(self, *, complete: bool) -> None:
        self._complete = complete
        self.documents: dict[Key, Any] = {}
        # The bound of the encoded size, by what is to be written.
        self.dirty: dict[Key, tuple[Kind[Any], int]] = {}
        self.members: dict[Key, dict[bytes, int | None]] = {}
        self.fields: dict[Key, dict[bytes, bytes | None]] = {}
        self._deleted: dict[Key, None] = {}
        self.entries: dict[Key, list[Operation]] = {}
        self.pending_commands = 0
        self.pending_bytes = 0

    def get(self, kind: Kind[Folded], suffix: str) -> Folded | None:
        """Raises `ProjectionFault` if what is stored cannot be decoded."""
        key = (kind.name, suffix)
        document: Any = self.documents.get(key, _NOT_HELD)
        if document is _NOT_HELD:
            if self._complete:
                return None
            raise KeyError(f"{kind.name}:{suffix} was not loaded before it was read")
        if type(document) is Corrupt:
            raise ProjectionFault(f"{kind.name}:{suffix} cannot be decoded: {document.reason}")
        folded: Folded | None = document
        return folded

    def put(self, kind: Kind[Folded], suffix: str, document: Folded) -> None:
        key = (kind.name, suffix)
        self.documents[key] = document
        size_bytes = kind.bytes_max(document)
        before = self.dirty.get(key)
        if before is None:
            self._count(True)
            self.pending_bytes += size_bytes
        elif before[1] == size_bytes:
            return
        else:
            self.pending_bytes += size_bytes - before[1]
        self.dirty[key] = (kind, size_bytes)

    def rank(self, kind: str, suffix: str, member: bytes, rank: int) -> None:
        self._set(self.members, (kind, suffix), member, rank)

    def unrank(self, kind: str, suffix: str, member: bytes) -> None:
        self._set(self.members, (kind, suffix), member, None)

    def set_field(self, kind: str, suffix: str, field: bytes, value: bytes) -> None:
        self._set(self.fields, (kind, suffix), field, value)
        self.pending_bytes += len(value)

    def delete_field(self, kind: str, suffix: str, field: bytes) -> None:
        self._set(self.fields, (kind, suffix), field, None)

    def delete(self, kind: str, suffix: str) -> None:
        """Drop a key; what is set in it afterwards is written after that."""
        key = (kind, suffix)
        self.documents[key] = None
        if self.dirty.pop(key, None) is not None:
            self.pending_commands -= 1
        for pending in (self.members, self.fields):
            dropped: dict[bytes, Any] = pending.pop(key, {})
            self.pending_commands -= len(dropped)
        self._count(key not in self._deleted)
        self._deleted[key] = None

    def append(self, kind: str, position: Position, field: bytes, value: bytes) -> None:
        """Add an entry to a stream that keeps its last `STREAM_ENTRIES_MAX`."""
        key = (kind, "")
        arguments = (b"%d" % STREAM_ENTRIES_MAX, b"%d-0" % position, field, value)
        entries = self.entries.setdefault(key, [])
        entries.append(Operation(b"X", key, arguments))
        self._count(True)
        if len(entries) > 2 * STREAM_ENTRIES_MAX:
            self.pending_commands -= len(entries) - STREAM_ENTRIES_MAX
            del entries[:-STREAM_ENTRIES_MAX]

    def take_operations(self, *, documents: bool = True) -> list[Operation]:
        """All that is pending, in an order that may be written as it stands; nothing is pending
        then.

        Without `documents` those stay pending: a build writes them once, at its end.
        """
        operations = [Operation(b"D", key, ()) for key in self._deleted]
        operations += _member_operations(self.members)
        operations += _field_operations(self.fields)
        for entries in self.entries.values():
            operations += entries[-STREAM_ENTRIES_MAX:]
        for pending in (self._deleted, self.members, self.fields, self.entries):
            pending.clear()
        if documents:
            for key, (kind, _) in self.dirty.items():
                operations.append(Operation(b"S", key, (kind.encode(self.documents[key]),)))
            self.dirty.clear()
        self.pending_commands = len(self.dirty)
        self.pending_bytes = 0
        return operations

    def _set(
        self, pending: dict[Key, dict[bytes, Any]], key: Key, member: bytes, value: object
    ) -> None:
        members = pending.get(key)
        if members is None:
            members = pending[key] = {}
        self._count(member not in members)
        members[member] = value

    def _count(self, new: bool) -> None:
        if new:
            self.pending_commands += 1
            self.pending_bytes += 128  # Key, member and protocol, rounded up.


def _member_operations(pending: dict[Key, dict[bytes, int | None]]) -> Iterator[Operation]:
    for key, members in pending.items():
        ranked: list[bytes] = []
        for member, rank in members.items():
            if rank is None:
                yield Operation(b"z", key, (member,))
                continue
            ranked += (b"%d" % rank, member)
            if len(ranked) == 2 * MEMBERS_A_COMMAND:
                yield _ranking(key, ranked)
                ranked = []
        if ranked:
            yield _ranking(key, ranked)


def _ranking(key: Key, ranked: list[bytes]) -> Operation:
    """Ranks and members of one sorted set, after how many arguments they are."""
    return Operation(b"Z", key, (b"%d" % len(ranked), *ranked), len(ranked) // 2)


def _field_operations(pending: dict[Key, dict[bytes, bytes | None]]) -> Iterator[Operation]:
    for key, fields in pending.items():
        for field, value in fields.items():
            if value is None:
                yield Operation(b"h", key, (field,))
            else:
                yield Operation(b"H", key, (field, value))
