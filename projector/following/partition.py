"""One partition of a followed generation: its checkpoint, and folding its events into calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from projector.documents.calls import (
    CALL_BYTES_MAX,
    CALL_COMMANDS_MAX,
    EVENT_BYTES_MAX,
    EVENT_COMMANDS_MAX,
    Call,
)
from projector.documents.place import Place, place_of
from projector.documents.store import ABSENT, PartitionContents
from projector.documents.working_set import Corrupt, Key, WorkingSet
from projector.following.fold import PartitionFold
from projector.projections import LogEvent, Projection
from shared.errors import DocumentDamaged, LogDiverged
from shared.read_model.checkpoints import Checkpoint, decode_checkpoint, encode_checkpoint
from shared.read_model.keys import PartitionKeys
from shared.read_model.kinds import KINDS, Kind

DOCUMENTS_CACHED_MAX = 20_000


class Partition:
    """A partition's cached state; only the stored checkpoint is authoritative.

    `reached` is at the checkpoint or ahead of it; no event between the two concerns the partition.
    """

    def __init__(self, definition: Projection, keys: PartitionKeys, stored: bytes) -> None:
        assert stored != ABSENT
        self.keys = keys
        self._definition = definition
        self.reset(stored)

    def reset(self, stored: bytes) -> None:
        """Drop everything but the stored checkpoint."""
        self._stand_at(stored)
        self._working_set = WorkingSet(complete=False)
        self._fold: PartitionFold | None = None

    @property
    def lags(self) -> bool:
        """Whether the stored checkpoint still has to be advanced."""
        return self.checkpoint.position < self.reached.position

    @property
    def needs_parked(self) -> bool:
        """Whether the parked entities have to be loaded before folding."""
        return self._fold is None

    def require_same_log(self, current: LogEvent | None) -> None:
        """Raise `LogDiverged` unless `current` is the event that the partition last applied."""
        at = self.reached
        if current is None:
            raise LogDiverged(
                f"{self.keys.prefix} has applied position {at.position}, which the log lacks now"
            )
        if not current.place.is_of_same_event(at):
            raise LogDiverged(
                f"{self.keys.prefix} has applied version {at.version} of stream {at.stream_id} at"
                f" position {at.position}, where the log now has version {current.version} of"
                f" {current.stream_id}"
            )

    def missing(self, events: Sequence[LogEvent]) -> list[Key]:
        """Return the documents that folding these events reads and that are not loaded yet."""
        held = self._working_set.documents
        reads = self._definition.reads
        wanted: dict[Key, None] = {}
        for event in events:
            for key in reads(event.event):
                if key not in held:
                    wanted[key] = None
        return list(wanted)

    def hold(self, missing: Sequence[Key], found: PartitionContents) -> None:
        """Cache the missing documents as they are stored, and the parked entities."""
        if self._fold is None:
            parked = {one.entity: one for one in found.parked}
            self._fold = PartitionFold(self._definition, self.keys, self._working_set, parked)
        held = self._working_set.documents
        for key, value in zip(missing, found.documents, strict=True):
            held[key] = _decoded(KINDS[key[0]], value)

    def fold(self, events: Sequence[LogEvent], last: Place) -> list[Call]:
        """Return the calls that bring the partition to `last`, the place of the pass's last event.

        Calls are cut at event boundaries to stay within their size limits; each one expects the
        checkpoint that the one before it writes.
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
                calls.append(self._call(expected, folded.place))
                expected = calls[-1].new
            assert self._fold is not None
            self._fold.fold(event)
            folded = event
        calls.append(self._call(expected, last))
        return calls

    def pass_over(self, last: Place) -> None:
        """Advance over events that do not concern the partition, without writing that yet."""
        self.reached = last

    def applied(self, call: Call) -> None:
        """Record that the call was applied."""
        self._stand_at(call.new)
        if len(self._working_set.documents) > DOCUMENTS_CACHED_MAX:
            self.reset(call.new)

    def _stand_at(self, stored: bytes) -> None:
        self.stored = stored
        self.checkpoint = decode_checkpoint(stored)
        self.reached = place_of(self.checkpoint)

    def _call(self, expected: bytes, at: Place) -> Call:
        new = checkpoint_at(at, self._definition.version, self.checkpoint.build_token)
        return Call(self.keys, expected, new, self._working_set.take_operations())


def _decoded(kind: Kind[Any], stored: bytes | None) -> object:
    if stored is None:
        return None
    try:
        return kind.decode(stored)
    except DocumentDamaged as error:
        return Corrupt(str(error))


def checkpoint_at(place: Place, definition_version: int, build_token: UUID) -> bytes:
    """Encode the checkpoint of a partition whose last event is at this place."""
    return encode_checkpoint(
        Checkpoint(
            place.position,
            place.stream_id,
            place.version,
            definition_version,
            build_token,
            place.digest,
        )
    )
