"""Encode events to stored bytes and back: MessagePack, sealed personal data, upcasting.

A stored state is the array `[schema_version, metadata, fields]`: metadata an array, fields a map by
name, UUIDs 16 bytes, times MessagePack timestamps. The schema version is one byte at a fixed place,
so that the common case (the current version) is decoded in a single pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol, cast
from uuid import UUID

import msgspec

from shared.errors import Misconfigured
from shared.ids import UserId
from shared.log.events import (
    EVENT_TYPES,
    Event,
    Metadata,
    RatingMoved,
    RatingSubmitted,
    RatingWithdrawn,
    TracedMetadata,
)
from shared.log.sealing import Keys, seal, unseal
from shared.log.upcasts import UPCASTS, Upcasts

# Offset of the schema version in a stored state, after the one-byte header of a three-element
# array.
_VERSION_AT = 1
# The first bytes of a stored trace; the others are the id of the commit's span.
TRACE_ID_BYTES = 16
# A rating's first fields are the ids of its user and its movie, each after its name and a header.
# They have these places after complete metadata whose time is not a whole second.
RATING_USER = slice(96, 112)
RATING_MOVIE = slice(123, 139)
_USER_HEAD = b"\xa7user_id\xc4\x10"
_MOVIE_HEAD = b"\xa8movie_id\xc4\x10"
_USER_HEAD_AT = RATING_USER.start - len(_USER_HEAD)
_MOVIE_HEAD_AT = RATING_MOVIE.start - len(_MOVIE_HEAD)
_RATING_TOPICS = frozenset(
    event_type.__name__ for event_type in (RatingSubmitted, RatingWithdrawn, RatingMoved)
)

_encoder = msgspec.msgpack.Encoder(uuid_format="bytes")
_decode_metadata = msgspec.msgpack.Decoder(Metadata).decode


class _OfUser(Protocol):
    """An event with personal fields: it names the user whose key seals them."""

    user_id: UserId


class _OldState(msgspec.Struct, array_like=True, frozen=True):
    schema_version: int
    stored_metadata: msgspec.Raw
    fields: dict[str, Any]


class Decoded(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A decoded state.

    Its metadata is decoded on access: folding events does not need it.
    """

    schema_version: int
    stored_metadata: msgspec.Raw
    event: Event

    @property
    def metadata(self) -> Metadata:
        return _decode_metadata(self.stored_metadata)


class _TopicDecoder(NamedTuple):
    event_type: type[Event]
    decode: Callable[[bytes], Decoded]


class Codec:
    """Encodes and decodes the given event types; unknown topics raise `Misconfigured`."""

    def __init__(
        self, event_types: Sequence[type[Event]] = EVENT_TYPES, upcasts: Upcasts = UPCASTS
    ) -> None:
        self._upcasts = upcasts
        self._topics = {event_type.__name__: _topic(event_type) for event_type in event_types}
        self._old_state = msgspec.msgpack.Decoder(_OldState)

    def encode(self, event: Event, metadata: Metadata, keys: Keys) -> bytes:
        """Seal the personal fields and encode; raise `Misconfigured` without the subject's key."""
        stored = event
        if event.personal:
            stored = _with_personal(event, metadata, keys, sealing=True)
        return _encoder.encode((event.schema_version, metadata, stored))

    def decode(self, topic: str, state: bytes, keys: Keys) -> Decoded:
        """Decode and open the personal fields; they become None without their subject's key."""
        return opened(self.decode_sealed(topic, state), keys)

    def decode_sealed(self, topic: str, state: bytes) -> Decoded:
        """Decode the event with its personal fields still sealed, as `opened` takes it."""
        try:
            event_type, decode = self._topics[topic]
        except KeyError:
            raise Misconfigured(
                f"the log holds an event of topic {topic!r}, which this release does not know"
            ) from None
        if state[_VERSION_AT] == event_type.schema_version:
            return decode(state)
        return self._decode_old(event_type, topic, state)

    def _decode_old(self, event_type: type[Event], topic: str, state: bytes) -> Decoded:
        old = self._old_state.decode(state)
        fields = old.fields
        for version in range(old.schema_version, event_type.schema_version):
            fields = self._upcasts[topic, version](fields)
        event = msgspec.convert(fields, event_type, strict=False)
        return Decoded(event_type.schema_version, old.stored_metadata, event)


