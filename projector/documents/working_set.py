"""A partition's working set: the documents that a fold has read, and the writes that it wants.

Folding touches only the working set; nothing reaches Redis before `take_operations`. Every
operation writes a whole value (a document, a member with its rank, a field), so that applying it
twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

from shared.errors import DocumentUnusable
from shared.ids import Position
from shared.read_model.kinds import Kind
from shared.read_model.ranks import stored_rank

Folded = TypeVar("Folded")
# The kind's name, and the suffix that follows it in the key.
Key = tuple[str, str]
# Id, field and value of a stream entry.
Entry = tuple[bytes, bytes, bytes]

STREAM_ENTRIES_MAX = 5_000
# Few enough for Lua's stack, and enough to amortize the cost of a command.
MEMBERS_A_COMMAND = 100
# A longer value of a hash has a command of its own, so that a command stays small.
VALUE_BYTES_TOGETHER_MAX = 64
# Key, member and protocol, rounded up.
COMMAND_BYTES = 128
# A document changed in place grows by at most two bins of a history.
CHANGE_BYTES_MAX = 16
_NOT_HELD = object()


class Documents(Protocol):
    """The operations that a projection's `apply` may use."""

    def get(self, kind: Kind[Folded], suffix: str) -> Folded | None: ...

    def put(self, kind: Kind[Folded], suffix: str, document: Folded) -> None: ...

    def rank(self, kind: str, suffix: str, member: bytes, rank: int) -> None: ...

    def unrank(self, kind: str, suffix: str, member: bytes) -> None: ...

    def set_field(self, kind: str, suffix: str, field: bytes, value: bytes) -> None: ...

    def delete_field(self, kind: str, suffix: str, field: bytes) -> None: ...

    def delete(self, kind: str, suffix: str) -> None: ...

    def append(self, kind: str, position: Position, field: bytes, value: bytes) -> None: ...


class Operation(msgspec.Struct, frozen=True, gc=False):
    """Commands on one key within a call: their letter in `apply.lua`, the key and the arguments.

    `commands` measures the work: one for each member that they touch.
    """

    letter: bytes
    key: Key
    arguments: tuple[bytes, ...]
    commands: int = 1

    @property
    def size_bytes(self) -> int:
        return sum(map(len, self.arguments)) + len(self.key[1]) + 64


class Corrupt(NamedTuple):
    """Placeholder for a stored document that cannot be decoded."""

    reason: str


