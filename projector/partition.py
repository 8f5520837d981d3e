"""One partition of a followed generation: where it stands, and folding a batch of events into
calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from projector.documents import Key, WorkingSet
from projector.log_reader import LogEvent
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
from projector.projections import Folding, Projection
from shared.errors import LogDiverged
from shared.read_model import Checkpoint, PartitionKeys

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
        self._working_set = WorkingSet(weigh=True, complete=False)

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

    def missing(self, events: Sequence[LogEvent]) -> list[Key]:
        """The documents that folding these events reads and that are not held yet."""
        held = self._working_set.documents
        wanted: dict[Key, None] = {}
        for event in events:
            for kind, suffix in self._definition.reads(event.event):
                if (kind.name, suffix) not in held:
                    wanted[kind.name, suffix] = None
        return list(wanted)

    def hold(
        self, events: Sequence[LogEvent], documents: Sequence[Key], stored: Sequence[bytes | None]
    ) -> None:
        """Take in what was stored of the missing documents."""
        kinds = {
            (kind.name, suffix): kind
            for event in events
            for kind, suffix in self._definition.reads(event.event)
        }
        for key, value in zip(documents, stored, strict=True):
            self._working_set.documents[key] = None if value is None else kinds[key].decode(value)

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
            folding = Folding(event.position, event.version, event.event)
            self._definition.apply(working_set, folding)
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


def checkpoint_at(event: LogEvent, definition_version: int, build_token: UUID) -> bytes:
    """The stored checkpoint of a partition whose last event is this one."""
    return encode_checkpoint(
        Checkpoint(event.position, event.stream_id, event.version, definition_version, build_token)
    )
