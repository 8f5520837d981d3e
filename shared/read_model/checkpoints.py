"""Checkpoints: the last event that a partition has applied.

A checkpoint is stored as a MessagePack array whose last element is the CRC-32 of the rest. Releases
before checksums wrote the array without that element and without the event's digest. Old and new
releases read each other's form, since two releases run side by side during an upgrade.
"""

from __future__ import annotations

from uuid import UUID
from zlib import crc32

import msgspec

from shared.errors import DocumentDamaged
from shared.ids import Position, StreamId, Version


class Checkpoint(msgspec.Struct, frozen=True, array_like=True):
    """The last event that a partition has applied, and the build that applied it.

    Position 0 with a zero stream and version means that nothing has been applied yet.
    `event_digest` is the CRC-32 of the stored event, 0 in checkpoints of earlier releases: a
    restored log that took another course may have the same version of the same stream at the same
    position.
    """

    position: Position
    stream_id: StreamId
    version: Version
    definition_version: int
    build_token: UUID
    event_digest: int = 0


_FIELDS = len(Checkpoint.__struct_fields__)
_ARRAY = 0x90  # An array of fewer than 16 elements has its count in the low bits.
_PLAIN = bytes([_ARRAY | _FIELDS - 1])
_CHECKED = bytes([_ARRAY | _FIELDS + 1])
_UINT32 = b"\xce"
_CRC_BYTES = 4

_encode = msgspec.msgpack.Encoder(uuid_format="bytes").encode
_decode = msgspec.msgpack.Decoder(Checkpoint).decode


def encode_checkpoint(checkpoint: Checkpoint) -> bytes:
    """Return the checkpoint as it is stored."""
    body = _CHECKED + _encode(checkpoint)[1:] + _UINT32
    return body + crc32(body).to_bytes(_CRC_BYTES)


def decode_checkpoint(stored: bytes) -> Checkpoint:
    """Return a stored checkpoint; raise `DocumentDamaged` if it fails its check."""
    head = stored[:1]
    if head == _CHECKED:
        if crc32(stored[:-_CRC_BYTES]) != int.from_bytes(stored[-_CRC_BYTES:]):
            raise DocumentDamaged("a checkpoint does not match its checksum")
    elif head != _PLAIN:
        raise DocumentDamaged("a checkpoint cannot be decoded")
    try:
        return _decode(stored)
    except msgspec.MsgspecError as error:
        raise DocumentDamaged("a checkpoint cannot be decoded") from error
