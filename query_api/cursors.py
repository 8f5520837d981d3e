"""Opaque cursors: where a page ended, by its sort key and never by a count of rows."""

from __future__ import annotations

import base64
from math import isnan
from typing import TypeVar

import msgspec

from shared.errors import InvalidInput

CURSOR_CHARS_MAX = 2_000
_FOREIGN = "the cursor is not one that this API gave"

Key = TypeVar("Key")


def encode_cursor(key: object) -> str:
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(key)).rstrip(b"=").decode()


def decode_cursor(cursor: str, key_type: type[Key]) -> Key:
    """The key; raises `InvalidInput` for what was not made here."""
    try:
        padded = cursor[:CURSOR_CHARS_MAX] + "=" * (-len(cursor) % 4)
        encoded = base64.b64decode(padded, b"-_", validate=True)
    except ValueError as error:  # Also `binascii.Error`, which is one.
        raise InvalidInput(_FOREIGN, pointer="/query/cursor") from error
    return decode_key(encoded, key_type)


def decode_key(encoded: bytes | msgspec.Raw, key_type: type[Key]) -> Key:
    """A key, or a part of one that was left encoded; raises as above."""
    try:
        key = msgspec.msgpack.decode(encoded, type=key_type)
    except msgspec.DecodeError as error:
        raise InvalidInput(_FOREIGN, pointer="/query/cursor") from error
    # Redis refuses such a rank, and with it all that is asked for in the same round trip.
    if isinstance(key, tuple) and any(isinstance(part, float) and isnan(part) for part in key):
        raise InvalidInput(_FOREIGN, pointer="/query/cursor")
    return key
