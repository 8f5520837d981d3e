"""Show events to operators: personal fields only as `sealed` or `erased`, unless one is revealed.

A password hash is never shown, not even revealed.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec.structs import replace

from shared.errors import EventUnreadable, Misconfigured
from shared.ids import UserId
from shared.log.codec import Codec, Decoded, opened, sealed_subject
from shared.log.events import EVENT_TYPES
from shared.log.sealing import Keys
from shared.log.stored_row import StoredRow

SEALED = "sealed"
ERASED = "erased"
NEVER_SHOWN = frozenset({"password_hash"})
UUID_BYTES = 16

Fields = dict[str, Any]

_PERSONAL = {one.__name__: one.personal for one in EVENT_TYPES}
_codec = Codec()


class EventView(msgspec.Struct, frozen=True, kw_only=True):
    """One event, personal fields masked.

    `fields` are the ones of this release's schema version. `stored_fields` are the stored ones,
    where the event has an older version. An event that this release cannot read has neither, and
    `unreadable` says why.
    """

    position: int
    type: str
    stream_id: UUID
    version: int
    event_id: UUID | None = None
    recorded_at: datetime | None = None
    actor: UUID | None = None
    correlation_id: UUID | None = None
    causation_id: UUID | None = None
    stored_schema_version: int | None = None
    schema_version: int | None = None
    fields: Fields | None = None
    stored_fields: Fields | None = None
    unreadable: str | None = None


class _Stored(msgspec.Struct, array_like=True, frozen=True):
    schema_version: int
    metadata: msgspec.Raw
    fields: Fields


def subject_of(row: StoredRow) -> UserId | None:
    """Return the user with whose key an event's personal fields are sealed; None without any."""
    decoded, _ = _decode(row)
    return None if decoded is None else sealed_subject(decoded.event)


def masked(row: StoredRow, with_key: Collection[UserId]) -> EventView:
    """Return an event without personal data; its subject is erased unless they are `with_key`."""
    decoded, reason = _decode(row)
    place = EventView(
        position=row.position, type=row.topic, stream_id=row.stream_id, version=row.version
    )
    if decoded is None:
        return replace(place, unreadable=reason)
    mask = SEALED if sealed_subject(decoded.event) in with_key else ERASED
    metadata = decoded.metadata
    stored = msgspec.msgpack.decode(row.state, type=_Stored)
    current = type(decoded.event).schema_version
    return replace(
        place,
        event_id=metadata.event_id,
        recorded_at=metadata.recorded_at,
        actor=metadata.actor,
        correlation_id=metadata.correlation_id,
        causation_id=metadata.causation_id,
        stored_schema_version=stored.schema_version,
        schema_version=current,
        fields=_masked(row.topic, msgspec.to_builtins(decoded.event), mask),
        stored_fields=(
            _masked(row.topic, _plain(stored.fields), mask)
            if stored.schema_version != current
            else None
        ),
    )


def revealed(row: StoredRow, keys: Keys) -> dict[str, str]:
    """Return an event's personal fields opened, but for passwords; none of an erased person.

    Raises `EventUnreadable` if this release cannot read the event.
    """
    decoded, reason = _decode(row)
    if decoded is None:
        raise EventUnreadable(f"the event at position {row.position} cannot be read: {reason}")
    event = opened(decoded, keys).event
    values = {name: getattr(event, name) for name in event.personal if name not in NEVER_SHOWN}
    return {name: value for name, value in values.items() if value is not None}


def _decode(row: StoredRow) -> tuple[Decoded | None, str]:
    """Return the decoded event, still sealed, or the reason why this release cannot read it."""
    try:
        decoded = _codec.decode_sealed(row.topic, row.state)
        # Decoded on access.
        _ = decoded.metadata
    except Misconfigured as error:
        return None, str(error)
    except Exception as error:  # noqa: BLE001  # Damaged bytes raise anything, whose text may quote them.
        return None, type(error).__name__
    return decoded, ""


def _masked(topic: str, fields: Fields, mask: str) -> Fields:
    """Return the fields with a mask in place of each personal value.

    Versions from before a field was personal hold it in the clear: its name decides.
    """
    personal = _PERSONAL[topic]
    return {
        name: mask if name in personal and value is not None else value
        for name, value in fields.items()
    }


def _plain(value: Any) -> Any:
    """Return a stored value as JSON has it: the log holds UUIDs as bytes."""
    match value:
        case bytes() if len(value) == UUID_BYTES:
            return str(UUID(bytes=value))
        case bytes():
            return value.hex()
        case dict():
            return {key: _plain(one) for key, one in value.items()}
        case list():
            return [_plain(one) for one in value]
        case _:
            return value
