"""One partition of a followed generation: where it stands, and folding a batch of events into
calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from projector.documents import Corrupt, Key, WorkingSet
from projector.fold import PartitionFold
from projector.kinds import Kind
from projector.partition_store import (
    ABSENT,
    CALL_BYTES_MAX,
    CALL_COMMANDS_MAX,
    EVENT_BYTES_MAX,
    EVENT_COMMANDS_MAX,
    Call,
    decode_checkpoint,
    encode_checkpoint,
)
from projector.projections import LogEvent, Projection
from shared.errors import LogDiverged
from shared.read_model import Checkpoint, Parked, PartitionKeys

DOCUMENTS_CACHED_MAX = 20_000


class Partition:
    """The stored checkpoint is the truth; everything else here may be dropped at any time."""

    def __init__(self, definition: Projection, keys: PartitionKeys, stored: bytes) -> None:
        assert stored != ABSENT
        self.keys = keys
        self._definition = definition
        self.reset(stored)

    def reset(self, stored: bytes) -> None:
        """Forget everything but the stored checkpoint."""
        self.stored = stored
        self.checkpoint = decode_checkpoint(stored)
        self._working_set = WorkingSet(complete=False)
        self._fold: PartitionFold | None = None

    @property
    def needs_parked(self) -> bool:
        """Whether the parked entities have to be loaded before anything is folded."""
        return self._fold is None

    def hold_parked(self, parked: Iterable[Parked]) -> None:
        by_entity = {one.entity: one for one in parked}
        self._fold = PartitionFold(self._definition, self.keys, self._working_set, by_entity)

    def require_same_log(self, standing: LogEvent | None) -> None:
        """Raise `LogDiverged` unless the event at the checkpoint's position is the checkpoint's."""
        at = self.checkpoint
        if standing is None:
            raise LogDiverged(
                f"{self.keys.prefix} has applied position {at.position}, which is gone"
            )
        if (standing.stream_id, standing.version) != (at.stream_id, at.version):
            raise LogDiverged(
                f"{self.keys.prefix} has applied version {at.version} of stream {at.stream_id} at"
                f" position {at.position}, where version {standing.version} of"
                f" {standing.stream_id} now stands"
            )

    def missing(self, events: Sequence[LogEvent]) -> dict[Key, Kind[Any]]:
        """The documents that folding these events reads and that are not held yet."""
        held = self._working_set.documents
        reads = self._definition.reads
        wanted: dict[Key, Kind[Any]] = {}
        for event in events:
            for kind, suffix in reads(event.event):
                key = (kind.name, suffix)
                if key not in held:
                    wanted[key] = kind
        return wanted

    def hold(self, missing: Mapping[Key, Kind[Any]], stored: Sequence[bytes | None]) -> None:
        """Take in what was stored of the missing documents."""
        for (key, kind), value in zip(missing.items(), stored, strict=True):
            self._working_set.documents[key] = _decoded(kind, value)

    def fold(self, events: Sequence[LogEvent], last: LogEvent) -> list[Call]:
        """The calls that bring the partition to `last`, the last event of the batch.

        Cut at event boundaries so that none is too large; each expects what the one before it
        leaves.
        """
        calls: list[Call] = []
        expected = self.stored
        working_set = self._working_set
        folded: LogEvent | None = None
        for event in events:
            if folded is not None and (
                working_set.pending_commands + EVENT_COMMANDS_MAX > CALL_COMMANDS_MAX
                or working_set.pending_bytes + EVENT_BYTES_MAX > CALL_BYTES_MAX
            ):
                calls.append(self._call(expected, folded))
                expected = calls[-1].new
            assert self._fold is not None
            self._fold.fold(event)
            folded = event
        calls.append(self._call(expected, last))
        return calls

    def applied(self, call: Call) -> None:
        """The call was applied."""
        self.stored = call.new
        self.checkpoint = decode_checkpoint(call.new)
        if len(self._working_set.documents) > DOCUMENTS_CACHED_MAX:
            self.reset(call.new)

    def _call(self, expected: bytes, at: LogEvent) -> Call:
        new = checkpoint_at(at, self._definition.version, self.checkpoint.build_token)
        return Call(self.keys, expected, new, self._working_set.take_operations())


def _decoded(kind: Kind[Any], stored: bytes | None) -> object:
    if stored is None:
        return None
    try:
        return kind.decode(stored)
    except msgspec.MsgspecError as error:
        return Corrupt(str(error))


def checkpoint_at(event: LogEvent, definition_version: int, build_token: UUID) -> bytes:
    """The stored checkpoint of a partition whose last event is this one."""
    return encode_checkpoint(
        Checkpoint(event.position, event.stream_id, event.version, definition_version, build_token)
    )