class WorkingSet:
    """Documents in memory, and their pending writes.

    `documents` holds None for a document that is known to be absent. Any other document has to be
    loaded before it is read, unless the set is `complete`: then a document that it does not hold
    does not exist (a build starts empty). `pending_commands` and `pending_bytes` are upper bounds.
    """

    def __init__(self, *, complete: bool) -> None:
        self.complete = complete
        self.documents: dict[Key, Any] = {}
        self.dirty: dict[Key, Kind[Any]] = {}
        self.members: dict[Key, dict[bytes, int | None]] = {}
        self.fields: dict[Key, dict[bytes, bytes | None]] = {}
        self.entries: dict[Key, list[Entry]] = {}
        self._deleted: dict[Key, None] = {}
        self.pending_commands = 0
        self.pending_bytes = 0

    def get(self, kind: Kind[Folded], suffix: str) -> Folded | None:
        """Return a document, None if it is absent; raise `DocumentUnusable` if it is damaged."""
        document: Any = self.documents.get((kind.name, suffix), _NOT_HELD)
        if document is _NOT_HELD:
            if self.complete:
                return None
            raise KeyError(f"{kind.name}:{suffix} was not loaded before it was read")
        if type(document) is Corrupt:
            raise DocumentUnusable(f"{kind.name}:{suffix} cannot be decoded: {document.reason}")
        folded: Folded | None = document
        return folded

    def put(self, kind: Kind[Folded], suffix: str, document: Folded) -> None:
        """Schedule the write of a document: a new one, or the held one after a change in place."""
        key = (kind.name, suffix)
        if key not in self.dirty:
            self.dirty[key] = kind
            self.pending_commands += 1
        elif document is self.documents[key]:
            self.pending_bytes += CHANGE_BYTES_MAX
            return
        self.documents[key] = document
        self.pending_bytes += COMMAND_BYTES + kind.bytes_max(document)

    def rank(self, kind: str, suffix: str, member: bytes, rank: int) -> None:
        self._set(self.members, (kind, suffix), member, stored_rank(member, rank))

    def unrank(self, kind: str, suffix: str, member: bytes) -> None:
        self._set(self.members, (kind, suffix), member, None)

    def set_field(self, kind: str, suffix: str, field: bytes, value: bytes) -> None:
        self._set(self.fields, (kind, suffix), field, value)
        self.pending_bytes += len(value)

    def delete_field(self, kind: str, suffix: str, field: bytes) -> None:
        self._set(self.fields, (kind, suffix), field, None)

    def delete(self, kind: str, suffix: str) -> None:
        """Delete a key; later writes to it are applied after the deletion."""
        key = (kind, suffix)
        self.documents[key] = None
        self.dirty.pop(key, None)
        self.members.pop(key, None)
        self.fields.pop(key, None)
        self._deleted[key] = None
        self._count()

    def append(self, kind: str, position: Position, field: bytes, value: bytes) -> None:
        """Add an entry to a stream that keeps its last `STREAM_ENTRIES_MAX`."""
        key = (kind, "")
        entries = self.entries.get(key)
        if entries is None:
            entries = self.entries[key] = []
        entries.append((b"%d-0" % position, field, value))
        self._count()
        if len(entries) > 2 * STREAM_ENTRIES_MAX:
            del entries[:-STREAM_ENTRIES_MAX]

    def take_operations(self, *, final: bool = True) -> list[Operation]:
        """Remove and return all pending operations, in an order that is safe to write.

        Unless `final`, documents and entries stay: a build writes them once, at its end.
        """
        operations = [Operation(b"D", key, ()) for key in self._deleted]
        for key, members in self.members.items():
            operations += _member_operations(key, members)
        for key, fields in self.fields.items():
            operations += _field_operations(key, fields)
        for pending in (self._deleted, self.members, self.fields):
            pending.clear()
        if final:
            for key, entries in self.entries.items():
                operations += stream_operations(key, entries[-STREAM_ENTRIES_MAX:])
            held = self.documents
            for key, kind in self.dirty.items():
                operations.append(Operation(b"S", key, (kind.encode(held[key]),)))
            self.entries.clear()
            self.dirty.clear()
        self.pending_commands = 0
        self.pending_bytes = 0
        return operations

    def _set(
        self, pending: dict[Key, dict[bytes, Any]], key: Key, member: bytes, value: object
    ) -> None:
        members = pending.get(key)
        if members is None:
            members = pending[key] = {}
        members[member] = value
        # As `_count`, without a call for each write of an event.
        self.pending_commands += 1
        self.pending_bytes += COMMAND_BYTES

    def _count(self) -> None:
        self.pending_commands += 1
        self.pending_bytes += COMMAND_BYTES


def stream_operations(key: Key, entries: Sequence[Entry]) -> Iterator[Operation]:
    """Yield the operations that add entries to a stream and trim it to `STREAM_ENTRIES_MAX`."""
    for start in range(0, len(entries), MEMBERS_A_COMMAND):
        part = entries[start : start + MEMBERS_A_COMMAND]
        arguments = [argument for entry in part for argument in entry]
        counts = (b"%d" % STREAM_ENTRIES_MAX, b"%d" % len(arguments))
        yield Operation(b"X", key, (*counts, *arguments), len(part))


def _member_operations(key: Key, members: Mapping[bytes, int | None]) -> Iterator[Operation]:
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
    """Return the operation for ranks and members of one sorted set, preceded by their number."""
    return Operation(b"Z", key, (b"%d" % len(ranked), *ranked), len(ranked) // 2)


def _field_operations(key: Key, fields: Mapping[bytes, bytes | None]) -> Iterator[Operation]:
    together: list[bytes] = []
    for field, value in fields.items():
        if value is None:
            yield Operation(b"h", key, (field,))
        elif len(value) > VALUE_BYTES_TOGETHER_MAX:
            yield setting(key, (field, value))
        else:
            together += (field, value)
            if len(together) == 2 * MEMBERS_A_COMMAND:
                yield setting(key, together)
                together = []
    if together:
        yield setting(key, together)


def setting(key: Key, fields: Sequence[bytes]) -> Operation:
    """Return the operation for fields and values of one hash, preceded by their number."""
    return Operation(b"H", key, (b"%d" % len(fields), *fields), len(fields) // 2)