def opened(sealed: Decoded, keys: Keys) -> Decoded:
    """Return a copy with its personal fields opened, or None if their subject has no key."""
    if not sealed.event.personal:
        return sealed
    event = _with_personal(sealed.event, sealed.metadata, keys, sealing=False)
    return Decoded(sealed.schema_version, sealed.stored_metadata, event)


def sealed_subject(event: Event) -> UserId | None:
    """Return the user whose key opens the event's personal fields; None if none is set."""
    for name in event.personal:
        if getattr(event, name) is not None:
            return _subject_of(event)
    return None


def _subject_of(event: Event) -> UserId:
    """Return the user of an event with personal fields, each of which has one."""
    return cast("_OfUser", event).user_id


def event_id_of(state: bytes) -> UUID:
    """Return the event id within a stored state, without decoding the event."""
    return _decode_head(state).metadata.event_id


def recorded_at_of(state: bytes) -> datetime:
    """Return the time of a stored state, without decoding the event."""
    return _decode_head(state).metadata.recorded_at


def trace_of(state: bytes) -> bytes | None:
    """Return the trace of a stored state, None without one."""
    return _decode_head(state).metadata.trace


def origin_of(state: bytes) -> dict[str, str]:
    """Return the ids of the request that caused an event, as log lines name them."""
    try:
        metadata = _decode_head(state).metadata
    except msgspec.DecodeError:
        return {}
    origin = {}
    if metadata.correlation_id is not None:
        origin["request_id"] = str(metadata.correlation_id)
    if metadata.trace is not None:
        origin["trace_id"] = metadata.trace[:TRACE_ID_BYTES].hex()
    return origin


def is_plain_rating(topic: str, state: bytes) -> bool:
    """Whether an event is a rating whose ids are at `RATING_USER` and `RATING_MOVIE`.

    No client can imitate the names of the fields there: in states of another layout, ids that
    Starfold makes itself have these places.
    """
    return (
        topic in _RATING_TOPICS
        and state.startswith(_USER_HEAD, _USER_HEAD_AT)
        and state.startswith(_MOVIE_HEAD, _MOVIE_HEAD_AT)
        and len(state) > RATING_MOVIE.stop
    )


class _Head(msgspec.Struct, array_like=True, frozen=True):
    schema_version: int
    metadata: TracedMetadata
    fields: msgspec.Raw


_decode_head = msgspec.msgpack.Decoder(_Head).decode


def _topic(event_type: type[Event]) -> _TopicDecoder:
    state_type = msgspec.defstruct(
        f"Stored{event_type.__name__}",
        [("event", event_type)],
        bases=(Decoded,),
        array_like=True,
        frozen=True,
        gc=False,
    )
    decode = msgspec.msgpack.Decoder(cast("type[Decoded]", state_type)).decode
    return _TopicDecoder(event_type, decode)


def _with_personal(event: Event, metadata: Metadata, keys: Keys, *, sealing: bool) -> Event:
    """Return a copy with its personal fields sealed or opened; the same object without any."""
    values = {name: getattr(event, name) for name in event.personal}
    if all(text is None for text in values.values()):
        return event
    subject = _subject_of(event)
    key = keys.get(subject)
    if key is None:
        if sealing:
            raise Misconfigured(f"user {subject} has no key to seal {type(event).__name__} with")
        return msgspec.structs.replace(event, **dict.fromkeys(event.personal))
    operation = seal if sealing else unseal
    changed = {
        name: operation(key, metadata.event_id.bytes + name.encode(), text)
        for name, text in values.items()
        if text is not None
    }
    return msgspec.structs.replace(event, **changed)
